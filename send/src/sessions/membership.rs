//! Who belongs to the set of sessions: how one joins, changes and leaves, and who is told.

use std::collections::BTreeSet;
use std::rc::Rc;

use tunnel_common::tunnel::{Hello, Incoming, Notice, ResetCode, Session, Side, TunnelError};

use super::Sessions;
use super::member::{Member, admit, displace, is_sibling};

impl Sessions {
    /// Keeps the session's place in the set up to date, and serves what a sibling sends, until the
    /// session ends. It was dialled by the other end if `side` is that of send.
    pub(super) async fn follow(self: Rc<Self>, session: Session, side: Side) {
        let mut seen = 0;
        loop {
            tokio::select! {
                now = session.changed(seen) => seen = now,
                incoming = session.accept() => if let Ok(incoming) = incoming {
                    self.accept(&session, incoming);
                    continue;
                },
            }
            if let Some(end) = session.end() {
                self.ended(&session, &end);
                return;
            }
            if let Some(hello) = session.hello() {
                self.update(&session, side, hello);
            }
        }
    }

    /// Only siblings send requests this way.
    fn accept(self: &Rc<Self>, session: &Session, incoming: Incoming) {
        match is_sibling(session.peer()) {
            true => self.relays.spawn(Rc::clone(self).relay(incoming)),
            false => incoming.reply.reset(ResetCode::NotBegun),
        }
    }

    fn ended(&self, session: &Session, end: &TunnelError) {
        let was_up = self.remove(session);
        let (peer, reason) = (session.peer(), end);
        if !was_up {
            // Whoever dialled says so, and once; or it was one too many.
            tracing::debug!(%peer, %reason, "a tunnel did not come up");
        } else if is_sibling(peer) {
            tracing::info!(%peer, %reason, "sibling left");
        } else {
            tracing::info!(%peer, %reason, "tunnel ended");
        }
    }

    fn update(&self, session: &Session, side: Side, hello: Hello) {
        let mut members = self.members.borrow_mut();
        let member = Member::new(session.clone(), hello);
        match members.iter_mut().find(|known| known.session == *session) {
            Some(known) => *known = member,
            // Its end has not decided yet whether to keep it, or it was told to leave.
            None if member.hello().draining || !session.is_open() => return,
            None => {
                if let Err(reason) = self.welcome(&member) {
                    session.close(&reason);
                    return;
                }
                // Only who dials numbers its sessions.
                if side == Side::Send {
                    displace(&mut members, member.hello());
                }
                members.push(member);
            }
        }
        drop(members);
        self.recount();
    }

    /// Whether a session may join the set.
    fn welcome(&self, member: &Member) -> Result<(), String> {
        let (peer, hello) = (member.session.peer(), member.hello());
        if hello.instance == self.hello.borrow().instance {
            return Err("this is the process itself".to_owned());
        }
        if let Err(reason) = admit(peer, hello) {
            tracing::warn!(%peer, reason, "tunnel refused");
            return Err(reason);
        }
        let (instance, software) = (&hello.instance, &hello.software);
        if member.is_sibling() {
            tracing::info!(%peer, instance, software, "sibling is there");
        } else {
            self.metrics.sessions_begun.inc();
            tracing::info!(%peer, instance, software, "tunnel is up");
        }
        Ok(())
    }

    /// Returns whether it was there.
    fn remove(&self, session: &Session) -> bool {
        let before = self.members.borrow().len();
        self.members.borrow_mut().retain(|member| member.session != *session);
        self.recount();
        self.members.borrow().len() < before
    }

    /// Tells everyone of what has changed about the set.
    fn recount(&self) {
        let members = self.members.borrow();
        let (siblings, tunnels): (Vec<_>, Vec<_>) = members.iter().partition(|m| m.is_sibling());
        self.metrics.sessions.set(tunnels.len() as i64);
        let siblings: BTreeSet<_> = siblings.iter().map(|m| m.hello().instance.clone()).collect();
        let names = tunnels.iter().map(|m| m.cluster().to_owned());
        self.clusters.send_replace(names.filter(|name| !name.is_empty()).collect());
        // What a sibling may send goes through tunnels that still take requests.
        let open = tunnels.iter().filter(|m| m.session.is_open());
        let clusters: BTreeSet<_> = open.map(|m| m.cluster().to_owned()).collect();
        drop(members);
        self.metrics.siblings.set(siblings.len() as i64);
        let notice = Notice {
            siblings: Some(siblings.into_iter().collect()),
            clusters: Some(clusters.into_iter().collect()),
            ..Notice::default()
        };
        let mut hello = self.hello.borrow_mut();
        let known = (Some(&hello.siblings), Some(&hello.clusters));
        if known != (notice.siblings.as_ref(), notice.clusters.as_ref()) {
            hello.update(notice.clone());
            drop(hello);
            self.tell(&notice);
        }
        self.has_changed();
    }
}
