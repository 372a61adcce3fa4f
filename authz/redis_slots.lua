-- Takes a slot, or renews the one that the owner has, by the server's own clock.
--
-- KEYS: the slots of a tool (end of the lease in ms, by owner). ARGV: owner, how
-- many slots there are, lease in ms. Answers 1, or 0 if none is free.
local slots, owner, limit, lease = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function digits(number) return string.format('%.0f', number) end

redis.call('ZREMRANGEBYSCORE', slots, '-inf', digits(now))
if redis.call('ZCARD', slots) >= limit and not redis.call('ZSCORE', slots, owner) then
  return 0
end
redis.call('ZADD', slots, digits(now + lease), owner)
if redis.call('PTTL', slots) < lease then
  redis.call('PEXPIRE', slots, ARGV[3])
end
return 1
