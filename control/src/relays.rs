//! The tickets by which edges that control has let in come to be attached to relays, and the edges
//! that are attached to one.

use crate::auth::Caller;
use crate::ledger::SessionId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use weir_protocol::frame::FromNode;
use weir_protocol::relay::Ticket;
use weir_protocol::secret::BYTES;
use weir_rules::relay::{AppliedBehind, Attached, Link};
use weir_rules::tier::{Tier, is_key};

/// How long a ticket is good for.
const TICKET: Duration = Duration::from_secs(10);

/// Edges attached to one relay, at most; the relay's own bound is `control.relay_edges`.
const MOST_LINKS: usize = 100_000;

/// Lines of an edge behind a relay that wait to be taken.
pub(crate) const LINES: usize = 64;

/// Digits of a session's number in a ticket.
const NUMBER: usize = 16;

/// Who is to be attached: as its session has it that was let in.
#[derive(Clone)]
pub(crate) struct Edge {
    pub(crate) caller: Caller,
    pub(crate) name: Arc<str>,
    pub(crate) tier: Tier,
    pub(crate) instance: String,
}

/// A ticket that was given.
struct Given {
    ticket: Ticket,
    relay: String,
    edge: Edge,
    at: Instant,
}

/// The tickets that are not used yet: one a session, gone with it.
#[derive(Default)]
pub(crate) struct Tickets(Mutex<HashMap<SessionId, Given>>);

impl Tickets {
    /// A ticket for the edge of `session`, to the relay of this name. One that it got before is
    /// void.
    ///
    /// # Errors
    /// In words: the system has no random bytes.
    pub(crate) fn give(
        &self,
        session: SessionId,
        relay: &str,
        edge: Edge,
        now: Instant,
    ) -> Result<Ticket, String> {
        let mut bytes = [0; BYTES];
        let (number, random) = bytes.split_at_mut(NUMBER / 2);
        number.copy_from_slice(&session.number().to_be_bytes());
        getrandom::fill(random)
            .map_err(|error| format!("the system returned no random bytes: {error}"))?;
        let ticket = Ticket::new(&bytes);
        let given = Given { ticket: ticket.clone(), relay: relay.to_owned(), edge, at: now };
        self.lock().insert(session, given);
        Ok(ticket)
    }

    /// Takes the ticket that the relay of this name shows: whose it is, and the session that it has.
    /// `None` where it was not given to that relay, or is used, or too old.
    pub(crate) fn take(
        &self,
        ticket: &Ticket,
        relay: &str,
        now: Instant,
    ) -> Option<(SessionId, Edge)> {
        let number = u64::from_str_radix(ticket.reveal().get(..NUMBER)?, 16).ok()?;
        let session = SessionId::of(number);
        let mut tickets = self.lock();
        let given = tickets.get(&session)?;
        let is_good = is_key(given.ticket.reveal(), ticket.reveal().as_bytes())
            && given.relay == relay
            && now.saturating_duration_since(given.at) <= TICKET;
        if !is_good {
            return None;
        }
        tickets.remove(&session).map(|given| (session, given.edge))
    }

