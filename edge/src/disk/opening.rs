//! Opening the disk store at the start of a node, and what follows from what was found.

use super::durable::remove_noted;
use super::lent::Lent;
use super::reads::RecentReads;
use super::risk::RiskNote;
use super::sites::SiteLives;
use super::{DiskCounters, DiskStore, block_on};
use crate::clock::wall;
use crate::error::StartError;
use crate::purge::Purges;
use crate::store::DigestSecret;
use arc_swap::ArcSwap;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::watch;
use weir_config::{Config, Disk, DiskAdmit};
use weir_rules::log::{LogId, Position, Standing};
use weir_store::disk::Directory;
use weir_store::volume::Opened;
use weir_store::{
    Admission, Admit, Began, Checkpoint, Geometry, Observer, SetAside, Status, Store,
    StoreDirectory, StoreOptions,
};

/// Seconds that the clock may be behind what it showed to an earlier process: no clock is exact.
const SET_BACK: u64 = 60;

/// How many entries control keeps until it has said so: by default.
const RETENTION: u64 = 10_000;

/// A disk store that was opened, before the node is made.
pub(crate) struct OpenDisk {
    store: Store,
    standing: Standing,
    base: u64,
    lives: SiteLives,
    clock_was_set_back: bool,
    seen: u64,
    risk: RiskNote,
    config: Disk,
}

/// Opens the disk store of a node; waits for its devices at most `disk.hang`.
///
/// # Errors
/// A directory was written by another version, or the system fails.
pub(crate) fn open(config: &Config, disk: &Disk) -> Result<OpenDisk, StartError> {
    let directories = disk.directories.iter().map(|directory| {
        let geometry = Geometry::of_size(directory.size).ok_or_else(|| {
            let (size, least) = (directory.size, Geometry::SMALLEST_STORE);
            StartError(format!("disk.size is {size}: a store has at least {least} bytes"))
        })?;
        let path = directory.path.clone();
        let name = path.display().to_string();
        let open = move || Ok(Arc::new(Directory::open(&path)?) as Arc<_>);
        Ok(StoreDirectory { name, geometry, open: Box::new(open) })
    });
    open_in(config, disk, directories.collect::<Result<_, StartError>>()?)
}

/// Opens the disk store in these directories.
pub(super) fn open_in(
    config: &Config,
    disk: &Disk,
    directories: Vec<StoreDirectory>,
) -> Result<OpenDisk, StartError> {
    let fault = |what: &str, error: &dyn std::fmt::Display| StartError(format!("{what}: {error}"));
    let risk = RiskNote::open(config.node.state.as_deref())
        .map_err(|error| fault("node.state", &error))?;
    let options = StoreOptions {
        queue: usize::try_from(disk.queue).unwrap_or(usize::MAX),
        readers: disk.readers,
        reads: disk.reads,
        read_wait: disk.read_wait,
        commit_wait: disk.commit_wait,
        hang: disk.hang,
        retry: disk.retry,
        ..StoreOptions::default()
    };
    let observer = observer();
    let (store, began) = Store::open(directories, options, Arc::clone(&observer))
        .map_err(|error| fault("disk", &error))?;
    tell(&began);
    // Later changes are told by the store.
    let failed = store.statuses().into_iter().filter(|(_, status)| !status.is_working());
    failed.for_each(|(name, status)| observer(&name, &status));
    block_on(remove_noted(&store, &risk)).map_err(|error| fault("node.state", &error))?;
    let kept: Vec<_> = began
        .iter()
        .filter_map(|began| Some((&*began.name, began.opened.as_ref()?.checkpoint.as_ref()?)))
        .collect();
    let newest = kept.iter().map(|(_, kept)| *kept).max_by_key(|kept| (kept.base, kept.applied));
    let mut checked = newest.map_or(0, |newest| newest.checked);
    for (name, kept) in &kept {
        match newest.is_some_and(|newest| is_of_one_life(newest, kept)) {
            true => checked = checked.min(kept.checked),
            // It was set aside when the node's place changed.
            false => store.clear(name),
        }
    }
    let known = newest.map_or(&[][..], |newest| &newest.sites);
    let lives = SiteLives::of(&config.sites, known)
        .map_err(|error| fault("the system returned no random numbers", &error))?;
    let seen = kept.iter().map(|(_, kept)| kept.wall).max().unwrap_or(0);
    let clock_was_set_back = seen > wall().as_secs() + SET_BACK;
    if clock_was_set_back {
        tracing::warn!("the clock was set back: what was stored on disk before is stale");
    }
    let standing = newest.map(|newest| standing(newest, checked)).unwrap_or_default();
    let (base, config) = (newest.map_or(0, |newest| newest.base), disk.clone());
    Ok(OpenDisk { store, standing, base, lives, clock_was_set_back, seen, risk, config })
}

