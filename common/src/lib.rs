//! What both ends of the bridge share.
//!
//! Start with [`config`] (which routes exist), [`tunnel`] (how requests cross), [`headers`] (what a
//! proxy adds and removes) and [`error`] (how a failure becomes a reply); the rest serves them.

pub mod admin;
pub mod backoff;
pub mod cli;
pub mod condition;
pub mod config;
pub mod control;
pub mod dial;
pub mod drain;
pub mod edge;
pub mod error;
pub mod fields;
pub mod flag;
pub mod headers;
pub mod http1;
pub mod keys;
pub mod kubernetes;
pub mod message;
pub mod metrics;
pub mod open_files;
pub mod process;
pub mod ready;
pub mod retry;
pub mod switch;
pub mod telemetry;
pub mod tunnel;
