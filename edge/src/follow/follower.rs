//! The task that keeps a node connected to control.

use super::apply::Applier;
use super::attach::Attachment;
use super::calls::Calls;
use super::dial::{Dial, Undialled};
use super::session::{End, converse, converse_through};
use crate::error::StartError;
use crate::metrics;
use crate::standing::{FollowStatus, Link};
use crate::state::NodeState;
use crate::warm::Warmer;
use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use weir_config::{Site, Via};
use weir_protocol::frame::{Hello, LONGEST_SITES, SiteHosts, Welcomed};
use weir_protocol::secret::NodeSecret;
use weir_protocol::stats::{SiteStats, Stats};
use weir_rules::identity::MOST_PROCESSES;
use weir_rules::lease::Spoken;
use weir_rules::tier::Tier;

/// The shortest pause before a connection is tried again.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// How long a node that leaves waits for control to be told.
const GOODBYE: Duration = Duration::from_secs(2);

/// What a node that follows control does with what it says.
pub(crate) struct Following {
    pub(super) state: Arc<NodeState>,
    pub(super) applier: Applier,
    pub(super) calls: Arc<Calls>,
    pub(super) link: Arc<Link>,
    pub(super) warmer: Arc<Warmer>,
    /// How long control may be silent, or take nothing.
    pub(super) patience: Duration,
    tier: Tier,
    listen: SocketAddr,
    /// Open client connections.
    open: Arc<AtomicUsize>,
    instance: String,
    /// By which the node proves that its name is its own.
    secret: NodeSecret,
    /// The instance of the process that this one takes over from.
    takes_over: Option<String>,
    /// When it said what control may have heard, on the connection.
    said: Mutex<Spoken>,
    /// Whether a relay was shown a ticket, and has not answered yet.
    pub(super) shown: watch::Sender<bool>,
    /// The parents through which the node is to follow control, until the task takes them.
    attachment: Mutex<Option<Attachment>>,
    /// The instances of other processes of the node that have ended.
    pub(super) others_ended: watch::Sender<Vec<String>>,
}

/// Who a process is to control.
pub(crate) struct Identity {
    /// The node's secret.
    pub(crate) secret: NodeSecret,
    /// The instance of the process that it takes over from.
    pub(crate) takes_over: Option<String>,
}

/// A running task. Dropping it ends the task.
pub(crate) struct Follower {
    leave: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Following {
    /// What a node with this state does, which listens at `listen` and has `open` connections.
    ///
    /// # Errors
    /// There is no client to warm with, or the URL of a parent through which the node is to follow control is
    /// of no use.
    pub(crate) fn new(
        state: Arc<NodeState>,
        applier: Applier,
        listen: SocketAddr,
        open: Arc<AtomicUsize>,
        identity: Identity,
    ) -> Result<Self, StartError> {
        let warmer = Warmer::new(Arc::clone(&state), listen).map_err(StartError)?;
        let live = state.live.load();
        let (tier, patience) = (live.config.node.tier, live.config.control.lease);
        let through = live.config.control.via == Via::Parents;
        let attachment = through.then(|| Attachment::new(&live.config)).transpose()?;
        drop(live);
        let random = RandomState::new();
        let instance = format!("{:016x}{:016x}", random.hash_one(1), random.hash_one(2));
        let (calls, link) = (Arc::default(), Arc::default());
        let warmer = Arc::new(warmer);
        let Identity { secret, takes_over } = identity;
        let said = Mutex::new(Spoken::hello(state.now()));
        Ok(Self {
            state,
            applier,
            calls,
            link,
            warmer,
            patience,
            tier,
            listen,
            open,
            instance,
            secret,
            takes_over,
            said,
            shown: watch::Sender::new(false),
            attachment: Mutex::new(attachment),
            others_ended: watch::Sender::default(),
        })
    }

    /// Tells control, on each connection, that another process of the node has ended.
    pub(crate) fn other_ended(&self, instance: String) {
        self.others_ended.send_modify(|ended| {
            ended.push(instance);
            // Control knows no more than these.
            if ended.len() > MOST_PROCESSES {
                ended.remove(0);
            }
        });
    }

    /// What tells this process from others of the same node.
    pub(crate) fn instance(&self) -> &str {
        &self.instance
    }

    /// How the node and control are connected.
    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// Purges by method, on their way to control.
    pub(crate) fn calls(&self) -> &Arc<Calls> {
        &self.calls
    }

    /// Who changes the node as the log says.
    pub(crate) fn applier(&self) -> &Applier {
        &self.applier
    }

    /// Where the node stands.
    pub(crate) fn followed(&self) -> FollowStatus {
        let purges = &self.state.purges;
        let followed = purges.standing();
        let applied = followed.of_log(purges.applied()).unwrap_or(0);
        FollowStatus {
            log: followed.log.clone(),
            applied,
            head: self.link.head().max(applied),
            connected: self.link.is_connected(),
            partitioned: self.state.lease.is_lost(self.state.now()),
            reconnects: self.link.reconnects(),
            refusal: self.link.refusal(),
            via: self.link.via(),
        }
    }

    pub(super) fn hello(&self) -> Hello {
        let live = self.state.live.load();
        let lease = self.state.lease.validated_after();
        let lease = lease.map(|lease| u64::try_from(lease.as_millis()).unwrap_or(u64::MAX));
        Hello {
            name: self.state.name.to_string(),
            tier: self.tier,
            region: live.config.node.region.clone(),
            listen: self.listen.to_string(),
            instance: self.instance.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            standing: self.applier.standing(),
            sites: reported(&live.config.sites),
            secret: Some(self.secret.clone()),
            takes_over: self.takes_over.clone(),
            validates_after_ms: lease,
            ephemeral: live.config.node.ephemeral,
        }
    }

    /// What was said on the connection.
    pub(super) fn spoken(&self) -> MutexGuard<'_, Spoken> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stats(&self) -> Stats {
        let (state, store) = (&self.state, &self.state.store);
        let uptime = state.started.elapsed().as_millis();
        Stats {
            uptime_ms: u64::try_from(uptime).unwrap_or(u64::MAX),
            connections: self.open.load(Ordering::Relaxed) as u64,
            stored: store.objects(),
            stored_bytes: store.bytes(),
            capacity_bytes: state.live.load().config.memory.size,
            evictions: store.evicted(),
            disk: state.disk.as_ref().map(|disk| disk.counts().told()),
            sites: Some(self.site_stats()),
            other: Some(metrics::counted_of_others(&state.metrics)),
            ..metrics::counted(&state.metrics)
        }
    }

