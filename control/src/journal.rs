//! What the ledger needs of durable storage: everything at open, then one atomic batch after
//! another.
//!
//! A batch says which seq it follows, so that what a failed one may have left behind is dropped. A
//! journal that is shared refuses a batch of who is not its writer any more: what it drops is of a batch
//! of the same writer. All else in a batch is said whole: taking it twice is the same as taking it once.

pub(crate) mod etcd;
pub(crate) mod memory;
pub(crate) mod redb;

use crate::ledger::Referrer;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;
use weir_protocol::frame::SiteHosts;
use weir_rules::identity::SecretDigest;
use weir_rules::invalidation::Seq;
use weir_rules::log::{Entry, LogId, Mark, Release};
use weir_rules::tier::Tier;

/// Durable storage of one log.
pub(crate) trait Journal: fmt::Debug + Send {
    /// Everything that was taken.
    ///
    /// # Errors
    /// It cannot be read, or is none of ours.
    fn load(&mut self) -> Result<Contents, JournalError>;

    /// Takes all of `batch`; when this returns, it survives a crash. After an error all of it may
    /// have been taken, or nothing; the next call tries the storage again.
    ///
    /// # Errors
    /// The storage's fault.
    fn commit(&mut self, batch: &Batch) -> Result<(), JournalError>;

    /// Gives back room that it does not need. It may take a while; called where nothing is ordered.
    ///
    /// # Errors
    /// The storage's fault. What was taken is there all the same.
    fn tidy(&mut self) -> Result<(), JournalError> {
        Ok(())
    }
}

/// Everything that a journal holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Contents {
    /// The log's life; `None` before its first.
    pub(crate) life: Option<Life>,
    /// This is a copy of a journal, of which the original may have gone on: its seqs must not be
    /// taken for the original's.
    pub(crate) copied: bool,
    /// What came before the entries.
    pub(crate) base: Base,
    /// In order, without gaps, from `base.seq + 1`.
    pub(crate) entries: Vec<EntryRecord>,
    /// What is known of how they arrived.
    pub(crate) arrivals: Vec<(Seq, ArrivalsRecord)>,
    /// The expected nodes.
    pub(crate) nodes: Vec<NodeRecord>,
    /// What they reported of their sites.
    pub(crate) sites: Vec<SitesRecord>,
}

impl Contents {
    /// The seq of the last entry; 0 without any.
    pub(crate) fn last(&self) -> Seq {
        self.entries.last().map_or(self.base.seq, |record| record.entry.seq)
    }
}

/// What is to be taken at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Batch {
    /// Entries above this seq that the journal holds are of a batch that failed: they go.
    pub(crate) follows: Seq,
    /// A new life of the log.
    pub(crate) life: Option<Life>,
    /// Entries up to here go.
    pub(crate) base: Option<Base>,
    /// In order, without gaps, from `follows + 1`.
    pub(crate) entries: Vec<EntryRecord>,
    /// News of how entries arrived; those of entries that are gone are not kept.
    pub(crate) arrivals: Vec<(Seq, ArrivalsRecord)>,
    /// All expected nodes, where they changed.
    pub(crate) nodes: Option<Vec<NodeRecord>>,
    /// All that expected nodes reported of their sites, where that changed.
    pub(crate) sites: Option<Vec<SitesRecord>>,
}

/// A life of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Life {
    /// Its random name.
    pub(crate) log: LogId,
    /// What nodes of this life show each other.
    pub(crate) tier_key: String,
    /// What control alone makes marks with; empty where an older version wrote, whose marks cannot be
    /// told from invented ones.
    #[serde(default)]
    pub(crate) mark_key: String,
}

/// What stands for entries that are gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Base {
    /// The last of them; 0 for none.
    pub(crate) seq: Seq,
    /// Its mark.
    pub(crate) mark: Mark,
    /// The releases in force after it.
    pub(crate) releases: Vec<Release>,
}

/// An entry, and what control alone knows of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EntryRecord {
    /// As nodes see it.
    pub(crate) entry: Entry,
    /// The log's id when it was appended, which its own id keeps.
    pub(crate) log: LogId,
    /// The caller's name for it.
    pub(crate) reference: Option<String>,
    /// Whose name that is; unknown of entries that an older version wrote.
    #[serde(default)]
    pub(crate) referrer: Option<Referrer>,
    /// By the wall clock, milliseconds since 1970.
    pub(crate) created_ms: u64,
    /// What it takes is to be fetched again.
    pub(crate) warm: bool,
}

/// How an entry arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ArrivalsRecord {
    /// Microseconds from acceptance until every expected node had applied it.
    pub(crate) completed_us: Option<u64>,
    /// The nodes that applied it; empty once there are too many later ones.
    pub(crate) nodes: Vec<ArrivalRecord>,
    /// The nodes that had not when their lease was surely over. An older version does not read
    /// them, and waits for these nodes again.
    #[serde(default)]
    pub(crate) lease_over: Vec<LeaseOverRecord>,
    /// The sum, once the nodes are not told one by one any more.
    #[serde(default)]
    pub(crate) sum: Option<SumRecord>,
}

