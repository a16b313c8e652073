//! One of several replicas writes: whoever holds the Lease.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::PostParams;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tunnel_common::kubernetes::{ApiError, Cluster};

/// How long a Lease lasts that is not renewed.
const DURATION: Duration = Duration::from_secs(15);
/// How often it is renewed, or looked at while another replica holds it.
const PERIOD: Duration = Duration::from_secs(5);
/// How long after a renewal was sent the holder still relies on it: less than [`DURATION`] by more
/// than one request takes, so that two holders never write at a time.
const RELIANCE: Duration = Duration::from_secs(9);

/// Whether the Lease is held. Clones see the same.
#[derive(Clone)]
pub(super) struct Held(watch::Receiver<Option<Instant>>);

impl Held {
    /// Whether it is held now.
    pub(super) fn is_held(&self) -> bool {
        self.0.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// Waits until it is taken or lost to another replica. Cancel safe.
    pub(super) async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Notes that the Lease was renewed by a request that was sent at `since`. Tells the watchers, and the
/// caller, if it was not held before, or no longer.
fn renew(held: &watch::Sender<Option<Instant>>, since: Instant) -> bool {
    held.send_if_modified(|held| {
        let lapsed = held.is_none_or(|until| until <= Instant::now());
        *held = Some(since + RELIANCE);
        lapsed
    })
}

/// Takes the Lease when it is free, and renews it.
pub(super) struct Keeper {
    cluster: Cluster,
    api: Api<Lease>,
    name: String,
    holder: String,
    held: watch::Sender<Option<Instant>>,
    /// What another replica wrote last, and when that was seen first: its clock may differ.
    other: Option<(Option<LeaseSpec>, Instant)>,
    failing: bool,
}

impl Keeper {
    /// Of the Lease `name`, in the name of `holder`.
    pub(super) fn new(
        cluster: Cluster,
        namespace: &str,
        name: String,
        holder: String,
    ) -> (Self, Held) {
        let (held, receiver) = watch::channel(None);
        let api = cluster.api(namespace);
        (Self { cluster, api, name, holder, held, other: None, failing: false }, Held(receiver))
    }

    /// Runs until `stop`, and then gives the Lease back.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match self.look().await {
                Ok(()) => self.failing = false,
                Err(error) if error.code() == Some(409) => {
                    tracing::debug!(%error, "another replica was quicker");
                }
                Err(error) => {
                    if !std::mem::replace(&mut self.failing, true) {
                        tracing::warn!(%error, "the Lease cannot be kept; trying on");
                    }
                }
            }
            tokio::select! {
                () = sleep(PERIOD) => {}
                () = stop.cancelled() => {}
            }
        }
        self.release().await;
    }

    async fn look(&mut self) -> Result<(), ApiError> {
        let sent = Instant::now();
        let found = self.api.get_opt(&self.name);
        let Some(found) = self.cluster.ask("get", "leases", found).await? else {
            let new = self.lease(None);
            let params = PostParams::default();
            self.cluster.ask("create", "leases", self.api.create(&params, &new)).await?;
            self.hold(sent);
            return Ok(());
        };
        if self.may_take(&found) {
            self.write(&self.lease(Some(found))).await?;
            self.hold(sent);
        } else {
            self.held.send_if_modified(|held| held.take().is_some());
        }
        Ok(())
    }

    /// Whether the Lease is this replica's, nobody's, or has not been renewed for its duration.
    fn may_take(&mut self, found: &Lease) -> bool {
        let spec = found.spec.as_ref();
        let holder = spec.and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default();
        if holder.is_empty() || holder == self.holder {
            self.other = None;
            return true;
        }
        let seconds = spec.and_then(|spec| spec.lease_duration_seconds).unwrap_or_default();
        let duration = Duration::from_secs(seconds.max(0).unsigned_abs().into());
        match &self.other {
            Some((known, since)) if *known == found.spec => since.elapsed() > duration,
            _ => {
                self.other = Some((found.spec.clone(), Instant::now()));
                false
            }
        }
    }

    /// The Lease as this replica holds it, after what was found.
    fn lease(&self, found: Option<Lease>) -> Lease {
        let now = MicroTime(Timestamp::now());
        let Lease { metadata, spec } = found.unwrap_or_else(|| Lease {
            metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
            spec: None,
        });
        let old = spec.unwrap_or_default();
        let is_mine = old.holder_identity.as_ref() == Some(&self.holder);
        let transitions = old.lease_transitions.unwrap_or_default();
        Lease {
            metadata,
            spec: Some(LeaseSpec {
                holder_identity: Some(self.holder.clone()),
                lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
                acquire_time: old.acquire_time.filter(|_| is_mine).or(Some(now.clone())),
                renew_time: Some(now),
                lease_transitions: Some(transitions.saturating_add(i32::from(!is_mine))),
                ..LeaseSpec::default()
            }),
        }
    }

    /// Fails with a conflict if another replica has written since `lease` was read.
    async fn write(&self, lease: &Lease) -> Result<(), ApiError> {
        let params = PostParams::default();
        let written = self.api.replace(&self.name, &params, lease);
        self.cluster.ask("update", "leases", written).await.map(drop)
    }

    fn hold(&self, since: Instant) {
        if renew(&self.held, since) {
            tracing::info!(lease = self.name, "this replica keeps the Services");
        }
    }

    async fn release(&mut self) {
        if self.held.send_replace(None).is_none() {
            return;
        }
        let released: Result<(), ApiError> = async {
            let found = self.cluster.ask("get", "leases", self.api.get(&self.name)).await?;
            if found.spec.as_ref().and_then(|spec| spec.holder_identity.as_ref())
                == Some(&self.holder)
            {
                let mut lease = self.lease(Some(found));
                lease.spec.get_or_insert_default().holder_identity = None;
                self.write(&lease).await?;
            }
            Ok(())
        }
        .await;
        if let Err(error) = released {
            tracing::debug!(%error, "the Lease was not given back; it expires by itself");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_hears_of_a_lease_that_had_lapsed() {
        let (sender, receiver) = watch::channel(None);
        let mut held = Held(receiver);
        assert!(renew(&sender, Instant::now()) && held.is_held());
        held.changed().await;
        assert!(!renew(&sender, Instant::now()), "it goes on");
        assert!(!renew(&sender, Instant::now() - RELIANCE) && !held.is_held(), "it has lapsed");
        assert!(renew(&sender, Instant::now()) && held.is_held());
        held.changed().await;
    }
}
