-- Puts one revocation at the end of the sequence, in place of an earlier one of the
-- same value, and drops some of those that have ended.
--
-- Numbers of the sequence are the server's microseconds. After a failover to a
-- replica that lacks the last ones, or a restart without data, new entries still
-- come after all that anybody has read. Each has 16 digits, so they compare as
-- text too.
--
-- KEYS: order (numbers by id), entries (text by id), ends (until by id), last
-- (number). ARGV: id, text, until in ms or '' for good, how long an ended entry
-- stays in ms, how many entries there may be. Answers 1, or 0 if there is no room.
local order, entries, ends, last = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local id, text, till = ARGV[1], ARGV[2], ARGV[3]
local function digits(number) return string.format('%.0f', number) end

local time = redis.call('TIME')
local over = time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[4]
local ended = redis.call('ZRANGEBYSCORE', ends, '-inf', digits(over), 'LIMIT', 0, 100)
if #ended > 0 then
  redis.call('ZREM', order, unpack(ended))
  redis.call('HDEL', entries, unpack(ended))
  redis.call('ZREM', ends, unpack(ended))
end

if not redis.call('ZSCORE', order, id) and redis.call('ZCARD', order) >= tonumber(ARGV[5]) then
  return 0
end
local number = math.max(time[1] * 1000000 + time[2], (tonumber(redis.call('GET', last)) or 0) + 1)
redis.call('SET', last, digits(number))
redis.call('ZADD', order, digits(number), id)
redis.call('HSET', entries, id, text)
if till == '' then
  redis.call('ZREM', ends, id)
else
  redis.call('ZADD', ends, till, id)
end
return 1
