-- Prints what the driver reads: counts, and the latency in microseconds.
done = function(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        'RESULT {"requests": %d, "us": %d, "p50": %d, "p99": %d, "errors": %d}\n',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