/// What is kept of an entry's arrivals once they are not kept one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SumRecord {
    /// How many nodes it was for.
    pub(crate) nodes: u32,
    /// How many stored responses it took on all of them, where all had told.
    pub(crate) matched: Option<u64>,
}

/// A node that an entry was completed without: its lease was over, so it validated all it had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeaseOverRecord {
    /// The node.
    pub(crate) name: String,
    /// Its tier at the time.
    pub(crate) tier: Tier,
}

/// How an entry arrived at a node that applied it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ArrivalRecord {
    /// The node.
    pub(crate) name: String,
    /// Its tier at the time.
    pub(crate) tier: Tier,
    /// Microseconds from acceptance; `None` where it is not known.
    pub(crate) applied_us: Option<u64>,
    /// How many stored responses the purge took there.
    pub(crate) matched: Option<u64>,
}

/// A node that is expected to apply what is appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeRecord {
    /// Unique.
    pub(crate) name: String,
    /// Its tier.
    pub(crate) tier: Tier,
    /// Its region.
    pub(crate) region: String,
    /// Where clients connect.
    pub(crate) listen: String,
    /// The program's.
    pub(crate) version: String,
    /// The membership of its newest process.
    pub(crate) member: String,
    /// It is expected to apply entries above this seq.
    pub(crate) joined_at: Seq,
    /// When it joined, milliseconds since 1970.
    pub(crate) joined_ms: u64,
    /// At least this far all its processes have applied.
    pub(crate) applied: Seq,
    /// When it was last heard, milliseconds since 1970.
    pub(crate) heard_ms: u64,
    /// The digest of its secret; `None` while it has shown none, as older versions do.
    #[serde(default)]
    pub(crate) secret: Option<SecretDigest>,
    /// It is forgotten once its lease is surely over.
    #[serde(default)]
    pub(crate) ephemeral: bool,
    /// The instances that its processes took over from, the latest last.
    #[serde(default)]
    pub(crate) predecessors: Vec<String>,
    /// Its processes, the newest last: never empty but where an older version wrote it.
    #[serde(default)]
    pub(crate) processes: Vec<ProcessRecord>,
    /// Entries up to this seq wait for it no more: it has applied them, or did before it came back
    /// empty. Never lower than it was. 0 where an older version wrote the node.
    #[serde(default)]
    pub(crate) counted: Seq,
    /// Purges up to this seq wait for it no more: its lease was over.
    #[serde(default)]
    pub(crate) excused: Seq,
    /// It has ended with what it has stored, and shows nothing of that before it has caught up.
    #[serde(default)]
    pub(crate) away: bool,
}

/// A process of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessRecord {
    /// Random for each process; empty where an older version wrote the node.
    pub(crate) instance: String,
    /// Its membership.
    pub(crate) member: String,
    /// At least this far it has applied.
    pub(crate) applied: Seq,
    /// Its lease in milliseconds, if it validates all it has stored once that is over.
    #[serde(default)]
    pub(crate) validates_after_ms: Option<u64>,
    /// The membership of the process before it, which it may show until it has acknowledged under its
    /// own: only then is that durable on its disk.
    #[serde(default)]
    pub(crate) before: Option<String>,
    /// Up to where what it has on disk was held against the log, durably; `None` without a disk store,
    /// and where an older version wrote it.
    #[serde(default)]
    pub(crate) checked: Option<Seq>,
}

impl NodeRecord {
    /// As an older version wrote it: without its processes, and what is counted of it.
    pub(crate) fn completed(mut self) -> Self {
        self.counted = self.counted.max(self.applied).max(self.joined_at);
        if self.processes.is_empty() {
            let (member, applied) = (self.member.clone(), self.applied);
            let instance = String::new();
            let validates_after_ms = None;
            let (before, checked) = (None, None);
            self.processes.push(ProcessRecord {
                instance,
                member,
                applied,
                validates_after_ms,
                before,
                checked,
            });
        }
        self
    }

    /// The longest lease of its processes, if all of them validate what they have stored after it.
    pub(crate) fn validates_after(&self) -> Option<Duration> {
        let leases = self.processes.iter().map(|process| process.validates_after_ms);
        let leases = leases.collect::<Option<Vec<_>>>()?;
        leases.into_iter().max().map(Duration::from_millis)
    }

    /// Up to where what all its processes have on disk was held against the log; `None` if none has a
    /// disk store.
    pub(crate) fn checked(&self) -> Option<Seq> {
        self.processes.iter().filter_map(|process| process.checked).min()
    }

    /// Says of the node what follows from its processes.
    pub(crate) fn settle(&mut self) {
        if let Some(newest) = self.processes.last() {
            self.member.clone_from(&newest.member);
        }
        self.applied = self.processes.iter().map(|process| process.applied).min().unwrap_or(0);
    }
}

/// Sites, and the nodes that reported them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SitesRecord {
    /// The nodes' names.
    pub(crate) nodes: Vec<String>,
    /// Their sites.
    pub(crate) sites: Vec<SiteHosts>,
}

/// Why a journal does not do what it should; says where it is and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JournalError {
    message: String,
    /// There is no room for more.
    pub(crate) full: bool,
    /// What was to be taken may have been taken.
    pub(crate) unknown: bool,
}

impl JournalError {
    /// An error of these words.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), full: false, unknown: false }
    }
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for JournalError {}
