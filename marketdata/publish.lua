-- One call: next seq, append to history, publish to the group, for a whole batch of updates.
--
-- KEYS[1]  the store's life: hash {run, epoch}
-- KEYS[2…] state keys that guard the batch, then the windows of ids, then the writer's mark if it set one
-- ARGV     a fresh random epoch, now in µs, key prefix, channel prefix, how many states, how many windows, how many ids a window
--          keeps, the mark's number or nothing; then per state: version, value; then per window: digests of the ids of the
--          batch, 8 bytes each; then per update: topic, most history kept, body
-- Returns  {epoch, seq, seq, …}; or, when nothing was published,
--          {0, index, …} naming the states that another writer changed,
--          {1, window, place, …} naming the ids that were published before,
--          {2} when the mark says that this very batch was done before.
--
-- The epoch changes when the store's memory is not the one that earlier stamps were made from: it was wiped (no life key), or
-- the Redis process is another one (a restart may have lost the last writes, a promoted replica may never have had them).

redis.replicate_commands() -- what the script did is replicated, not the script: INFO below differs between servers

local fresh, now, prefix, channel = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local states, windows, mark = ARGV[5] + 0, ARGV[6] + 0, ARGV[8]

if mark ~= '' and (redis.call('GET', KEYS[#KEYS]) or 0) - mark >= 0 then return {2} end

local stale
for i = 1, states do
  local version = redis.call('HGET', KEYS[i + 1], 'v') or '0'
  if version ~= ARGV[7 + 2 * i] then
    stale = stale or {0}
    stale[#stale + 1] = i
  end
end
if stale then return stale end

-- A window is a string of digests, oldest first: 8 bytes an id, where a sorted set would take a hundred. It holds up to a quarter
-- more ids than asked for.
local window, known, repeated = 8 + 2 * states, windows > 0 and {}, nil
for w = 1, windows do
  local ids, had = ARGV[window + w], redis.call('GET', KEYS[1 + states + w]) or ''
  for place = 1, #ids / 8 do
    local id = string.sub(ids, 8 * place - 7, 8 * place)
    local at = string.find(had, id, 1, true)
    while at and at % 8 ~= 1 do at = string.find(had, id, at + 1, true) end -- across two of them is none
    if at then
      repeated = repeated or {1}
      repeated[#repeated + 1] = w
      repeated[#repeated + 1] = place
    end
  end
  known[w] = had
end
if repeated then return repeated end

if mark ~= '' then redis.call('SET', KEYS[#KEYS], mark, 'EX', 86400) end

local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local life = redis.call('HMGET', KEYS[1], 'run', 'epoch')
local epoch = life[2]
if life[1] ~= run or not epoch then
  epoch = fresh
  redis.call('HSET', KEYS[1], 'run', run, 'epoch', epoch)
end

for i = 1, states do
  redis.call('HSET', KEYS[i + 1], 'v', ARGV[7 + 2 * i] + 1, 'd', ARGV[8 + 2 * i])
end

for w = 1, windows do
  local key, ids, most = KEYS[1 + states + w], ARGV[window + w], ARGV[7]
  if #known[w] + #ids < 10 * most then
    redis.call('APPEND', key, ids)
  else -- cut seldom: a replica is sent what is written here
    redis.call('SET', key, string.sub(known[w] .. ids, -8 * most))
  end
end

-- The message is MessagePack, as channels_redis writes it: {type, seq, epoch, data, topic}. It is laid out by hand so that
-- a reader finds each field at a fixed place (see marketdata/store.py) and no body is ever parsed here.
local head = '\133\164type\173market.update\163seq\207'
local middle = '\165epoch\166' .. epoch .. '\164data\219'
local reply = {epoch}
local seqs, latest = {}, {}
for i = window + windows + 1, #ARGV, 3 do
  local topic, most, body = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local history, seq = prefix .. topic .. ':h', seqs[topic]
  if not seq then
    local last = redis.call('HMGET', prefix .. topic, 'e', 's')
    if last[1] == epoch then
      seq = last[2]
    else
      seq = 0
      redis.call('DEL', history)
    end
  end
  seq = seq + 1
  redis.call('XADD', history, 'MAXLEN', '~', most, seq .. '-0', 'p', now, 'b', body)
  redis.call('PUBLISH', channel .. topic, head .. struct.pack('>I8', seq) .. middle
    .. struct.pack('>I4', #body) .. body .. '\165topic\217' .. struct.pack('B', #topic) .. topic)
  seqs[topic], latest[topic] = seq, body
  reply[#reply + 1] = seq
end
for topic, seq in pairs(seqs) do -- once each, however many updates of it the batch has
  redis.call('HSET', prefix .. topic, 'e', epoch, 's', seq, 'p', now, 'b', latest[topic])
end
return reply
