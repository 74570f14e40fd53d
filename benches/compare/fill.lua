-- Asks for COUNT URLs that begin with PREFIX, one after the other, and then for the first ones again.
local prefix = os.getenv("PREFIX")
local last = tonumber(os.getenv("COUNT"))
local count = 0

request = function()
  count = count % last + 1
  return wrk.format("GET", prefix .. count)
end
