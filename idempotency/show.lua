-- Says what is known about a key. The record is described in claim.lua.
--
-- KEYS: the key. Answers {} if nothing is, else {state, as in Go; owner;
-- fingerprint; claimed, end of the lease and end of the record, in ms since 1970}.
local BUSY, REPLAY, NOT_RETAINED, UNKNOWN = 2, 3, 4, 6
local record = redis.call('HMGET', KEYS[1], 's', 'o', 'f', 'c', 'l')
local state, lease = record[1], tonumber(record[5])
if not state then
  return {}
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = UNKNOWN
if state == 'b' and lease > now then
  known = BUSY
elseif state == 'd' then
  known = redis.call('HEXISTS', KEYS[1], 'r') == 1 and REPLAY or NOT_RETAINED
end
return {known, record[2], record[3], tonumber(record[4]), lease, now + redis.call('PTTL', KEYS[1])}