/// Whether two directories were of one node, one log and one membership.
fn is_of_one_life(a: &Checkpoint, b: &Checkpoint) -> bool {
    (&a.log, a.base, &a.member) == (&b.log, b.base, &b.member)
}

fn standing(kept: &Checkpoint, checked: u64) -> Standing {
    Standing {
        log: kept.log.clone().map(LogId),
        member: kept.member.clone(),
        applied: kept.applied,
        mark: kept.mark,
        checked: (checked < kept.applied).then_some(checked),
    }
}

/// Who tells of directories that are set aside, and of those that work again.
fn observer() -> Observer {
    let failed = Mutex::new(BTreeSet::new());
    Arc::new(move |name, status| {
        let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
        match status {
            Status::Working if failed.remove(name) => {
                tracing::info!(directory = name, "the disk store works again, from empty");
            }
            Status::SetAside(SetAside::Cleared) => {
                tracing::info!(directory = name, "a directory of the disk store is emptied");
            }
            Status::SetAside(_) if failed.insert(name.to_owned()) => {
                tracing::error!(
                    directory = name, %status,
                    "a directory of the disk store is set aside; the node goes on without it"
                );
            }
            _ => {}
        }
    })
}

/// Tells what was found.
pub(super) fn tell(began: &[Began]) {
    for Began { name, opened } in began {
        let Some(Opened { emptied, recovered, reclaimed, .. }) = opened else { continue };
        if let Some(why) = emptied {
            tracing::warn!(directory = name, why, "the disk store begins empty");
        }
        tracing::info!(directory = name, recovered, reclaimed, "the disk store is open");
    }
}

impl OpenDisk {
    /// The secret of its digests.
    pub(crate) fn secret(&self) -> DigestSecret {
        DigestSecret::from(self.store.secret())
    }

    /// Where the log must be replayed from.
    pub(crate) fn position(&self) -> Position {
        Position::restored(self.standing.clone(), self.base)
    }

    /// The store of a node that judges by these purges.
    pub(crate) fn of_node(self, purges: &Arc<Purges>) -> DiskStore {
        let Self { store, standing, base, lives, clock_was_set_back, seen, risk, config } = self;
        let Disk { admit, window, promote, max_object, directories, .. } = config;
        let admit = match admit {
            DiskAdmit::All => Admit::All,
            DiskAdmit::Second => Admit::Second,
        };
        let checked = base + standing.checked.unwrap_or(standing.applied);
        purges.checked_below(checked);
        DiskStore {
            store: Arc::new(store),
            purges: Arc::clone(purges),
            admission: Admission::new(admit, window),
            promotion: promote.then(|| Admission::new(Admit::Second, window)),
            max_object,
            lives: ArcSwap::from_pointee(lives),
            is_shown: AtomicBool::new(false),
            clock_was_set_back,
            seen,
            checked: AtomicU64::new(checked),
            durably_checked: watch::Sender::new(checked),
            retention: AtomicU64::new(RETENTION),
            lent: Lent::default(),
            risk,
            has_notes: AtomicBool::new(false),
            counters: DiskCounters::default(),
            reads: RecentReads::new(Instant::now()),
            size: directories.iter().map(|directory| directory.size).sum(),
        }
    }
}
