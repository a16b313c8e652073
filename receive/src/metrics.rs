//! What `tunnel-receive` counts.

use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use tunnel_common::error::ProxyError;
use tunnel_common::metrics::Answers;

/// All metrics of this end. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    /// Sessions that are up now.
    pub sessions: Gauge,
    /// Sessions that have come up since the start.
    pub sessions_begun: Counter,
    /// Dials that failed since the start.
    pub dials_failed: Counter,
    /// Mappings whose target does not answer its probes now.
    pub unwell: Gauge,
    /// Requests, and connections of the plain entrance, that the end of this process broke off.
    pub cut: Counter,
    requests: Family<RequestLabels, Counter>,
    answers: Answers,
    errors: Family<ErrorLabels, Counter>,
}

/// The mapping is not a label here: `tunnel-send` counts by mapping, and a request that names an
/// unknown one must not be able to add labels.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RequestLabels {
    code: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ErrorLabels {
    error: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let requests = Family::<RequestLabels, Counter>::default();
        let answers = Answers::new(|code| requests.get_or_create(&RequestLabels { code }).clone());
        Self {
            sessions: Gauge::default(),
            sessions_begun: Counter::default(),
            dials_failed: Counter::default(),
            unwell: Gauge::default(),
            cut: Counter::default(),
            requests,
            answers,
            errors: Family::default(),
        }
    }
}

impl Metrics {
    /// Makes them visible on the admin address.
    pub fn register(&self, to: &tunnel_common::metrics::Metrics) {
        to.register("sessions", "Tunnels that are up", self.sessions.clone());
        to.register("sessions_begun", "Tunnels that have come up", self.sessions_begun.clone());
        to.register("dials_failed", "Dials that failed", self.dials_failed.clone());
        to.register("targets_unwell", "Mappings whose probes fail", self.unwell.clone());
        to.register("cut", "What the drain's end broke off", self.cut.clone());
        to.register("requests", "Requests answered, by class of status", self.requests.clone());
        to.register("errors", "Requests that the bridge answered itself", self.errors.clone());
    }

    /// Counts an answered request.
    pub fn answered(&self, status: StatusCode) {
        self.answers.count(status);
    }

    /// Counts a request that the bridge had to answer itself.
    pub fn failed(&self, error: &ProxyError) {
        self.errors.get_or_create(&ErrorLabels { error: error.kind() }).inc();
    }
}
