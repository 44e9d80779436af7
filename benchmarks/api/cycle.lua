-- For wrk: posts prepared bodies, one line of a file each, in turn; at the end it prints the figures as a line of JSON.
-- wrk ... -s cycle.lua URL -- PATH CONTENT-TYPE FILE

local requests = {}
local turn = 0

function init(arguments)
  for body in io.lines(arguments[3]) do
    requests[#requests + 1] = wrk.format("POST", arguments[1], { ["Content-Type"] = arguments[2] }, body)
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency)
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  print(string.format(
    '{"requests": %d, "seconds": %.6f, "refused": %d, "failed": %d, "p99_ms": %.4f}',
    summary.requests, summary.duration / 1e6, summary.errors.status, failed, latency:percentile(99) / 1e3))
end
