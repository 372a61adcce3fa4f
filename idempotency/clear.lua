-- Forgets a claim if it is still as it was seen. The record is described in
-- claim.lua.
--
-- KEYS: the key. ARGV: owner; state as show.lua answers it. Answers 1, or 0 if it
-- is another one by now, or gone.
local BUSY, UNKNOWN = 2, 6
local record = redis.call('HMGET', KEYS[1], 's', 'o', 'l')
local state, seen = record[1], tonumber(ARGV[2])
if record[2] ~= ARGV[1] or (state == 'd') == (seen == BUSY or seen == UNKNOWN) then
  return 0
end
if state ~= 'd' then
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local busy = state == 'b' and tonumber(record[3]) > now
  if busy ~= (seen == BUSY) then
    return 0
  end
end
redis.call('DEL', KEYS[1])
return 1
