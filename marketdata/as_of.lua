-- The newest update of each topic that was published by some moment: what somebody may see who sees everything later.
--
-- ARGV     key prefix, that moment in µs; then the topics
-- Returns  epoch, seq, when it was published and body of each, one after the other; nothing where no update that is kept is so old
--
-- That is the latest value where it is old enough. Else it is found in the history by halves: ten looks at a thousand updates, and one
-- where even the oldest is too young, so that a long delay and a busy topic do not cost Redis a walk through all that it keeps.

local moment, found = ARGV[2] + 0, {}

local function published(entry) return entry[2][2] + 0 end

local function first_from(history, seq)
  return redis.call('XRANGE', history, string.format('%d-0', seq), '+', 'COUNT', 1)[1]
end

for i = 3, #ARGV do
  local key, at = ARGV[1] .. ARGV[i], 4 * i - 12
  local update = redis.call('HMGET', key, 'e', 's', 'p', 'b')
  if update[4] and update[3] - moment > 0 then
    local history = key .. ':h'
    local known = first_from(history, 1)
    if known and published(known) <= moment then
      local low, high = string.match(known[1], '%d+') + 0, update[2] + 0
      while high - low > 1 do
        local middle = math.floor((low + high) / 2)
        local look = first_from(history, middle)
        if published(look) <= moment then low, known = middle, look else high = middle end
      end
      update = {update[1], string.match(known[1], '%d+'), known[2][2], known[2][4]}
    else
      update = {false, false, false, false}
    end
  end
  for field = 1, 4 do found[at + field] = update[field] end
end
return found
