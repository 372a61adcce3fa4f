-- Makes the outcome unknown. The record is described in claim.lua.
--
-- KEYS: the key. ARGV: owner. Answers 1, or 0 if it is done or not theirs.
local record = redis.call('HMGET', KEYS[1], 's', 'o', 't')
if record[2] ~= ARGV[1] or record[1] == 'd' then
  return 0
end
redis.call('HSET', KEYS[1], 's', 'u')
redis.call('PEXPIRE', KEYS[1], record[3])
return 1
