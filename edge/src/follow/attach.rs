//! How an edge comes to be attached to a relay: while it follows control directly it asks one of its
//! parents, gets a ticket to that from control, and shows it there ([`weir_protocol::relay`]).

use super::back::Back;
use super::dial::{RemotePlace, Undialled, Upgraded};
use super::follower::{Following, Pauses};
use crate::error::StartError;
use http::{HeaderName, HeaderValue};
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::time::{Duration, Instant};
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use weir_config::Config;
use weir_protocol::frame::FromNode;
use weir_protocol::lines::{Lines, write_line};
use weir_protocol::relay::{FromRelay, PROTOCOL, Ticket, ToRelay};
use weir_rules::invalidation::Seq;
use weir_rules::tier;
use weir_rules::time::Time;

/// How long one step may take.
const STEP: Duration = Duration::from_secs(10);

/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Control's answer to [`FromNode::Attach`].
pub(super) type TicketAnswer = (String, Result<Ticket, String>);

/// What an edge needs of its connection to control to be attached to a relay.
pub(super) struct Tickets {
    /// Where it is asked for a ticket.
    pub(super) asked: mpsc::Sender<FromNode>,
    /// Its answers.
    pub(super) given: mpsc::Receiver<TicketAnswer>,
    /// The seq up to which everything holds.
    pub(super) acked: watch::Receiver<Seq>,
    /// The seq from which on the edge has what was promised in its name: no parent is asked before.
    pub(super) due: Seq,
}

/// The edge is attached.
pub(super) struct Linked {
    /// The relay's name.
    pub(super) relay: String,
    pub(super) lines: Lines<ReadHalf<Upgraded>>,
    pub(super) write: WriteHalf<Upgraded>,
    /// When the edge showed its ticket: control has heard that.
    pub(super) shown_at: Time,
}

/// The parents to which an edge may be attached.
pub(super) struct Attachment {
    places: Vec<RemotePlace>,
    /// Which of them is asked next; the one that the node is attached to, while it is.
    next: usize,
    /// The way back to a nearer one.
    back: Back,
    pauses: Pauses,
    /// A relay was lost: there is a pause before the next one is asked.
    rests: bool,
    /// Why the last try failed, as operators were told.
    said: Option<String>,
}

impl Attachment {
    /// To the parents of `config`: those of the node's own region first, and of two nodes not the same
    /// one, so that parents have about as many edges each.
    ///
    /// # Errors
    /// What is wrong with the URL of a parent.
    pub(super) fn new(config: &Config) -> Result<Self, StartError> {
        let weir_config::Parents { urls, ca, .. } = &config.parents;
        let node = &config.node;
        let mut parents: Vec<_> = urls.iter().collect();
        parents.sort_by_cached_key(|parent| {
            // Any function that spreads will do, also another one in the next version.
            let mut hasher = DefaultHasher::new();
            (&node.name, parent.url.to_string()).hash(&mut hasher);
            (parent.region != node.region, hasher.finish())
        });
        let place = |parent: &&weir_config::Parent| {
            RemotePlace::new(&parent.url, ca.as_deref(), ["parents.urls", "parents.ca"])
        };
        let places = parents.iter().map(place).collect::<Result<_, _>>()?;
        let back = Back::default();
        let pauses = Pauses::new(LONGEST_PAUSE);
        Ok(Self { places, next: 0, back, pauses, rests: false, said: None })
    }

    /// The relay was lost, after so long.
    pub(super) fn lost(&mut self, after: Duration) {
        self.turn();
        self.rests = true;
        if after > LONGEST_PAUSE {
            self.pauses.restart();
        }
    }

    /// While the node is attached to a relay: until a nearer one has been well for so long that the node
    /// goes back to it. From then on no purge by method is taken before the node is at control again.
    pub(super) async fn nearer(&mut self, following: &Following) {
        let wait = self.back.wait(following.patience);
        let mut well_since = vec![None; self.next];
        // There is none before the first.
        while self.next > 0 {
            tokio::time::sleep(self.back.pause(following.patience)).await;
            for (place, since) in self.places.iter().zip(&mut well_since) {
                *since = match is_well(following, place).await {
                    true => since.or_else(|| Some(Instant::now())),
                    false => None,
                };
            }
            let is_due = |since: &Option<Instant>| since.is_some_and(|at| at.elapsed() >= wait);
            let due = well_since.iter().position(is_due);
            if let Some(nearer) = due.filter(|_| following.calls.close_if_idle()) {
                self.next = nearer;
                self.back.begins(nearer);
                return;
            }
        }
        std::future::pending().await
    }

    /// Another one is asked first.
    fn turn(&mut self) {
        self.next = (self.next + 1) % self.places.len().max(1);
    }

