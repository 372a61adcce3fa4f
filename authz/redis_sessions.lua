-- Makes a session the principal's, or keeps it theirs for longer.
--
-- KEYS: the session. ARGV: principal, how long it stays theirs in ms. Answers 1, or
-- 0 if it is another's.
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
