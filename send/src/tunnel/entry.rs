//! The entry to a tunnel that others carry: a port that some `sshd` forwards to `tunnel-receive`.
