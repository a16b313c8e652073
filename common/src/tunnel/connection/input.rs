//! What the transport brings: the frames of the peer.

use std::time::Instant;

use bytes::{Buf, Bytes};

use super::super::error::{ResetCode, StreamError, TunnelError};
use super::super::frame::{
    FrameHeader, HEADER_LEN, Kind, MAX_REASON, PREFACE, put_frame, put_reset,
};
use super::super::hello::{Hello, Notice};
use super::super::stream::Stream;
use super::super::window::Window;
use super::Connection;

/// PING, PONG, NOTICE, unknown and empty DATA frames that a peer may send per PING interval.
/// A correct peer needs a handful; none of them costs it anything else.
pub(crate) const MAX_SMALL_FRAMES: u32 = 1000;

/// Output that may pile up for a peer that does not read it, before the tunnel is given up. Only
/// answers to the peer's own frames can go beyond the room that streams have.
pub(crate) const MAX_OUT: usize = 4 * 1024 * 1024;

/// What the next byte of input belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reading {
    Preface,
    Header,
    /// A frame that is needed whole.
    Payload(FrameHeader),
    /// DATA is passed on as it comes; `len` is what is still missing.
    Data(FrameHeader),
    /// A payload that nobody wants.
    Skip(usize),
}

impl Connection {
    /// Takes in what the peer has sent. An error is the tunnel's end, and [`Connection::fail`] is
    /// due.
    pub(crate) fn receive(&mut self, mut input: Bytes, now: Instant) -> Result<(), TunnelError> {
        self.now = now;
        self.liveness.heard(now);
        if !self.partial.is_empty() && matches!(self.reading, Reading::Preface | Reading::Header) {
            self.partial.extend_from_slice(&input);
            input = std::mem::take(&mut self.partial).freeze();
        }
        while !input.is_empty() && self.end.is_none() {
            if !self.step(&mut input)? {
                self.partial.extend_from_slice(&input);
                break;
            }
        }
        match self.out.len() <= MAX_OUT {
            true => Ok(()),
            false => Err(TunnelError::Protocol("it sends much and reads little")),
        }
    }

    /// One step of reading; `false` if more input is needed for it.
    fn step(&mut self, input: &mut Bytes) -> Result<bool, TunnelError> {
        match self.reading {
            Reading::Preface => {
                let len = input.len().min(PREFACE.len() - 2);
                if input.get(..len) != PREFACE.get(..len) {
                    return Err(TunnelError::Version);
                }
                if input.len() < PREFACE.len() {
                    return Ok(false);
                }
                input.advance(PREFACE.len());
                self.reading = Reading::Header;
            }
            Reading::Header => {
                let Some(bytes) = input.first_chunk::<HEADER_LEN>() else { return Ok(false) };
                let header = FrameHeader::parse(*bytes)?;
                input.advance(HEADER_LEN);
                self.begin(header)?;
            }
            Reading::Payload(header) if self.partial.is_empty() && input.len() >= header.len => {
                self.reading = Reading::Header;
                self.frame(header, input.get(..header.len).unwrap_or_default())?;
                input.advance(header.len);
            }
            Reading::Payload(header) => {
                let missing = header.len - self.partial.len();
                self.partial.extend_from_slice(&input.split_to(missing.min(input.len())));
                if self.partial.len() == header.len {
                    self.reading = Reading::Header;
                    let payload = std::mem::take(&mut self.partial);
                    self.frame(header, &payload)?;
                }
            }
            Reading::Data(header) => self.data(header, input)?,
            Reading::Skip(len) => {
                let skipped = len.min(input.len());
                input.advance(skipped);
                self.reading = skip(len - skipped);
            }
        }
        Ok(true)
    }

    /// Decides how to read the payload that follows `header`.
    fn begin(&mut self, header: FrameHeader) -> Result<(), TunnelError> {
        if self.peer.is_none() && header.kind != Kind::Hello {
            return Err(TunnelError::Protocol("a frame before HELLO"));
        }
        let small = match header.kind {
            Kind::Data => header.len == 0 && !header.end,
            Kind::Notice | Kind::Ping | Kind::Pong | Kind::Unknown => true,
            _ => false,
        };
        if small {
            self.small_frames += 1;
            if self.small_frames > MAX_SMALL_FRAMES {
                return Err(TunnelError::Protocol("a flood of small frames"));
            }
        }
        self.reading = match header.kind {
            Kind::Unknown => skip(header.len),
            Kind::Data if header.len == 0 => {
                self.data(header, &mut Bytes::new())?;
                Reading::Header
            }
            Kind::Data => Reading::Data(header),
            _ if header.len == 0 => {
                self.frame(header, &[])?;
                Reading::Header
            }
            _ => Reading::Payload(header),
        };
        Ok(())
    }

    fn frame(&mut self, header: FrameHeader, payload: &[u8]) -> Result<(), TunnelError> {
        match header.kind {
            Kind::Hello => self.hello(payload),
            Kind::Notice => self.notice(payload),
            Kind::Head => self.head(header, Bytes::copy_from_slice(payload)),
            Kind::Trailers => self.trailers(header.stream, Bytes::copy_from_slice(payload)),
            Kind::Credit => self.credit(header.stream, number(payload)),
            Kind::Reset => {
                // The length was checked to be two bytes.
                self.reset_by_peer(header.stream, ResetCode::from_wire(number(payload) as u16));
                Ok(())
            }
            Kind::Ping => {
                put_frame(&mut self.out, Kind::Pong, 0, false, payload);
                Ok(())
            }
            Kind::Pong => {
                self.pong(number(payload));
                Ok(())
            }
            Kind::Close => {
                let reason = String::from_utf8_lossy(payload.get(..MAX_REASON).unwrap_or(payload));
                Err(TunnelError::ClosedByPeer(printable(&reason).into()))
            }
            Kind::Data | Kind::Unknown => Ok(()),
        }
    }

