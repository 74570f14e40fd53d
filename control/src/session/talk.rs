//! The talk with a node, from its welcome to its end: one future, which hears, speaks and keeps the time.
//!
//! The connection, the session's mailbox and one timer wake it. It takes what came, and says in one write
//! what there is to say. While it waits it keeps no frame and no buffer: thousands of nodes have room for
//! what is in it.

use super::wire::Wire;
use super::{Over, Rest, Session, line};
use crate::ledger::Ended;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Sleep, sleep_until};
use weir_rules::invalidation::Seq;

/// Entries asked of the ledger at once, and bytes written at once.
const ENTRIES: usize = 256;
const BATCH: usize = 256 << 10;

/// The part of the time from one heartbeat to the next, the last of so many, in which it goes along with
/// what is said anyway.
const EARLY: u32 = 4;

/// Frames taken before others have their turn.
const FRAMES: usize = 64;

/// What a talk begins with.
pub(super) struct Opening {
    /// The welcome, as it is sent.
    pub(super) welcome: Vec<u8>,
    /// The seq that it is to; `None` where a relay passes its own entries on.
    pub(super) after: Option<Seq>,
    /// Turns to the reason when the session is over.
    pub(super) ended: oneshot::Receiver<Ended>,
    /// Lines for edges behind the node, if it is a parent.
    pub(super) relayed: Option<mpsc::Receiver<Vec<u8>>>,
}

/// See the module. Resolves to why it ended.
pub(super) struct Talk<W> {
    pub(super) session: Session,
    pub(super) wire: W,
    ended: oneshot::Receiver<Ended>,
    relayed: Option<mpsc::Receiver<Vec<u8>>>,
    /// Up to where entries were sent; `None` where a relay passes its own on.
    sent: Option<Seq>,
    /// There may be entries after that.
    more: bool,
    /// What is left to be done of the last frame: the node is not listened to meanwhile.
    rest: Option<Rest>,
    /// When the node was heard, or was last not listened to.
    heard: Instant,
    /// The node is not listened to.
    is_deaf: bool,
    /// What is being said, and how much of that was taken.
    out: Vec<u8>,
    taken: usize,
    is_flushed: bool,
    /// Since when the node takes nothing of it.
    blocked: Option<Instant>,
    /// When the next heartbeat is due, and how long after the one before.
    beat: Instant,
    every: Duration,
    alarm: Pin<Box<Sleep>>,
}

impl<W: Wire> Talk<W> {
    pub(super) fn new(session: Session, wire: W, opening: Opening) -> Self {
        let Opening { welcome, after, ended, relayed } = opening;
        let (now, every) = (Instant::now(), session.beat());
        let beat = now + every;
        Self {
            session,
            wire,
            ended,
            relayed,
            sent: after,
            more: after.is_some(),
            rest: None,
            heard: now,
            is_deaf: false,
            out: welcome,
            taken: 0,
            is_flushed: true,
            blocked: None,
            beat,
            every,
            alarm: Box::pin(sleep_until(beat)),
        }
    }

    /// Does what there is to do.
    fn turn(&mut self, context: &mut Context<'_>) -> Result<(), Over> {
        self.look(context)?;
        // First what the node says: it may leave, and take nothing any more.
        self.hear(context)?;
        self.speak(context)?;
        self.keep_time(context)?;
        if self.is_deaf && self.rest.is_none() && !self.session.mailbox.is_full() {
            context.waker().wake_by_ref();
        }
        Ok(())
    }

    /// Whether it is over, and what is new.
    fn look(&mut self, context: &mut Context<'_>) -> Result<(), Over> {
        if let Poll::Ready(ended) = Pin::new(&mut self.ended).poll(context) {
            // An error says that the ledger is gone, which ends control as well.
            return Err(ended.map_or(Over::Stopping, Over::Ledger));
        }
        let news = self.session.mailbox.look(context);
        if news.stops {
            return Err(Over::Stopping);
        }
        self.more |= news.moved && self.sent.is_some();
        Ok(())
    }

