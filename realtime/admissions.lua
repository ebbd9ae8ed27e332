-- One call: admit, renew and release connections of many holders, in order, and end those that are too many.
--
-- KEYS     for each connection its holder's leases: a sorted set of members by when they end, in ms of this server's clock
-- ARGV     ms that a lease lasts, what the channel of each node begins with, then for each connection one text:
--          what is asked ('+' admit, '=' renew, '~' renew what may have ended meanwhile, '-' release, '!' end what is over the
--          limit), the holder's limit, how many handshakes it may begin in five minutes (0: not counted), 't' if the newest takes
--          over, 'r' if it is refused, 'd' if the limit is on trial, and the member: '<opened>:<node>:<number>', so that members
--          sort by age
-- Returns  for each connection 1: admitted, renewed or released; 2: admitted, though a limit on trial would have refused it;
--          0: refused, or it lost its place to another one; less: refused for so many ms, as its holder begins too many
--
-- A lease that ended is dropped when its place is needed, and a set ends with its last lease. A node is told which of its members
-- ended: 't', if a newer one has its place, or 'r', and the member.

local WINDOW_MS = 300000
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function excess(key, limit)
  if redis.call('ZCARD', key) >= limit then
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  end
  return redis.call('ZCARD', key) + 1 - limit
end

local function finish(key, count, policy)
  local members = redis.call('ZRANGE', key, 0, -1)
  table.sort(members)
  for i = 1, count do
    local member = members[policy == 't' and i or #members + 1 - i]
    redis.call('ZREM', key, member)
    redis.call('PUBLISH', ARGV[2] .. string.match(member, ':(.-):'), policy .. member)
  end
end

-- How long no further handshake is taken, in ms; nil: it is.
local function hold_off(key, most)
  local counter = key .. ':n'
  local count = redis.call('INCR', counter)
  if count == 1 then
    redis.call('PEXPIRE', counter, WINDOW_MS)
  end
  return count > most and redis.call('PTTL', counter) or nil
end

local function place(asked, key, limit, policy, member)
  if asked == '=' and policy ~= 't' or asked ~= '+' and redis.call('ZSCORE', key, member) then
    return 1
  end
  local over = excess(key, limit)
  if over <= 0 then
    return 1
  elseif asked == '+' and policy == 't' then
    finish(key, over, policy)
    return 1
  end
  return policy == 'd' and 2 or 0
end

local answers = {}
for i, key in ipairs(KEYS) do
  local asked, limit, most, policy, member = string.match(ARGV[i + 2], '(.) (%d+) (%d+) (.) (.*)')
  limit, most = tonumber(limit), tonumber(most)
  local wait = asked == '+' and most > 0 and hold_off(key, most)
  if asked == '-' then
    redis.call('ZREM', key, member)
    answers[i] = 1
  elseif asked == '!' then
    local over = excess(key, limit) - 1
    if over > 0 and policy ~= 'd' then
      finish(key, over, policy)
    end
    answers[i] = 1
  elseif wait and policy ~= 'd' then
    answers[i] = -wait
  else
    answers[i] = place(asked, key, limit, policy, member)
    if answers[i] > 0 then
      redis.call('ZADD', key, now + ARGV[1], member)
      redis.call('PEXPIRE', key, ARGV[1])
      answers[i] = wait and 2 or answers[i]
    end
  end
end
return answers
