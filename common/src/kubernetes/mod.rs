//! The API of the Kubernetes cluster that the process runs in: where its config may come from.
//!
//! [`Cluster`] connects, [`Follower`] lists and watches, [`config_map`] makes a config of it,
//! [`Events`] tells those who edit the ConfigMap, [`siblings`] finds the other pods of a Service.
//! Only this module and `tunnel-send`'s services know the API; all of it runs on the control
//! thread.

mod cluster;
pub mod config_map;
mod error;
mod events;
mod follower;
mod place;
pub mod siblings;

pub use self::cluster::{Cluster, ConnectError};
pub use self::error::{ApiError, Refusal};
pub use self::events::Events;
pub use self::follower::{Follower, Selector};
pub use self::place::{ConfigMapKey, ConfigMapName, PlaceError, is_dns_name};
