-- Acquires a key, or says what is known about it. One step, by the server's own
-- clock. A record is a hash:
--
--   s  state: b (busy), d (done) or u (unknown)
--   o  owner        f  fingerprint
--   c  claimed      l  end of the lease: ms since 1970
--   k  1 if it was retaken, after an unknown outcome
--   r  sealed response of a done request, if it is retained
--
--   t  TTL in ms
--
-- It expires when the TTL is over since it was last claimed, renewed, completed
-- or abandoned: what took long is remembered for as long as what didn't.
--
-- KEYS: the key. ARGV: owner, fingerprint, lease and TTL in ms, retake (0 or 1).
-- Answers {state, as in Go; ms until the lease ends, or 1 if acquired by a
-- retake; owner and sealed response of a done request}.
local ACQUIRED, BUSY, REPLAY, NOT_RETAINED, MISMATCH, UNKNOWN = 1, 2, 3, 4, 5, 6
local key, owner, fingerprint = KEYS[1], ARGV[1], ARGV[2]
local lease, ttl = tonumber(ARGV[3]), math.max(tonumber(ARGV[4]), tonumber(ARGV[3]))

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function text(number) return string.format('%d', number) end

local function acquire(retaken)
  redis.call('HSET', key, 's', 'b', 'o', owner, 'f', fingerprint, 'k', retaken,
    'c', text(now), 'l', text(now + lease), 't', text(ttl))
  redis.call('PEXPIRE', key, text(ttl))
  return {ACQUIRED, retaken, '', ''}
end

local record = redis.call('HMGET', key, 's', 'o', 'f', 'l', 'k')
local state, holder = record[1], record[2]
if not state then
  return acquire(0)
end
if record[3] ~= fingerprint then
  return {MISMATCH, 0, '', ''}
end
if state == 'd' then
  local response = redis.call('HGET', key, 'r')
  if not response then
    return {NOT_RETAINED, 0, '', ''}
  end
  return {REPLAY, 0, holder, response}
end
local left = tonumber(record[4]) - now
if state == 'b' and left > 0 then
  if holder ~= owner then
    return {BUSY, left, '', ''}
  end
  redis.call('HSET', key, 'l', text(now + lease))
  redis.call('PEXPIRE', key, text(ttl))
  return {ACQUIRED, tonumber(record[5]), '', ''}
end
if ARGV[5] == '1' then
  return acquire(1)
end
return {UNKNOWN, 0, '', ''}
