-- Sends the requests of a directory (files 1, 2, 3 ..., each a whole HTTP request) in turn, as they are; but a blank
-- idempotency key is filled in, with a number of this run (8 hex digits, the second argument) and one that counts.
local requests, turn, blank, run, sent = {}, 0, "bench-key-0000000000000000", "", 0

function init(args)
  run = args[2]
  local file = io.open(args[1] .. "/1", "rb")
  while file do
    requests[#requests + 1] = file:read("*a")
    file:close()
    file = io.open(args[1] .. "/" .. (#requests + 1), "rb")
  end
end

function request()
  turn = turn % #requests + 1
  local whole = requests[turn]
  local first, last = whole:find(blank, 1, true)
  if not first then
    return whole
  end
  sent = sent + 1
  return whole:sub(1, first - 1) .. string.format("bench-key-%s%08x", run, sent) .. whole:sub(last + 1)
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    'SUMMARY {"requests": %d, "micros": %d, "refused": %d, "broken": %d, "p50": %d, "p99": %d}\n',
    summary.requests, summary.duration, errors.status, errors.connect + errors.read + errors.write,
    latency:percentile(50), latency:percentile(99)))
end
