//! A turn of the driver: what it writes, and what is due as time passes.

use std::time::Instant;

use bytes::BytesMut;

use super::super::error::TunnelError;
use super::Connection;

/// Below this, the next streams get their turn to fill the out buffer.
pub(super) const LOW_WATER: usize = 64 * 1024;

impl Connection {
    /// What is to be written to the transport next.
    pub(crate) fn output(&mut self) -> &mut BytesMut {
        &mut self.out
    }

    /// The transport has taken `len` bytes off [`Self::output`].
    pub(crate) fn wrote(&mut self, len: usize, now: Instant) {
        self.written += len as u64;
        self.liveness.wrote(!self.out.is_empty(), now);
    }

    /// Lets the next streams append, if the out buffer has run low. Returns whether others still
    /// wait for their turn, so that the driver must come by again even if nothing wakes it.
    pub(crate) fn next_turn(&mut self) -> bool {
        if self.out.len() > LOW_WATER || self.closing.is_some() {
            return false;
        }
        self.turn += 1;
        self.wake_openers();
        self.call_queue();
        !self.queue.is_empty()
    }

    /// Whether the goodbye has left, and with it all that came before.
    pub(crate) fn is_closed(&self) -> bool {
        self.closing.is_some_and(|goodbye| goodbye.ends_at <= self.written)
    }

    /// The transport takes nothing for now.
    pub(crate) fn write_blocked(&mut self, now: Instant) {
        self.liveness.has_output(now);
    }

    /// When to call [`Self::check`] next, if nothing else happens.
    pub(crate) fn deadline(&self) -> Instant {
        let deadline = self.liveness.deadline(&self.limits);
        match self.peer {
            Some(_) => deadline,
            None => deadline.min(self.started_at + self.limits.handshake),
        }
        .min(self.closing.map_or(deadline, |goodbye| goodbye.said_at + self.limits.write_stall))
    }

    /// Does what is due at `now`. An error is the tunnel's end.
    pub(crate) fn check(&mut self, now: Instant) -> Result<(), TunnelError> {
        self.now = now;
        if self.peer.is_none() && now >= self.started_at + self.limits.handshake {
            return Err(TunnelError::Silent(self.limits.handshake));
        }
        if self.closing.is_some_and(|goodbye| now >= goodbye.said_at + self.limits.write_stall) {
            return Err(TunnelError::Closed);
        }
        if self.liveness.check(now, &self.limits)? {
            self.small_frames = 0;
            self.ping();
        }
        Ok(())
    }
}
