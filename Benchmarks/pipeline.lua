-- For wrk: sends the request of its command line 16 at a time on each connection.
local depth = 16

init = function()
  local batch = {}
  for i = 1, depth do
    batch[i] = wrk.format()
  end
  requests = table.concat(batch)
end

request = function()
  return requests
end