    fn site_stats(&self) -> BTreeMap<String, Option<SiteStats>> {
        let state = &self.state;
        // A site that a reload removed stays, so that what several count together does not go back.
        let own = state.slots.labels().into_iter().filter(|(slot, _)| slot.is_own());
        let own =
            own.map(|(slot, id)| (id.to_string(), Some(metrics::counted_of(&state.metrics, slot))));
        let live = state.live.load();
        let without = live.sites.all().iter().filter(|site| !site.slot.is_own());
        let without = without.map(|site| (site.config.id.to_string(), None));
        own.chain(without).collect()
    }
}

/// What a node tells of its sites; `None` where they are too many for a line.
fn reported(sites: &[Site]) -> Option<Vec<SiteHosts>> {
    let bytes = |site: &Site| site.id.len() + site.hosts.iter().map(String::len).sum::<usize>();
    if sites.iter().map(bytes).sum::<usize>() > LONGEST_SITES {
        return None;
    }
    let told = |site: &Site| SiteHosts { id: site.id.clone(), hosts: site.hosts.clone() };
    Some(sites.iter().map(told).collect())
}

impl Follower {
    /// Starts the task on `runtime`; what control asks is answered on `answers`.
    pub(crate) fn start(
        following: Arc<Following>,
        dial: impl Dial,
        runtime: &Handle,
        answers: Handle,
    ) -> Self {
        let (leave, leaves) = watch::channel(false);
        let task = runtime.spawn(run(following, dial, leaves, answers));
        Self { leave, task }
    }

