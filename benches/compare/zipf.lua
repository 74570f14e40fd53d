-- Requests for KEYS URLs that begin with PREFIX, by their popularity: the one of rank n is asked for 1/n^0.9 as
-- often as the first. Requests and draws are made before the load begins; after 2^20 draws they repeat.
local prefix = os.getenv("PREFIX")
local keys = tonumber(os.getenv("COUNT"))
local draws = 2 ^ 20
local exponent = 0.9
local requests, drawn, at = {}, {}, 0

init = function()
  local sums, sum = {}, 0
  for rank = 1, keys do
    sum = sum + 1 / rank ^ exponent
    sums[rank] = sum
    requests[rank] = wrk.format("GET", prefix .. rank)
  end
  math.randomseed(20)
  for draw = 1, draws do
    local share, low, high = math.random() * sum, 1, keys
    while low < high do
      local middle = math.floor((low + high) / 2)
      if sums[middle] < share then low = middle + 1 else high = middle end
    end
    drawn[draw] = low
  end
end

request = function()
  at = at % draws + 1
  return requests[drawn[at]]
end
