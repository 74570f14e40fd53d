-- Each request is for a URL that nobody asked for before: PREFIX and a number. PREFIX differs from run to run.
local prefix = os.getenv("PREFIX")
local count = 0

request = function()
  count = count + 1
  return wrk.format("GET", prefix .. count)
end
