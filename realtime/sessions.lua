-- One call: save what changed in many sessions.
--
-- KEYS     the sessions' hashes
-- ARGV     seconds to live, then of each key what changed: lines of name and value in turn; an empty value removes the field
-- Returns  nothing
--
-- One text per session, because arguments are what a call costs the process that makes it.

for i, key in ipairs(KEYS) do
  for name, value in string.gmatch(ARGV[i + 1], '([^\n]*)\n([^\n]*)\n') do
    if value == '' then
      redis.call('HDEL', key, name)
    else
      redis.call('HSET', key, name, value)
    end
  end
  redis.call('EXPIRE', key, ARGV[1])
end
