-- Reads the sequence on from a number; redis_revocations_append.lua describes it.
--
-- KEYS: order, entries, last. ARGV: the number up to which all is known, how many
-- entries to read. Answers {last number of the sequence, number up to which all is
-- read, entry, ...}.
local order, entries, last = KEYS[1], KEYS[2], redis.call('GET', KEYS[3]) or '0'
if tonumber(last) <= tonumber(ARGV[1]) then
  return {last, last}
end
local found = redis.call('ZRANGEBYSCORE', order, '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local answer = {last, last}
if #found == 2 * tonumber(ARGV[2]) then
  answer[2] = string.format('%.0f', tonumber(found[#found]))
end
for i = 1, #found, 2 do
  answer[#answer + 1] = redis.call('HGET', entries, found[i])
end
return answer
