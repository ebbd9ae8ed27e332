-- One call: admit, renew and release connections of many holders, in order.
--
-- KEYS     for each connection its holder's leases: a sorted set of members by when they end, in ms of this server's clock
-- ARGV     ms that a lease lasts, what the channel of each node begins with, then for each connection one text:
--          what is asked ('+' admit, '=' renew, '-' release), the holder's limit, 't' if the newest takes over, 'r' if it is
--          refused, and the member: '<opened>:<node>:<number>', so that members sort by age
-- Returns  for each connection 1: admitted, renewed or released; 0: refused, or it lost its place to a newer one
--
-- A lease that ended is dropped when its place is needed, and a set ends with its last lease.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function excess(key, limit)
  if redis.call('ZCARD', key) >= limit then
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  end
  return redis.call('ZCARD', key) + 1 - limit
end

local function end_oldest(key, count)
  local members = redis.call('ZRANGE', key, 0, -1)
  table.sort(members)
  for i = 1, count do
    redis.call('ZREM', key, members[i])
    redis.call('PUBLISH', ARGV[2] .. string.match(members[i], ':(.-):'), members[i])
  end
end

local function has_place(asked, key, limit, policy, member)
  if asked == '=' and (policy == 'r' or redis.call('ZSCORE', key, member)) then
    return true
  end
  local over = excess(key, limit)
  if over > 0 and asked == '+' and policy == 't' then
    end_oldest(key, over)
    return true
  end
  return over <= 0
end

local answers = {}
for i, key in ipairs(KEYS) do
  local asked, limit, policy, member = string.match(ARGV[i + 2], '(.) (%d+) (.) (.*)')
  answers[i] = 1
  if asked == '-' then
    redis.call('ZREM', key, member)
  elseif has_place(asked, key, tonumber(limit), policy, member) then
    redis.call('ZADD', key, now + ARGV[1], member)
    redis.call('PEXPIRE', key, ARGV[1])
  else
    answers[i] = 0
  end
end
return answers
