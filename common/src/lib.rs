//! What both ends of the bridge share.
//!
//! Start with [`config`] (which routes exist), [`tunnel`] (how requests cross) and [`error`] (how
//! a failure becomes a reply); the rest serves them.

pub mod condition;
pub mod config;
pub mod drain;
pub mod error;
pub mod keys;
pub mod tunnel;
