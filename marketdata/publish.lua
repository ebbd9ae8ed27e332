-- One call: next seq, append to history, publish to the group, for a whole batch of updates.
--
-- KEYS[1]  the store's life: hash {run, epoch}
-- KEYS[2…] state keys that guard the batch, one per (version, value) pair below
-- ARGV     a fresh random epoch, now in µs, key prefix, channel prefix, then per state: version, value,
--          then per update: topic, most history kept, body
-- Returns  {epoch, seq, seq, …}, or {false, index, …} naming the states that another writer changed: nothing was published then.
--
-- The epoch changes when the store's memory is not the one that earlier stamps were made from: it was wiped (no life key), or
-- the Redis process is another one (a restart may have lost the last writes, a promoted replica may never have had them).

redis.replicate_commands() -- what the script did is replicated, not the script: INFO below differs between servers

local fresh, now, prefix, channel = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local states = #KEYS - 1
local update = 5 + 2 * states

local stale = {false}
for i = 1, states do
  local version = redis.call('HGET', KEYS[i + 1], 'v') or '0'
  if version ~= ARGV[3 + 2 * i] then stale[#stale + 1] = i end
end
if #stale > 1 then return stale end

local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local life = redis.call('HMGET', KEYS[1], 'run', 'epoch')
local epoch = life[2]
if life[1] ~= run or not epoch then
  epoch = fresh
  redis.call('HSET', KEYS[1], 'run', run, 'epoch', epoch)
end

for i = 1, states do
  redis.call('HSET', KEYS[i + 1], 'v', ARGV[3 + 2 * i] + 1, 'd', ARGV[4 + 2 * i])
end

-- The message is MessagePack, as channels_redis writes it: {type, seq, epoch, data, topic}. It is laid out by hand so that
-- a reader finds each field at a fixed place (see marketdata/store.py) and no body is ever parsed here.
local head = '\133\164type\173market.update\163seq\207'
local middle = '\165epoch\166' .. epoch .. '\164data\219'
local reply = {epoch}
for i = update, #ARGV, 3 do
  local topic, most, body = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local key = prefix .. topic
  local last = redis.call('HMGET', key, 'e', 's')
  local seq = 1
  if last[1] == epoch then
    seq = last[2] + 1
  else
    redis.call('DEL', key .. ':h')
  end
  redis.call('HSET', key, 'e', epoch, 's', seq, 'p', now, 'b', body)
  redis.call('XADD', key .. ':h', 'MAXLEN', '~', most, seq .. '-0', 'p', now, 'b', body)
  redis.call('PUBLISH', channel .. topic, head .. struct.pack('>I8', seq) .. middle
    .. struct.pack('>I4', #body) .. body .. '\165topic\217' .. struct.pack('B', #topic) .. topic)
  reply[#reply + 1] = seq
end
return reply
