-- Extends the lease of a busy claim, and its time with it. The record is described in claim.lua.
--
-- KEYS: the key. ARGV: owner, lease in ms. Answers 1, or 0 if it is not theirs.
local key, lease = KEYS[1], tonumber(ARGV[2])
local record = redis.call('HMGET', key, 's', 'o', 't')
if record[1] ~= 'b' or record[2] ~= ARGV[1] then
  return 0
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', key, 'l', string.format('%d', now + lease))
redis.call('PEXPIRE', key, string.format('%d', math.max(tonumber(record[3]), lease)))
return 1
