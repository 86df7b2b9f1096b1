-- Keeps reservations alive for another life.
--
-- ARGV[3+]  per reservation: id, input, output, number of counters; then measure, window of each counter.
--
-- One that the store no longer knows is held again without asking whether it fits: its tokens are being made, and a
-- store that counts them refuses others earlier than one that does not.

local arg, key = 3, 3
while ARGV[arg] do
  local id, input, output = ARGV[arg], tonumber(ARGV[arg + 1]), tonumber(ARGV[arg + 2])
  local limits = tonumber(ARGV[arg + 3])
  arg = arg + 4
  local holding = holding_of(id)
  local longest = 0
  if holding then
    for i = 4, #holding, 3 do
      local window = holding[i + 2]
      if redis.call('PTTL', holding[i]) < window + life then
        redis.call('PEXPIRE', holding[i], 2 * window + life)
      end
      longest = math.max(longest, window)
    end
    redis.call('ZADD', reservations, now + life, id)
    outlive(longest)
  elseif not is_tombstone(id) then
    holding = { input, output, -1 }
    for i = 1, limits do
      local name = KEYS[key + i - 1]
      local measure, window = ARGV[arg + 2 * i - 2], tonumber(ARGV[arg + 2 * i - 1])
      local counter = opened(redis.call('GET', name), window)
      counter.reserved = counter.reserved + held(measure, input, output)
      save(name, counter, window)
      holding[3 * i + 1], holding[3 * i + 2], holding[3 * i + 3] = name, measure, window
      longest = math.max(longest, window)
    end
    hold(id, holding)
    outlive(longest)
  end
  arg, key = arg + 2 * limits, key + limits
end
return 1
