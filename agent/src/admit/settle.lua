-- Turns reservations into what was consumed, each once: a second settlement of an id finds the tombstone of the first.
--
-- ARGV[3+]  per reservation: id, input, output, number of counters; then measure, window of each counter.
--
-- A reservation that lapsed is charged all the same: the tokens were made. Nothing can refuse a charge, so a counter
-- may stand above its amount afterwards. A reservation comes with the counters that it was admitted with, so giving
-- back and charging are one write.

local arg, key = 3, 3
while ARGV[arg] do
  local id, input, output = ARGV[arg], tonumber(ARGV[arg + 1]), tonumber(ARGV[arg + 2])
  local limits = tonumber(ARGV[arg + 3])
  arg = arg + 4
  local holding = holding_of(id)
  if holding or not is_tombstone(id) then
    local packed = redis.call('MGET', unpack(KEYS, key, key + limits - 1))
    local longest = 0
    for i = 1, limits do
      local measure, window = ARGV[arg + 2 * i - 2], tonumber(ARGV[arg + 2 * i - 1])
      local charge = held(measure, input, output)
      local back = holding and held(measure, holding[1], holding[2]) or 0
      if charge > 0 or back > 0 then
        local counter = opened(packed[i], window)
        counter.current = counter.current + charge
        counter.reserved = math.max(0, counter.reserved - back)
        save(KEYS[key + i - 1], counter, window)
      end
      longest = math.max(longest, window)
    end
    bury(id)
    outlive(longest)
  end
  arg, key = arg + 2 * limits, key + limits
end
return 1
