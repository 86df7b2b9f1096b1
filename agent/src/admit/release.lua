-- Undoes admissions whose answers were lost, whether they were carried out, will be, or never arrive.
--
-- ARGV[3+]  ids.
--
-- The tombstone refuses an admission that arrives after this. The charge for the request is taken back from the
-- window in which it was made.

for i = 3, #ARGV do
  local id = ARGV[i]
  local holding = holding_of(id)
  if holding then
    give_back(holding)
    for j = 4, #holding, 3 do
      local key, measure, window = holding[j], holding[j + 1], holding[j + 2]
      local packed = measure == 'r' and holding[3] >= 0 and redis.call('GET', key)
      if packed then
        local counter = opened(packed, window)
        local charged = holding[3] - fmod(holding[3], window)
        if charged == counter.start then
          counter.current = math.max(0, counter.current - 1)
        elseif charged == counter.start - window then
          counter.previous = math.max(0, counter.previous - 1)
        end
        save(key, counter, window)
      end
    end
  end
  if holding or not is_tombstone(id) then
    bury(id)
    outlive(0)
  end
end
return 1