    /// Tells control, where it is connected, that the node serves nothing any more and is not
    /// expected back; then the task ends.
    pub(crate) async fn leave(mut self) {
        self.leave.send_replace(true);
        if tokio::time::timeout(GOODBYE, &mut self.task).await.is_err() {
            tracing::warn!("cannot inform control that this node leaves");
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Connects, again and again.
async fn run(
    following: Arc<Following>,
    mut dial: impl Dial,
    mut stop: watch::Receiver<bool>,
    answers: Handle,
) {
    let mut pauses = Pauses::new(following.patience / 3);
    let attachment = || following.attachment.lock().unwrap_or_else(PoisonError::into_inner).take();
    let mut attachment = attachment();
    let mut report = Report { place: dial.place(), said: Said::Nothing, is_detached: false };
    loop {
        let dialled = tokio::select! {
            dialled = tokio::time::timeout(following.patience, dial.dial()) => dialled,
            () = leaving(&mut stop) => return,
        };
        let end = match dialled {
            Ok(Ok(stream)) => {
                let joined = |welcomed: &Welcomed| {
                    pauses.restart();
                    report.joined(welcomed, &following);
                };
                let relays = attachment.as_mut();
                let over = converse(&following, stream, &mut stop, &answers, joined, relays).await;
                match (over, &mut attachment) {
                    (Ok(linked), Some(relays)) => {
                        report.attached(&linked.relay);
                        let since = Instant::now();
                        let end =
                            converse_through(&following, linked, &mut stop, &answers, relays).await;
                        report.detached(&end);
                        if end != End::Nearer {
                            relays.lost(since.elapsed());
                        }
                        // Control itself is there, as far as the node knows.
                        if end == End::Left { end } else { End::Again }
                    }
                    // Without relays it was attached to none.
                    (Ok(_), None) => End::Again,
                    (Err(end), _) => end,
                }
            }
            Ok(Err(Undialled::Refused(reason))) => End::Refused(reason),
            Ok(Err(Undialled::Unreachable(reason))) => End::Lost(reason),
            Err(_) => End::Lost(format!("no answer within {:?}", following.patience)),
        };
        report.ended(&end);
        if let End::Refused(reason) = &end {
            following.state.lease.refuse();
            following.link.refused(reason);
        }
        match end {
            End::Left => return,
            // Nothing is wrong with control.
            End::Again | End::Nearer => continue,
            End::Refused(_) | End::Lost(_) => {}
        }
        tokio::select! {
            () = tokio::time::sleep(pauses.next()) => {}
            () = leaving(&mut stop) => return,
        }
    }
}

/// Until the node is to leave.
pub(super) async fn leaving(leave: &mut watch::Receiver<bool>) {
    // An error says that nobody is left who could ask for anything else.
    let _ = leave.wait_for(|leave| *leave).await;
}

/// Pauses between tries: each about twice the one before, and none the same on two nodes.
pub(super) struct Pauses {
    next: Duration,
    longest: Duration,
    random: RandomState,
}

impl Pauses {
    pub(super) fn new(longest: Duration) -> Self {
        let longest = longest.max(FIRST_PAUSE);
        Self { next: FIRST_PAUSE, longest, random: RandomState::new() }
    }

    pub(super) fn restart(&mut self) {
        self.next = FIRST_PAUSE;
    }

    pub(super) fn next(&mut self) -> Duration {
        let bound = self.next;
        self.next = (bound * 2).min(self.longest);
        // From half of it to all of it.
        let share = self.random.hash_one(bound) % 1000;
        self.random = RandomState::new();
        bound.mul_f64(0.5 + share as f64 / 2000.0).max(FIRST_PAUSE)
    }
}

/// What operators are told, once each.
struct Report {
    place: String,
    said: Said,
    /// It was told how the connection ended.
    is_detached: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    Joined,
    Lost,
    Refused(String),
}

impl Report {
    fn joined(&mut self, welcomed: &Welcomed, following: &Following) {
        let place = &welcomed.place;
        let control = &self.place;
        let first = following.link.reconnects() == 0;
        let (log, after, head) = (&place.log, place.after, place.head);
        let words = if first { "joined control" } else { "control is back" };
        tracing::info!(%control, %log, after, head, "{words}");
        let had_any = !first || following.state.disk.as_ref().is_some_and(|disk| !disk.is_empty());
        if !place.keep && had_any {
            tracing::warn!(%log, after, "everything stored before is discarded");
        }
        let lease = Duration::from_millis(welcomed.lease_ms);
        if following.state.lease.length().is_some_and(|own| own != lease) {
            tracing::warn!(
                own = ?following.patience,
                control = ?lease,
                "control.lease differs between this node and control"
            );
        }
        self.said = Said::Joined;
    }

    fn attached(&mut self, relay: &str) {
        tracing::info!(relay, "following control through a relay");
    }

    fn detached(&mut self, end: &End) {
        match end {
            End::Left => return,
            End::Again => tracing::info!("leaving the relay to tell control of changed sites"),
            End::Nearer => {
                tracing::info!("leaving the relay for a nearer one, which is well again")
            }
            End::Refused(reason) | End::Lost(reason) => {
                tracing::warn!(%reason, "the relay is lost; following control directly");
            }
        }
        self.is_detached = true;
    }

    fn ended(&mut self, end: &End) {
        if std::mem::take(&mut self.is_detached) {
            return;
        }
        let control = &self.place;
        match end {
            End::Left => tracing::info!(%control, "left control"),
            End::Again | End::Nearer => {
                tracing::info!(%control, "connecting again to tell of changed sites");
            }
            End::Lost(reason) if self.said != Said::Lost => {
                tracing::warn!(%control, %reason, "no connection to control; trying again");
                self.said = Said::Lost;
            }
            End::Lost(reason) => tracing::debug!(%control, %reason, "still no connection"),
            End::Refused(reason) => {
                let said = Said::Refused(reason.clone());
                if self.said != said {
                    tracing::error!(%control, %reason, "control refuses this node; trying again");
                    self.said = said;
                }
            }
        }
    }
}
