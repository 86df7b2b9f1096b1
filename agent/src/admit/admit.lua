-- Checks all counters of a request and reserves in all of them, or in none.
--
-- ARGV[3..6]  id, input, least and most output; then measure, window, amount of each counter.
-- Answers {granted output, now, then current, previous, reserved of each counter}. Instead of an output:
-- -1 when it does not fit, -2 when the id was settled or released before.

local id, input = ARGV[3], tonumber(ARGV[4])
local least, grant = tonumber(ARGV[5]), tonumber(ARGV[6])

reclaim()
local holding = holding_of(id)
if not holding and is_tombstone(id) then
  return { -2, now }
end

local packed = redis.call('MGET', unpack(KEYS, 3))
local counters, measures, windows = {}, {}, {}
for i = 1, #KEYS - 2 do
  local arg = 4 + 3 * i
  local measure, window, amount = ARGV[arg], tonumber(ARGV[arg + 1]), tonumber(ARGV[arg + 2])
  local counter = opened(packed[i], window)
  counters[i], measures[i], windows[i] = counter, measure, window
  local free = available(counter, window, amount)
  if measure == 'r' then
    grant = free < 1 and -1 or grant
  elseif measure == 'i' then
    grant = free < input and -1 or grant
  elseif measure == 'o' then
    grant = math.min(grant, free)
  else
    grant = math.min(grant, free - input)
  end
end

if holding then
  grant = holding[2]
elseif grant < least then
  grant = -1
else
  holding = { input, grant, now }
  local longest = 0
  for i, counter in ipairs(counters) do
    local key, measure, window = KEYS[2 + i], measures[i], windows[i]
    if measure == 'r' then
      counter.current = counter.current + 1
    else
      counter.reserved = counter.reserved + held(measure, input, grant)
    end
    save(key, counter, window)
    local at = #holding
    holding[at + 1], holding[at + 2], holding[at + 3] = key, measure, window
    longest = math.max(longest, window)
  end
  hold(id, holding)
  outlive(longest)
end

local answer = { grant, now }
for _, counter in ipairs(counters) do
  local at = #answer
  answer[at + 1], answer[at + 2], answer[at + 3] = counter.current, counter.previous, counter.reserved
end
return answer
