-- Remembers that a request was executed, with its response if there is one. What
-- is done stays as it is. The record is described in claim.lua.
--
-- KEYS: the key. ARGV: owner, sealed response or ''. Answers 1, or 0 if the
-- claim is not theirs.
local record = redis.call('HMGET', KEYS[1], 's', 'o', 't')
if record[2] ~= ARGV[1] then
  return 0
end
if record[1] ~= 'd' then
  redis.call('HSET', KEYS[1], 's', 'd')
  if ARGV[2] ~= '' then
    redis.call('HSET', KEYS[1], 'r', ARGV[2])
  end
  redis.call('PEXPIRE', KEYS[1], record[3])
end
return 1
