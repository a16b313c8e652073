//! The `ssh` transport with software of others, with hostile peers, and when connections are lost.

mod audit;
mod clients;
mod flood;
mod loss;
mod pair;
mod python;
mod refused;
mod rekey;
mod trust;
