//! One entry of the log, as control lists it.

use crate::journal::{EntryRecord, SumRecord};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Notify;
use weir_protocol::frame::FromControl;
use weir_protocol::lines::write_line;
use weir_protocol::warm::Fetched;
use weir_rules::invalidation::{Purge, Seq, Target};
use weir_rules::log::{Change, Entry, LogId, Release};

/// What is to be purged, as the caller asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// At least one.
    pub(crate) targets: Vec<Target>,
    /// The site it is confined to.
    pub(crate) site: Option<String>,
    /// Stale from now on, instead of never served again.
    pub(crate) soft: bool,
    /// Paths take all their versions too.
    pub(crate) versions: bool,
    /// What it takes is to be fetched again.
    pub(crate) warm: bool,
    /// The caller's name for it: the same order under the same name is one purge.
    pub(crate) reference: Option<String>,
}

/// Whose a reference is: two callers may give one name to different purges.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Referrer {
    /// The name of the caller's token.
    pub(crate) token: String,
    /// The site that the call names beside its body; `None` in weir's own API.
    pub(crate) site: Option<String>,
}

/// What a purge is found by when it is asked for again.
pub(super) type Reference = (Referrer, String);

/// When an order was accepted, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accepted {
    pub(super) at: Instant,
    pub(super) wall: SystemTime,
}

impl Accepted {
    pub(super) fn now() -> Self {
        Self { at: Instant::now(), wall: SystemTime::now() }
    }
}

/// How far fetching again has come: URLs, each counted for every node that is to fetch it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Warmed {
    /// To be fetched.
    pub(crate) asked: usize,
    /// Fetched and stored, or stored already.
    pub(crate) done: usize,
    /// Not.
    pub(crate) failed: usize,
}

impl Warmed {
    /// Nothing yet of so many.
    pub(crate) fn of(asked: usize) -> Self {
        Self { asked, ..Self::default() }
    }

    /// One node more has answered.
    pub(crate) fn count(&mut self, fetched: &[Fetched]) {
        let failed = fetched.iter().filter(|fetched| fetched.error.is_some()).count();
        self.failed += failed;
        self.done += fetched.len() - failed;
    }
}

/// One entry of the log.
#[derive(Debug)]
pub(crate) struct Listed {
    /// `<log id>-<seq>`, with the log's id when it was appended.
    pub(crate) id: String,
    /// As nodes see it.
    pub(crate) entry: Entry,
    /// The caller's name for it.
    pub(crate) reference: Option<String>,
    /// Whose name that is; `None` without one, and where an older version did not note it.
    referrer: Option<Referrer>,
    /// When it was accepted, by the wall clock.
    pub(crate) created_at: SystemTime,
    /// What it takes is to be fetched again.
    pub(crate) warm: bool,
    /// How far that has come; `None` until it is known what is to be fetched.
    warmed: Mutex<Option<Warmed>>,
    warms: AtomicBool,
    log: LogId,
    /// This process's time at which it was as old as `age`.
    counted_from: Instant,
    age: Duration,
    /// From acceptance until no expected node had yet to apply it. Once it is there it stays.
    completed: OnceLock<Duration>,
    /// It was completed.
    pub(super) done: Notify,
    /// More nodes told what it took.
    pub(super) told: Notify,
    /// What is kept of its arrivals once they are not kept one by one.
    pub(super) sum: OnceLock<SumRecord>,
    /// The lines that tell nodes of it, while it is among the latest: written once for all nodes.
    lines: Mutex<Option<Arc<[u8]>>>,
}

/// Longest lines that are kept to be sent again, bytes.
const LONGEST_LINES: usize = 4096;

impl Listed {
    pub(super) fn new(entry: Entry, log: LogId, accepted: Accepted) -> Self {
        Self {
            id: format!("{log}-{}", entry.seq),
            entry,
            reference: None,
            referrer: None,
            created_at: accepted.wall,
            warm: false,
            warmed: Mutex::default(),
            warms: AtomicBool::new(false),
            log,
            counted_from: accepted.at,
            age: Duration::ZERO,
            completed: OnceLock::new(),
            done: Notify::new(),
            told: Notify::new(),
            sum: OnceLock::new(),
            lines: Mutex::default(),
        }
    }

    /// With what control alone knows of it.
    pub(super) fn named(self, reference: Option<Reference>, warm: bool) -> Self {
        let (referrer, reference) = reference.unzip();
        Self { reference, referrer, warm, ..self }
    }

    /// What it is found by when it is asked for again.
    pub(super) fn reference(&self) -> Option<Reference> {
        self.referrer.clone().zip(self.reference.clone())
    }

