-- Each thread calls a port of its own, if WRK_PORTS lists any.
local ports = string.gmatch(os.getenv("WRK_PORTS") or "", "%d+")
setup = function(thread)
    local port = ports()
    if port then thread.addr = wrk.lookup("127.0.0.1", port)[1] end
end

-- Prints what the driver reads: counts, and the latency in microseconds.
done = function(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        'RESULT {"requests": %d, "us": %d, "p50": %d, "p99": %d, "errors": %d}\n',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
