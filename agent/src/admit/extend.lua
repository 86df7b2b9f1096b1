-- Raises the output of a reservation to a total, in all counters or in none.
--
-- ARGV[3..5]  id, input, total output; then measure, window, amount of each counter.
-- Answers 1 when the reservation now holds at least that, else 0.
--
-- The total makes a repeated call harmless. A reservation that the store no longer knows (it lapsed, or the store
-- lost its memory) is made anew if the whole of it fits.

local id, input, output = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])

reclaim()
local holding = holding_of(id)
if not holding and is_tombstone(id) then
  return 0
end
local more_input = holding and 0 or input
local more_output = math.max(0, output - (holding and holding[2] or 0))
local fresh = { input, output, -1 }

local packed = redis.call('MGET', unpack(KEYS, 3))
local counters = {}
for i = 1, #KEYS - 2 do
  local arg = 3 + 3 * i
  local measure, window, amount = ARGV[arg], tonumber(ARGV[arg + 1]), tonumber(ARGV[arg + 2])
  local counter = opened(packed[i], window)
  local more = held(measure, more_input, more_output)
  if more > 0 and more > available(counter, window, amount) then
    return 0
  end
  counter.reserved = counter.reserved + more
  counters[i] = counter
  fresh[3 * i + 1], fresh[3 * i + 2], fresh[3 * i + 3] = KEYS[2 + i], measure, window
end

local longest = 0
for i, counter in ipairs(counters) do
  save(KEYS[2 + i], counter, fresh[3 * i + 3])
  longest = math.max(longest, fresh[3 * i + 3])
end
if holding then
  holding[2] = math.max(holding[2], output)
end
hold(id, holding or fresh)
outlive(longest)
return 1
