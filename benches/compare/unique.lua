-- Every request asks for a URL that was never asked for before. The environment gives the
-- beginning, which must differ from run to run.
local beginning = os.getenv("UNIQUE") or "/1k/"
local count = 0

request = function()
  count = count + 1
  return wrk.format("GET", beginning .. count)
end
