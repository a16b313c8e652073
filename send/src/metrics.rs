//! What `tunnel-send` counts.

use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use tunnel_common::condition::Condition;
use tunnel_common::error::ProxyError;
use tunnel_common::metrics::Answers;

/// All metrics of this end. Clones share them.
#[derive(Clone, Default)]
pub struct Metrics {
    /// Sessions that carry requests now.
    pub sessions: Gauge,
    /// Sessions that have come up since the start.
    pub sessions_begun: Counter,
    /// Requests that were sent again because the first try had not begun, or was repeatable.
    pub replayed: Counter,
    /// Requests of siblings that were passed on.
    pub relayed: Counter,
    /// Siblings that are connected now.
    pub siblings: Gauge,
    /// Tunnels whose other end's config lacks mappings of this one's.
    pub drifted: Gauge,
    /// Connections of callers that the end of this process or of their mapping broke off.
    pub cut: Counter,
    /// Callers' connections that are open now.
    pub connections: Gauge,
    /// Requests in flight now.
    pub in_flight: Gauge,
    requests: Family<RequestLabels, Counter>,
    errors: Family<ErrorLabels, Counter>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RequestLabels {
    mapping: String,
    code: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ErrorLabels {
    mapping: String,
    error: &'static str,
}

impl Metrics {
    /// Makes them visible on the admin address.
    pub fn register(&self, to: &tunnel_common::metrics::Metrics) {
        to.register("sessions", "Tunnels that carry requests", self.sessions.clone());
        to.register("sessions_begun", "Tunnels that have come up", self.sessions_begun.clone());
        to.register("requests_replayed", "Requests sent again", self.replayed.clone());
        to.register("requests_relayed", "Requests passed on for siblings", self.relayed.clone());
        to.register("siblings", "Other replicas that are connected", self.siblings.clone());
        to.register("drifted", "Tunnels whose end lacks mappings", self.drifted.clone());
        to.register("connections_cut", "What a drain's end broke off", self.cut.clone());
        to.register("connections", "Open connections of callers", self.connections.clone());
        to.register("requests_in_flight", "Requests in flight", self.in_flight.clone());
        to.register("requests", "Requests answered, by class of status", self.requests.clone());
        to.register("errors", "Requests that the bridge answered itself", self.errors.clone());
    }

    /// The counters of one mapping, looked up once and not per request.
    pub fn mapping(&self, condition: &Condition) -> MappingMetrics {
        let answers = Answers::new(|code| {
            let labels = RequestLabels { mapping: condition.to_string(), code };
            self.requests.get_or_create(&labels).clone()
        });
        MappingMetrics { mapping: condition.to_string(), answers, errors: self.errors.clone() }
    }
}

/// The counters of one mapping.
pub struct MappingMetrics {
    mapping: String,
    answers: Answers,
    errors: Family<ErrorLabels, Counter>,
}

impl MappingMetrics {
    /// Counts an answered request.
    pub fn answered(&self, status: StatusCode) {
        self.answers.count(status);
    }

    /// Counts a request that the bridge had to answer itself.
    pub fn failed(&self, error: &ProxyError) {
        let labels = ErrorLabels { mapping: self.mapping.clone(), error: error.kind() };
        self.errors.get_or_create(&labels).inc();
    }
}

/// Counts something in a gauge until it is dropped.
pub(crate) struct Counted(Gauge);

impl Counted {
    pub(crate) fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