    /// As the journal has it.
    pub(super) fn restored(record: EntryRecord, now: Accepted) -> Self {
        let created_at = SystemTime::UNIX_EPOCH + Duration::from_millis(record.created_ms);
        let accepted = Accepted { at: now.at, wall: created_at };
        Self {
            reference: record.reference,
            referrer: record.referrer,
            warm: record.warm,
            age: now.wall.duration_since(created_at).unwrap_or_default(),
            ..Self::new(record.entry, record.log, accepted)
        }
    }

    /// Its number.
    pub(crate) fn seq(&self) -> Seq {
        self.entry.seq
    }

    /// The purge; `None` for a release.
    pub(crate) fn purge(&self) -> Option<&Purge> {
        match &self.entry.change {
            Change::Purge(purge) => Some(purge),
            Change::Release(_) => None,
        }
    }

    /// The release; `None` for a purge.
    pub(crate) fn release(&self) -> Option<&Release> {
        match &self.entry.change {
            Change::Purge(_) => None,
            Change::Release(release) => Some(release),
        }
    }

    /// Whether the caller is the first to have fetched again what it took.
    pub(crate) fn begins_to_warm(&self) -> bool {
        self.warm && !self.warms.swap(true, Ordering::Relaxed)
    }

    /// How far fetching again has come; `None` until it is known what is to be fetched.
    pub(crate) fn warmed(&self) -> Option<Warmed> {
        *self.warmed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetching again has come so far.
    pub(crate) fn set_warmed(&self, warmed: Warmed) {
        *self.warmed.lock().unwrap_or_else(PoisonError::into_inner) = Some(warmed);
    }

    /// From acceptance to `now`.
    pub(crate) fn elapsed(&self, now: Instant) -> Duration {
        self.age + now.saturating_duration_since(self.counted_from)
    }

    /// From acceptance until every expected node had applied it, but those whose lease was surely
    /// over; `None` until then. After a restart of control it may be the time at which that was
    /// noticed.
    pub(crate) fn completed(&self) -> Option<Duration> {
        self.completed.get().copied()
    }

    /// Completes it, for good.
    pub(super) fn complete(&self, took: Duration) {
        if self.completed.set(took).is_ok() {
            self.done.notify_waiters();
            self.told.notify_waiters();
        }
    }

    /// The lines that tell a node of it.
    pub(crate) fn lines(&self) -> Arc<[u8]> {
        let kept = || self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lines) = kept().clone() {
            return lines;
        }
        self.written()
    }

    /// Keeps its lines for the nodes to come, or no longer.
    pub(super) fn keep_lines(&self, keep: bool) {
        let lines = keep.then(|| self.written()).filter(|lines| lines.len() <= LONGEST_LINES);
        *self.lines.lock().unwrap_or_else(PoisonError::into_inner) = lines;
    }

    fn written(&self) -> Arc<[u8]> {
        let mut lines = Vec::new();
        let remember = self.warm.then_some(FromControl::Remember { seq: self.seq() });
        for line in remember.into_iter().chain([FromControl::Entry(self.entry.clone())]) {
            // Fails for maps without text keys only, which there are none of.
            let _ = write_line(&mut lines, &line);
        }
        lines.into()
    }

    /// Whether it is what `order` asks for.
    pub(super) fn is_of(&self, order: &Order) -> bool {
        self.purge().is_some_and(|Purge { targets, site, soft, versions, .. }| {
            (targets, site, soft, versions, &self.warm)
                == (&order.targets, &order.site, &order.soft, &order.versions, &order.warm)
        })
    }

    /// What it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        let change = match &self.entry.change {
            Change::Purge(purge) => {
                let texts: usize = purge.targets.iter().map(|target| target.text().len()).sum();
                let site = purge.site.as_ref().map_or(0, String::len);
                texts + purge.targets.len() * size_of::<Target>() + site
            }
            Change::Release(release) => {
                release.site.len() + release.name.as_ref().map_or(0, String::len)
            }
        };
        // The reference is the key of an index, too.
        let referrer = self.referrer.as_ref().map_or(0, |referrer| {
            referrer.token.len() + referrer.site.as_ref().map_or(0, String::len)
        });
        let name = self.reference.as_ref().map_or(0, String::len);
        let reference = 2 * (name + referrer);
        let names = self.id.len() + self.log.0.len() + reference;
        size_of::<Self>() + change + names
    }

    /// As the journal keeps it.
    pub(super) fn record(&self) -> EntryRecord {
        EntryRecord {
            entry: self.entry.clone(),
            log: self.log.clone(),
            reference: self.reference.clone(),
            referrer: self.referrer.clone(),
            created_ms: super::millis(self.created_at),
            warm: self.warm,
        }
    }
}
