-- What the scripts of the quota store share. It stands in front of each of them.
--
-- Invariant: right after a script admitted or extended, used + reserved <= amount holds for every counter that the
-- call names; and the reserved part of a counter is the sum of what the members of `holdings` hold of it.
--
-- KEYS[1]  reservations: sorted set of 16-byte ids by the time at which they lapse, in ms of the store's clock.
--          An id in here that has no holding is a tombstone: settled or released, and nothing may come after that.
-- KEYS[2]  holdings: hash from id to what is held, so that anyone can give it back: {input, output,
--          when its requests were charged or -1, then key, measure, window of each counter}.
-- KEYS[3+] counters: one packed string each. A reclaim also touches counters that are not among KEYS, which is sound
--          because all keys of a tenant have one hash tag, so one slot.
-- ARGV[1]  ms since the epoch, or empty for the store's own time.
-- ARGV[2]  ms that a reservation or a tombstone lives without being renewed.
--
-- Times, counts and their products stay below 2^53, where doubles are exact integers.

local reservations, holdings = KEYS[1], KEYS[2]
local fmod = math.fmod
local life = tonumber(ARGV[2])
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

-- No count grows above this: an overflow must not turn a full counter into an empty one.
local MAX_COUNT = 2 ^ 50

-- A window that is longer than this (18 hours) is reckoned in coarser steps, so that window * window is exact.
local EXACT_WINDOW = 2 ^ 26

-- Lapsed reservations that one admission cleans up. Each request leaves one member, so two would keep pace; sixteen
-- catch up after an agent died with a thousand streams in 63 admissions.
local RECLAIMED_PER_ADMIT = 16

-- The share of the previous window that the sliding window still sees: previous * rest / window, rounded up.
local function faded(previous, rest, window)
  if previous == 0 then
    return 0
  end
  while window >= EXACT_WINDOW do
    window = math.floor(window / 2)
    rest = math.ceil(rest / 2)
  end
  rest = math.min(rest, window)
  local part = fmod(previous, window)
  local product = part * rest
  local over = fmod(product, window)
  return (previous - part) / window * rest + (product - over) / window + (over > 0 and 1 or 0)
end

-- A counter as of now. A start in the future (the clock stepped back) forgets nothing.
local function opened(packed, window)
  local counter = { start = now - fmod(now, window), current = 0, previous = 0, reserved = 0 }
  if packed then
    local start, current, previous, reserved = struct.unpack('<dddd', packed)
    counter.reserved = reserved
    if start >= counter.start then
      counter.current, counter.previous = current, previous
    elseif start >= counter.start - window then
      counter.previous = current
    end
  end
  return counter
end

-- Not below zero: a limit that was overdrawn by a settlement still lets through those who ask nothing of it.
local function available(counter, window, amount)
  local rest = counter.start + window - now
  return math.max(0, amount - counter.current - faded(counter.previous, rest, window) - counter.reserved)
end

-- A counter outlives its two windows and every reservation in it; the two shared keys outlive all counters, or what
-- a dead agent reserved could never be given back.
local function save(key, counter, window)
  local keep = 2 * window + life
  local current = math.min(counter.current, MAX_COUNT)
  local packed = struct.pack('<dddd', counter.start, current, counter.previous, counter.reserved)
  redis.call('SET', key, packed, 'PX', keep)
end

local function outlive(window)
  local keep = 2 * window + life
  for _, key in ipairs({ reservations, holdings }) do
    if redis.call('PTTL', key) < keep then
      redis.call('PEXPIRE', key, 2 * keep)
    end
  end
end

-- What a reservation holds of a counter of this measure; requests are charged at once and never held.
local function held(measure, input, output)
  if measure == 'i' then
    return input
  elseif measure == 'o' then
    return output
  elseif measure == 't' then
    return input + output
  end
  return 0
end

local function holding_of(id)
  local packed = redis.call('HGET', holdings, id)
  return packed and cmsgpack.unpack(packed)
end

local function is_tombstone(id)
  return redis.call('ZSCORE', reservations, id) and redis.call('HEXISTS', holdings, id) == 0
end

local function hold(id, holding)
  redis.call('HSET', holdings, id, cmsgpack.pack(holding))
  redis.call('ZADD', reservations, now + life, id)
end

local function bury(id)
  redis.call('HDEL', holdings, id)
  redis.call('ZADD', reservations, now + life, id)
end

local function give_back(holding)
  for i = 4, #holding, 3 do
    local key, measure, window = holding[i], holding[i + 1], holding[i + 2]
    local amount = held(measure, holding[1], holding[2])
    local packed = amount > 0 and redis.call('GET', key)
    if packed then
      local counter = opened(packed, window)
      counter.reserved = math.max(0, counter.reserved - amount)
      save(key, counter, window)
    end
  end
end

local function reclaim()
  local lapsed = redis.call('ZRANGEBYSCORE', reservations, '-inf', now, 'LIMIT', 0, RECLAIMED_PER_ADMIT)
  for _, id in ipairs(lapsed) do
    local holding = holding_of(id)
    if holding then
      give_back(holding)
      redis.call('HDEL', holdings, id)
    end
    redis.call('ZREM', reservations, id)
  end
end
