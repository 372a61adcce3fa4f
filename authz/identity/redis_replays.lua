-- Binds a key to a value, unless it is bound already: SET with NX and GET, which
-- Redis has in one command from 7.0 on.
--
-- KEYS: the key. ARGV: value, end in ms since 1970. Answers nil, or the value that
-- the key is bound to.
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PXAT', ARGV[2]) then
  return false
end
return redis.call('GET', KEYS[1])
