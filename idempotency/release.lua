-- Frees a key whose request was not executed. A retaken claim becomes unknown
-- again: its former execution is as unknown as before. The record is described
-- in claim.lua.
--
-- KEYS: the key. ARGV: owner. Answers 1, or 0 if it is done or not theirs.
local record = redis.call('HMGET', KEYS[1], 's', 'o', 'k')
if record[2] ~= ARGV[1] or record[1] == 'd' then
  return 0
end
if record[3] == '1' then
  redis.call('HSET', KEYS[1], 's', 'u')
else
  redis.call('DEL', KEYS[1])
end
return 1
