//! Edges behind a relay: how they come to be attached, and their sessions on the relay's connection.
//!
//! Such a session is like any other, but that the relay passes its own entries on instead, and
//! says for all its edges at once what they have applied.

use super::talk::{Opening, Talk};
use super::wire::Through;
use super::{Over, Rest, Session, line};
use crate::ledger::{AttachedSession, Ended};
use crate::relays::{Edge, RelaySide};
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;
use weir_protocol::frame::{FromControl, FromNode};
use weir_protocol::relay::Ticket;
use weir_protocol::unread::Unread;
use weir_rules::relay::{AppliedBehind, Link};
use weir_rules::tier::Tier;

/// Longest name of a relay, as of any node.
const LONGEST_NAME: usize = 64;

impl Session {
    /// A ticket to a relay, for the node of this session.
    pub(super) fn ticket(&self, relay: String) -> Result<(), Over> {
        let edge = Edge {
            caller: self.caller.clone(),
            name: self.name.clone(),
            tier: self.tier,
            instance: self.instance.clone(),
        };
        if relay.len() > LONGEST_NAME {
            return Err(Over::Misspoke("it named a relay by what is no name"));
        }
        let ticket = match self.tier {
            Tier::Edge => self.control.relay_tickets.give(self.id, &relay, edge, Instant::now()),
            Tier::Parent => Err("parents follow control directly".to_owned()),
        };
        self.mailbox.answer(FromControl::Ticket { relay, ticket });
        Ok(())
    }

    /// The side of this session that only relays have.
    fn relay_side(&self) -> Result<&RelaySide, Over> {
        self.relay.as_deref().ok_or(Over::Misspoke("it relays, and is no parent"))
    }

    /// An edge shows a ticket at the relay of this session.
    pub(super) fn link(&self, link: Link, ticket: &Ticket) -> Result<Option<Rest>, Over> {
        let side = self.relay_side()?;
        let (control, now) = (&self.control, Instant::now());
        let unlinked = |reason: &str| {
            tracing::debug!(relay = &*self.name, link, reason, "an edge was not attached");
            self.tell(side, &FromControl::Unlinked { link, reason: reason.to_owned() })
        };
        let Some((session, edge)) = control.relay_tickets.take(ticket, &self.name, now) else {
            return unlinked("control did not give this ticket to this relay, or not recently");
        };
        // Another process may be the writer, and know nothing of it.
        if !control.is_sure() {
            return unlinked("another process of control may be the writer");
        }
        let Some(lines) = side.begin(link, session) else {
            return Err(Over::Misspoke("it used the number of a link twice, or has too many"));
        };
        let Some(attached) = control.ledger.attach(session, &self.name, now) else {
            side.end(link);
            return unlinked("the edge has no connection to control any more");
        };
        side.moved(link, attached.session);
        let mut linked = Vec::new();
        line(&FromControl::Linked { link }, &mut linked)?;
        let through = Through::new(link, lines, side.out.clone());
        // From here on the edge has this session, which tells whatever becomes of it.
        tokio::spawn(attend(self.attached(edge, attached, through), self.name.clone(), linked));
        Ok(None)
    }

    /// Begins the session of an edge that is attached to this relay.
    fn attached(&self, edge: Edge, attached: AttachedSession, through: Through) -> Talk<Through> {
        let AttachedSession { session: id, ended, sites } = attached;
        let Edge { caller, name, tier, instance } = edge;
        tracing::info!(node = &*name, relay = %self.name, "node connected through a relay");
        self.control.events.attached(&name, &self.name);
        let node = (name, tier, instance);
        let mut session = Session::new(self.control.clone(), caller, node, id, false);
        if let Some(sites) = sites {
            session.supply(sites.to_vec());
        }
        let opening = Opening { welcome: Vec::new(), after: None, ended, relayed: None };
        Talk::new(session, through, opening)
    }

    /// The relay says that an edge is attached no more.
    pub(super) fn unlink(&self, link: Link) -> Result<(), Over> {
        self.relay_side()?.end(link);
        Ok(())
    }

    /// The relay passes a line of an edge on.
    pub(super) fn relayed(&self, link: Link, line: Unread) -> Result<Option<Rest>, Over> {
        let side = self.relay_side()?;
        let reason = match line.read::<FromNode>() {
            Ok(line) => match side.said(link, line) {
                true => return Ok(None),
                false => "nobody takes what it says".to_owned(),
            },
            Err(error) => {
                side.end(link);
                format!("a malformed line: {error}")
            }
        };
        self.tell(side, &FromControl::Unlinked { link, reason })
    }

    /// The relay says what its edges have applied.
    pub(super) fn applied_behind(&self, said: &AppliedBehind) -> Result<(), Over> {
        let told = self.relay_side()?.acknowledged(said);
        let moved = self.control.ledger.applied_behind(&told, Instant::now());
        let moved = moved.ok_or(Over::Misspoke("it acknowledged what was never sent"))?;
        for (name, seq) in moved {
            self.control.events.applied(&name, seq);
        }
        Ok(())
    }

    /// Tells the relay; waits where it reads slowly.
    fn tell(&self, side: &RelaySide, frame: &FromControl) -> Result<Option<Rest>, Over> {
        let mut out = Vec::new();
        line(frame, &mut out)?;
        Ok(match side.out.try_send(out) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => None,
            Err(mpsc::error::TrySendError::Full(out)) => {
                let relay = side.out.clone();
                Some(Box::pin(async move {
                    // Fails only when the connection ended.
                    let _ = relay.send(out).await;
                    Ok(())
                }))
            }
        })
    }
}

/// Attends an edge behind a relay until it is attached no more. The relay is told first that it is.
pub(super) fn attend(
    mut talk: Talk<Through>,
    relay: Arc<str>,
    linked: Vec<u8>,
) -> impl Future<Output = ()> + Send {
    let (link, out) = (talk.wire.link(), talk.wire.out());
    async move {
        // Before anything that its session says.
        let over = match out.send(linked).await {
            Ok(()) => (&mut talk).await,
            Err(_) => Over::Broke("the relay is gone".to_owned()),
        };
        let (control, name) = (talk.session.control.clone(), talk.session.name.clone());
        drop(talk);
        let reason = over.to_string();
        match over {
            // It goes on by another connection.
            Over::Ledger(Ended::Attached | Ended::Replaced) => {
                tracing::info!(node = &*name, %relay, "node left its relay: {reason}");
            }
            Over::Left | Over::Stopping => {
                tracing::info!(node = &*name, %relay, "node disconnected: {reason}");
                control.events.parted(&name, &reason);
            }
            _ => {
                tracing::warn!(node = &*name, %relay, "node disconnected: {reason}");
                control.events.parted(&name, &reason);
            }
        }
        let mut told = Vec::new();
        if line(&FromControl::Unlinked { link, reason }, &mut told).is_ok() {
            // Fails only when the relay's connection ended.
            let _ = out.send(told).await;
        }
    }
}
