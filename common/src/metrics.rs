//! The metrics of the process, as Prometheus scrapes them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use http::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

/// All metrics, each named `isthmus_…`; clones share one registry and may be used from any thread.
///
/// The lock guards registration and scraping only: counting is atomic and never waits for a scrape.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Metrics {
    /// The media type of [`render`](Self::render).
    pub const CONTENT_TYPE: &'static str =
        "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// A registry that holds `isthmus_build_info`, which tells the binary's `version`, and
    /// `isthmus_start_time_seconds`.
    pub fn new(version: &'static str) -> Self {
        let metrics = Self(Arc::new(Mutex::new(Registry::with_prefix("isthmus"))));
        metrics.lock().register("build", "What runs", Info::new([("version", version)]));
        let started = Gauge::<i64>::default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        started.set(now.try_into().unwrap_or_default());
        metrics.lock().register_with_unit(
            "start_time",
            "When the process began, since the Unix epoch",
            Unit::Seconds,
            started,
        );
        metrics
    }

    /// Adds a metric and hands it back for counting. `name` is without the prefix and, for a
    /// counter, without `_total`; `help` is a sentence without its full stop. A name must be used
    /// once only.
    pub fn register<M: Metric + Clone>(&self, name: &str, help: &str, metric: M) -> M {
        self.lock().register(name, help, metric.clone());
        metric
    }

    /// Like [`register`](Self::register), for a metric with a unit, which ends its name.
    pub fn register_with_unit<M: Metric + Clone>(
        &self,
        name: &str,
        help: &str,
        unit: Unit,
        metric: M,
    ) -> M {
        self.lock().register_with_unit(name, help, unit, metric.clone());
        metric
    }

    /// Adds metrics whose values are looked up at each scrape.
    pub fn collect(&self, collector: impl Collector) {
        self.lock().register_collector(Box::new(collector));
    }

    /// All metrics in the OpenMetrics text format.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Only the writer could fail, and a string does not.
        let _ = text::encode(&mut text, &self.lock());
        text
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        // Registration only appends, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counters of answered requests, one for each class of status; clones share them.
#[derive(Clone, Debug)]
pub struct Answers([Counter; 5]);

impl Answers {
    /// `counter` is asked once for each class, by its name: no request looks its counter up.
    pub fn new(counter: impl FnMut(&'static str) -> Counter) -> Self {
        Self(["1xx", "2xx", "3xx", "4xx", "5xx"].map(counter))
    }

    /// Counts an answered request. A status beyond 599 counts as 5xx (RFC 9110 §15).
    pub fn count(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, self.0.len());
        if let Some(counter) = self.0.get(class - 1) {
            counter.inc();
        }
    }
}

/// Counts what is dropped before it has [ended](Self::ended), as when a drain is forced.
pub struct Unfinished<'a>(&'a Counter);

impl<'a> Unfinished<'a> {
    /// For something that begins now.
    pub fn new(cut: &'a Counter) -> Self {
        Self(cut)
    }

    /// It has come to its end, whichever.
    pub fn ended(self) {
        std::mem::forget(self);
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.0.inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_count_by_their_class() {
        let mut counters = Vec::new();
        let answers = Answers::new(|class| {
            counters.push((class, Counter::default()));
            counters.last().map(|(_, counter)| counter.clone()).unwrap_or_default()
        });
        for status in [101, 200, 204, 304, 404, 502, 999] {
            answers.count(StatusCode::from_u16(status).unwrap());
        }
        let counts = counters.iter().map(|(class, counter)| (*class, counter.get()));
        let expected = [("1xx", 1), ("2xx", 2), ("3xx", 1), ("4xx", 1), ("5xx", 2)];
        assert_eq!(counts.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn renders_what_was_registered_and_counted() {
        let metrics = Metrics::new("1.2.3");
        let requests = metrics.register("requests", "Requests begun", Counter::<u64>::default());
        requests.inc_by(3);

        let text = metrics.clone().render();
        for line in [
            "# HELP isthmus_requests Requests begun.",
            "# TYPE isthmus_requests counter",
            "isthmus_requests_total 3",
            "isthmus_build_info{version=\"1.2.3\"} 1",
            "# UNIT isthmus_start_time_seconds seconds",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line:?} in:\n{text}");
        }
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