    /// Until the node is attached to one of them.
    pub(super) async fn attach(&mut self, following: &Following, mut control: Tickets) -> Linked {
        let due = control.due;
        // The first acknowledgement: before it nothing of this membership is durable.
        let ready = async {
            control.acked.changed().await?;
            control.acked.wait_for(|seq| *seq >= due).await.map(drop)
        };
        if ready.await.is_err() {
            // The connection ends.
            return std::future::pending().await;
        }
        if std::mem::take(&mut self.rests) {
            tokio::time::sleep(self.pauses.next()).await;
        }
        loop {
            let Some(place) = self.places.get(self.next) else {
                return std::future::pending().await;
            };
            let tried = attach_to(following, place, &mut control).await;
            following.shown.send_replace(false);
            match tried {
                Ok(linked) => {
                    self.said = None;
                    self.back.attached(self.next);
                    return linked;
                }
                Err(reason) => {
                    let relay = place.url();
                    if self.said.as_ref() == Some(&reason) {
                        tracing::debug!(%relay, %reason, "still not attached to a relay");
                    } else {
                        tracing::warn!(
                            %relay, %reason,
                            "not attached to a relay; following control directly meanwhile"
                        );
                    }
                    self.said = Some(reason);
                }
            }
            self.turn();
            tokio::time::sleep(self.pauses.next()).await;
        }
    }
}

/// Whether the relay at `place` would take the node now, as far as it can say without a ticket.
async fn is_well(following: &Following, place: &RemotePlace) -> bool {
    let Some(fields) = claim(following) else { return false };
    let Ok(Ok(stream)) = timeout(STEP, place.dial(PROTOCOL, &fields)).await else { return false };
    let (read, _write) = tokio::io::split(stream);
    matches!(hear(&mut Lines::new(read)).await, Ok(FromRelay::Greeting { .. }))
}

/// Attaches the node to the relay at `place`; in words why that failed.
async fn attach_to(
    following: &Following,
    place: &RemotePlace,
    control: &mut Tickets,
) -> Result<Linked, String> {
    let fields = claim(following).ok_or("the node has not caught up with the log")?;
    let dialled = timeout(STEP, place.dial(PROTOCOL, &fields)).await;
    let stream = match dialled.map_err(|_| "it does not answer".to_owned())? {
        Ok(stream) => stream,
        Err(Undialled::Refused(reason) | Undialled::Unreachable(reason)) => return Err(reason),
    };
    let (read, mut write) = tokio::io::split(stream);
    let mut lines = Lines::new(read);
    let relay = match hear(&mut lines).await? {
        FromRelay::Greeting { name } => name,
        FromRelay::Refused { reason } => return Err(reason),
        FromRelay::Linked => return Err("it attached the node unasked".to_owned()),
    };
    if !following.calls.are_idle() {
        // Their answers come over the connection to control.
        return Err("purges by method are under way".to_owned());
    }
    let asked = FromNode::Attach { relay: relay.clone() };
    control.asked.send(asked).await.map_err(|_| "the connection to control ended".to_owned())?;
    let ticket = loop {
        match timeout(STEP, control.given.recv()).await {
            Ok(Some((of, ticket))) if of == relay => break ticket?,
            // Of an earlier try.
            Ok(Some(_)) => {}
            Ok(None) => return Err("the connection to control ended".to_owned()),
            Err(_) => return Err("control gives no ticket; is it of an older version?".to_owned()),
        }
    };
    let shown_at = following.state.now();
    // What is durable: the relay counts it as acknowledged. What came after it comes again.
    let after = *control.acked.borrow();
    let mut out = Vec::new();
    write_line(&mut out, &ToRelay::Ticket { ticket, after }).map_err(|error| error.to_string())?;
    following.shown.send_replace(true);
    let sent = async {
        write.write_all(&out).await?;
        write.flush().await
    };
    let sent = timeout(STEP, sent).await.map_err(|_| "it takes nothing".to_owned())?;
    sent.map_err(|error| format!("the connection broke: {error}"))?;
    match hear(&mut lines).await? {
        FromRelay::Linked => Ok(Linked { relay, lines, write, shown_at }),
        FromRelay::Refused { reason } => Err(reason),
        FromRelay::Greeting { .. } => Err("it greets twice".to_owned()),
    }
}

/// By what a parent knows that a node asks, and where that stands in the log.
fn claim(following: &Following) -> Option<[(HeaderName, HeaderValue); 2]> {
    let purges = &following.state.purges;
    let (asking, standing) = (purges.asking()?, purges.standing());
    let mut key = HeaderValue::from_str(standing.tier_key.as_deref()?).ok()?;
    key.set_sensitive(true);
    let seq = HeaderValue::from_str(&asking.claim().to_string()).ok()?;
    Some([(HeaderName::from_static(tier::KEY), key), (HeaderName::from_static(tier::SEQ), seq)])
}

/// The relay's next line.
async fn hear(lines: &mut Lines<ReadHalf<Upgraded>>) -> Result<FromRelay, String> {
    match timeout(STEP, lines.next()).await {
        Ok(Ok(Some(line))) => Ok(line),
        Ok(Ok(None)) => Err("it ended the connection".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it says nothing".to_owned()),
    }
}
