-- Sends the requests of a directory (files 1, 2, 3 ..., each a whole HTTP request) in turn, as they are.
local requests, turn = {}, 0

function init(args)
  local file = io.open(args[1] .. "/1", "rb")
  while file do
    requests[#requests + 1] = file:read("*a")
    file:close()
    file = io.open(args[1] .. "/" .. (#requests + 1), "rb")
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    'SUMMARY {"requests": %d, "micros": %d, "refused": %d, "broken": %d, "p50": %d, "p99": %d}\n',
    summary.requests, summary.duration, errors.status, errors.connect + errors.read + errors.write,
    latency:percentile(50), latency:percentile(99)))
end