    fn hello(&mut self, payload: &[u8]) -> Result<(), TunnelError> {
        if self.peer.is_some() {
            return Err(TunnelError::Protocol("a second HELLO"));
        }
        let hello = Hello::parse(payload).ok_or(TunnelError::Protocol("a malformed HELLO"))?;
        self.peer_draining = hello.draining;
        self.peer = Some(hello);
        self.wake_openers();
        self.changed();
        Ok(())
    }

    fn notice(&mut self, payload: &[u8]) -> Result<(), TunnelError> {
        let notice = Notice::parse(payload).ok_or(TunnelError::Protocol("a malformed NOTICE"))?;
        if let Some(draining) = notice.draining {
            self.peer_draining = draining;
            self.openers.wake(usize::MAX);
        }
        if let Some(peer) = &mut self.peer {
            peer.update(notice);
        }
        self.changed();
        Ok(())
    }

    fn head(&mut self, header: FrameHeader, head: Bytes) -> Result<(), TunnelError> {
        let FrameHeader { stream: id, end, .. } = header;
        let known = self.streams.get_mut(&id);
        if self.side.opens(id) {
            // Without a stream, it is an answer to one that this side has given up.
            let Some(stream) = known.filter(|stream| stream.failure.is_none()) else {
                return Ok(());
            };
            // As another follows, it is informational, and may be left out (RFC 9110 §15.2).
            if stream.inbound.has_most_heads()
                && let Some(hint) = stream.inbound.pop_head()
            {
                self.buffered -= hint.len();
            }
        } else if let Some(stream) = known {
            if !stream.is_over() {
                return Err(TunnelError::Protocol("a second request on a stream"));
            }
            // The peer's ids have come round before the application let go of the old stream.
            stream.fail(StreamError::Reset(ResetCode::Cancelled));
            put_reset(&mut self.out, id, ResetCode::NotBegun);
            return Ok(());
        } else if self.peer_streams >= self.limits.max_streams || self.refuses_streams() {
            put_reset(&mut self.out, id, ResetCode::NotBegun);
            return Ok(());
        } else {
            self.accept(id);
        }
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        let len = head.len();
        stream.inbound.push_head(head)?;
        stream.inbound.ended |= end;
        self.arrived(id, len);
        Ok(())
    }

    fn accept(&mut self, id: u32) {
        let credit = self.peer.as_ref().map_or(0, |peer| peer.initial_credit as usize);
        let window = Window::new(self.limits.initial_credit, self.now);
        self.streams.insert(id, Stream::new(window, credit));
        self.peer_streams += 1;
        self.accepted.push_back(id);
        self.acceptor.wake();
    }

    fn data(&mut self, header: FrameHeader, input: &mut Bytes) -> Result<(), TunnelError> {
        let len = header.len.min(input.len());
        let left = header.len - len;
        self.reading = match left {
            0 => Reading::Header,
            len => Reading::Data(FrameHeader { len, ..header }),
        };
        let stream = self.streams.get_mut(&header.stream);
        let Some(stream) = stream.filter(|stream| stream.failure.is_none()) else {
            input.advance(len);
            return Ok(());
        };
        stream.inbound.push_data(input, len)?;
        stream.inbound.ended = header.end && left == 0;
        self.arrived(header.stream, len);
        Ok(())
    }

    fn trailers(&mut self, id: u32, trailers: Bytes) -> Result<(), TunnelError> {
        if let Some(stream) = self.streams.get_mut(&id).filter(|s| s.failure.is_none()) {
            let len = trailers.len();
            stream.inbound.push_trailers(trailers)?;
            self.arrived(id, len);
        }
        Ok(())
    }

    /// Counts what has just come on a stream. Over the memory cap, resets the stream that holds
    /// the most unread bytes.
    fn arrived(&mut self, id: u32, len: usize) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.discards {
            stream.inbound.clear();
            return;
        }
        self.buffered += len;
        stream.reader.wake();
        if self.buffered > self.limits.memory {
            let largest = self.streams.iter().max_by_key(|(_, stream)| stream.inbound.len());
            if let Some((&id, _)) = largest {
                self.overload(id);
            }
        }
    }

    /// Resets a stream that holds too much; what it holds is dropped, even if it came whole.
    fn overload(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        self.buffered -= stream.inbound.abandon();
        stream.fail(StreamError::Reset(ResetCode::Overloaded));
        put_reset(&mut self.out, id, ResetCode::Overloaded);
    }

    fn credit(&mut self, id: u32, amount: u64) -> Result<(), TunnelError> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        stream.credit += amount as usize;
        if stream.credit > u32::MAX as usize {
            return Err(TunnelError::Protocol("an impossible amount of credit"));
        }
        stream.writer.wake();
        Ok(())
    }

    fn reset_by_peer(&mut self, id: u32, code: ResetCode) {
        let ours = self.side.opens(id);
        let Some(stream) = self.streams.get_mut(&id) else { return };
        match ours {
            // The beginning of an answer says that the request was acted on.
            true => stream.break_off(StreamError::Reset(code)),
            // Nobody waits for an answer to the request.
            false => self.buffered -= stream.fail(StreamError::Reset(code)),
        }
    }

    fn pong(&mut self, nonce: u64) {
        self.liveness.pong(nonce, self.now);
        self.advance_drain(Some(nonce));
    }
}

fn skip(len: usize) -> Reading {
    match len {
        0 => Reading::Header,
        len => Reading::Skip(len),
    }
}

/// A big-endian number of up to eight bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// A text of the peer's for the log: one line, no control characters.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