    /// Takes what the node says.
    fn hear(&mut self, context: &mut Context<'_>) -> Result<(), Over> {
        for _ in 0..FRAMES {
            if let Some(rest) = &mut self.rest {
                self.is_deaf = true;
                match rest.as_mut().poll(context) {
                    Poll::Pending => return Ok(()),
                    Poll::Ready(done) => done?,
                }
                self.rest = None;
            }
            // A node that does not take its answers cannot ask for more.
            if self.session.mailbox.is_full() {
                self.is_deaf = true;
                return Ok(());
            }
            if std::mem::take(&mut self.is_deaf) {
                self.heard = Instant::now();
            }
            match self.wire.poll_hear(context) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(Some(frame))) => {
                    self.heard = Instant::now();
                    self.rest = self.session.take(frame)?;
                }
                Poll::Ready(Ok(None)) => return Err(Over::Closed),
                Poll::Ready(Err(error)) => return Err(Over::Broke(error)),
            }
        }
        context.waker().wake_by_ref();
        Ok(())
    }

    /// Says what there is to say, as far as the node takes it.
    fn speak(&mut self, context: &mut Context<'_>) -> Result<(), Over> {
        while self.flow(context)? && self.gather(context)? {}
        Ok(())
    }

    /// Sends what is being said; whether all of it was taken.
    fn flow(&mut self, context: &mut Context<'_>) -> Result<bool, Over> {
        let broke = |error: std::io::Error| Over::Broke(error.to_string());
        while self.taken < self.out.len() {
            match self.wire.poll_speak(context, &self.out[self.taken..]) {
                Poll::Ready(Ok(0)) => return Err(Over::Closed),
                Poll::Ready(Ok(taken)) => {
                    self.taken += taken;
                    self.is_flushed = false;
                    self.blocked = None;
                }
                Poll::Ready(Err(error)) => return Err(broke(error)),
                Poll::Pending => {
                    self.blocked.get_or_insert_with(Instant::now);
                    return Ok(false);
                }
            }
        }
        if !self.is_flushed {
            match self.wire.poll_flush(context) {
                Poll::Ready(flushed) => flushed.map_err(broke)?,
                Poll::Pending => {
                    self.blocked.get_or_insert_with(Instant::now);
                    return Ok(false);
                }
            }
            self.is_flushed = true;
        }
        self.blocked = None;
        Ok(true)
    }

    /// Gathers what is to be said next; whether there is anything. A long backlog holds up nothing else: a
    /// node keeps its lease by heartbeats.
    fn gather(&mut self, context: &mut Context<'_>) -> Result<bool, Over> {
        self.out.clear();
        self.taken = 0;
        let letters = self.session.mailbox.take();
        for asked in letters.questions {
            if let Some(question) = self.session.awaited.number(asked) {
                line(&question, &mut self.out)?;
            }
        }
        letters.answers.iter().try_for_each(|answer| line(answer, &mut self.out))?;
        if std::mem::take(&mut self.more) {
            self.gather_entries()?;
        }
        if let Some(relayed) = &mut self.relayed {
            while self.out.len() < BATCH
                && let Poll::Ready(Some(lines)) = relayed.poll_recv(context)
            {
                self.out.extend_from_slice(&lines);
            }
        }
        self.gather_heartbeat()?;
        if self.out.is_empty() {
            // What waits needs no buffer.
            self.out = Vec::new();
        }
        Ok(!self.out.is_empty())
    }

    /// Adds a heartbeat that is due, or soon will be where something is said anyway: then both take one
    /// write, and what the node answers another one.
    fn gather_heartbeat(&mut self) -> Result<(), Over> {
        let now = Instant::now();
        let early = if self.out.is_empty() { Duration::ZERO } else { self.every / EARLY };
        if self.beat <= now + early {
            let beat = self.session.heartbeat()?;
            line(&beat, &mut self.out)?;
            self.every = self.session.beat();
            self.beat = now + self.every;
        }
        Ok(())
    }

    /// Adds the entries that follow, up to a batch.
    fn gather_entries(&mut self) -> Result<(), Over> {
        let Some(sent) = &mut self.sent else { return Ok(()) };
        let entries = self.session.control.ledger.after(*sent, ENTRIES);
        let entries = entries.map_err(|gone| Over::Outrun(gone.up_to))?;
        self.more = entries.len() == ENTRIES;
        for listed in &entries {
            self.out.extend_from_slice(&listed.lines());
            *sent = listed.seq();
            if self.out.len() >= BATCH {
                self.more = true;
                break;
            }
        }
        Ok(())
    }

    /// Says heartbeats when they are due, and ends a talk with a node that is silent, or takes nothing.
    fn keep_time(&mut self, context: &mut Context<'_>) -> Result<(), Over> {
        loop {
            let due = self.due();
            if due != self.alarm.deadline() || self.alarm.is_elapsed() {
                self.alarm.as_mut().reset(due);
            }
            if self.alarm.as_mut().poll(context).is_pending() {
                return Ok(());
            }
            let (now, lease) = (Instant::now(), self.session.lease);
            let is_over = |since: Instant| now.saturating_duration_since(since) >= lease;
            if self.blocked.is_some_and(is_over) || !self.is_deaf && is_over(self.heard) {
                return Err(Over::Silent(lease));
            }
            self.speak(context)?;
        }
    }

    /// When it is to be looked at the time.
    fn due(&self) -> Instant {
        let lease = self.session.lease;
        let next = self.blocked.map_or(self.beat, |since| since + lease);
        if self.is_deaf { next } else { next.min(self.heard + lease) }
    }
}

impl<W: Wire> Future for Talk<W> {
    type Output = Over;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Over> {
        match self.get_mut().turn(context) {
            Ok(()) => Poll::Pending,
            Err(over) => Poll::Ready(over),
        }
    }
}
