//! The other pods of a Service, by its EndpointSlices.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use tokio::sync::watch;

use super::cluster::Cluster;
use super::follower::{Follower, Selector};
use crate::retry::Retry;

/// Follows the addresses of the ready pods behind the Service `service` of `namespace`.
///
/// The set is empty until the future has listed them, which it does once it runs; what cannot be
/// followed stays as it was, and is logged. The future ends when nobody holds a receiver; dropping
/// it at any point is safe. It needs the verbs `list` and `watch` on `endpointslices` of
/// `discovery.k8s.io`.
pub fn follow(
    cluster: Cluster,
    namespace: &str,
    service: &str,
) -> (watch::Receiver<BTreeSet<String>>, impl Future<Output = ()> + Send + 'static) {
    let (addresses, receiver) = watch::channel(BTreeSet::new());
    let label = Selector::Label("kubernetes.io/service-name", service.to_owned());
    let mut follower = Follower::<EndpointSlice>::new(cluster, namespace, label);
    let run = async move {
        let mut retry = Retry::new("to follow the Service's pods");
        loop {
            let changed = tokio::select! {
                () = addresses.closed() => return,
                changed = follower.changed() => changed,
            };
            match changed {
                Err(error) => _ = retry.failed(&error.to_string()),
                Ok(()) => {
                    retry.worked();
                    let found = ready(follower.objects());
                    addresses.send_if_modified(|known| {
                        let is_new = *known != found;
                        *known = found;
                        is_new
                    });
                }
            }
        }
    };
    (receiver, run)
}

/// An endpoint without a word on its readiness is ready (discovery.k8s.io/v1, EndpointConditions).
fn ready(slices: &BTreeMap<String, EndpointSlice>) -> BTreeSet<String> {
    slices
        .values()
        .flat_map(|slice| slice.endpoints.iter().flatten())
        .filter(|endpoint| {
            endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false)
        })
        .flat_map(|endpoint| endpoint.addresses.clone())
        .collect()
}