    /// The session ended.
    pub(crate) fn end(&self, session: SessionId) {
        self.lock().remove(&session);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Given>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An edge that is attached.
struct AttachedEdge {
    session: SessionId,
    lines: mpsc::Sender<Box<FromNode>>,
}

/// What the connection of a relay has beside that of any node.
pub(crate) struct RelaySide {
    edges: Mutex<Attached<AttachedEdge>>,
    /// Lines for the relay, as they are sent.
    pub(crate) out: mpsc::Sender<Vec<u8>>,
}

impl RelaySide {
    /// That of a relay to which `out` leads.
    pub(crate) fn new(out: mpsc::Sender<Vec<u8>>) -> Self {
        Self { edges: Mutex::default(), out }
    }

    /// An edge is attached: its lines. `None` where the relay used the number before, or has too many.
    pub(crate) fn begin(
        &self,
        link: Link,
        session: SessionId,
    ) -> Option<mpsc::Receiver<Box<FromNode>>> {
        let mut edges = self.lock();
        let (lines, taken) = mpsc::channel(LINES);
        let has_room = edges.len() < MOST_LINKS;
        (has_room && edges.begin(link, AttachedEdge { session, lines })).then_some(taken)
    }

    /// The session of an edge that is being attached is this from now on.
    pub(crate) fn moved(&self, link: Link, session: SessionId) {
        if let Some(edge) = self.lock().get_mut(link) {
            edge.session = session;
        }
    }

    /// An edge is attached no more: its session sees the end of its lines.
    pub(crate) fn end(&self, link: Link) {
        self.lock().end(link);
    }

    /// An edge said something; `false` where nobody takes it, or too much waits: then the edge is
    /// not attached any more.
    pub(crate) fn said(&self, link: Link, line: FromNode) -> bool {
        let mut edges = self.lock();
        let taken = edges.get(link).is_some_and(|edge| edge.lines.try_send(Box::new(line)).is_ok());
        if !taken {
            edges.end(link);
        }
        taken
    }

    /// The sessions of the edges of which the relay says how far they are, and that.
    pub(crate) fn acknowledged(&self, said: &AppliedBehind) -> Vec<(SessionId, u64)> {
        let edges = self.lock();
        let told = edges.acknowledged(said).into_iter();
        told.map(|(edge, seq)| (edge.session, seq)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Attached<AttachedEdge>> {
        self.edges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_good_once_at_one_relay_for_a_while_and_while_its_session_lasts() {
        let tickets = Tickets::default();
        let now = Instant::now();
        let edge = |name: &str| Edge {
            caller: Caller::Local,
            name: name.into(),
            tier: Tier::Edge,
            instance: "1".to_owned(),
        };
        let (one, two) = (SessionId::of(1), SessionId::of(u64::MAX));
        let give = |session, name| tickets.give(session, "p", edge(name), now).unwrap();
        let take = |ticket: &Ticket, relay, at| {
            tickets.take(ticket, relay, at).map(|(session, edge)| (session, edge.name))
        };
        let void = give(one, "a");
        let (first, second) = (give(one, "a"), give(two, "b"));
        assert_ne!(void, first);
        assert_eq!(take(&void, "p", now), None, "another one was given");
        assert_eq!(take(&first, "q", now), None, "to another relay");
        assert_eq!(take(&first, "p", now + TICKET), Some((one, "a".into())));
        assert_eq!(take(&first, "p", now), None, "once");
        let late = now + TICKET + Duration::from_millis(1);
        assert_eq!(take(&second, "p", late), None);
        tickets.end(two);
        assert_eq!(take(&second, "p", now), None);
        assert_eq!(take(&Ticket::new(&[0xff; BYTES]), "p", now), None);
    }

    #[test]
    fn an_edge_whose_lines_nobody_takes_is_attached_no_more() {
        let (out, _lines) = mpsc::channel(1);
        let side = RelaySide::new(out);
        let mut taken = side.begin(1, SessionId::of(7)).unwrap();
        let other = side.begin(2, SessionId::of(8)).unwrap();
        assert!(side.begin(2, SessionId::of(9)).is_none(), "a number that was used");
        let said = AppliedBehind { all: Some(5), links: vec![(2, 3), (9, 9)] };
        let told = side.acknowledged(&said);
        assert_eq!(told, [(SessionId::of(7), 5), (SessionId::of(8), 3)]);
        for _ in 0..LINES {
            assert!(side.said(1, FromNode::Leave));
        }
        assert!(!side.said(1, FromNode::Leave) && !side.said(1, FromNode::Leave));
        assert_eq!(taken.try_recv().map(|line| *line), Ok(FromNode::Leave));
        drop(other);
        assert!(!side.said(2, FromNode::Leave) && !side.said(3, FromNode::Leave));
        assert_eq!(side.acknowledged(&said), []);
    }
}
