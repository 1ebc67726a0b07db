-- Asks for the addresses in a file, one after the other: each line an address, and perhaps a tab and the tag that is
-- known already. Further arguments are headers, NAME: VALUE.

local requests = {}
local last = 0

function init(args)
  local headers = {}
  for i = 2, #args do
    local name, value = args[i]:match("^([^:]+): (.*)$")
    headers[name] = value
  end
  for line in io.lines(args[1]) do
    local path, tag = line:match("^([^\t]+)\t?(.*)$")
    headers["If-None-Match"] = tag ~= "" and tag or nil
    requests[#requests + 1] = wrk.format("GET", path, headers)
  end
end

function request()
  last = last % #requests + 1
  return requests[last]
end

function done(summary, latency)
  local errors = summary.errors
  local faults = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  local median = latency:percentile(50)
  io.write(string.format("SUMMARY %d %d %d %d\n", summary.requests, faults, median, summary.bytes))
end
