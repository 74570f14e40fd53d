//! A node's disk store, on a disk that fails and whose clock is the test's.

#![allow(clippy::unwrap_used)]

use super::opening::open_in;
use super::*;
use crate::collapsing::{Fill, Purpose};
use crate::state::NodeState;
use crate::store::{PackedHead, Stored, StoredBody};
use bytes::Bytes;
use http::HeaderMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use weir_config::{Config, Disk, DiskAdmit, DiskDirectory};
use weir_rules::freshness::Freshness;
use weir_rules::invalidation::{KeyedPurge, Purge, Target, Validity};
use weir_rules::log::{Position, Standing};
use weir_store::disk::simulated::{Faults, SimulatedDisk};
use weir_store::{Geometry, StoreDirectory};

const KEY: &[u8] = b"http://example.com/a";

/// A directory of its own, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let mut random = [0; 8];
        getrandom::fill(&mut random).unwrap();
        let path =
            std::env::temp_dir().join(format!("weir-disk-{:016x}", u64::from_le_bytes(random)));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn config(state: &Path, site: &str) -> Config {
    let text = format!(
        "[node]\nworkers = 1\nstate = {state:?}\n[[site]]\nid = \"site\"\n\
         origins = [\"http://127.0.0.1:1\"]\n{site}"
    );
    Config::from_toml(&text).unwrap()
}

/// A node whose store is on this disk.
struct Process {
    state: Arc<NodeState>,
}

impl Process {
    fn start(disk: &SimulatedDisk, state: &Folder, site: &str) -> Self {
        let (config, disk) = (config(&state.0, site), disk.clone());
        let settings = Disk {
            directories: vec![DiskDirectory { path: "/simulated".into(), size: 32 << 20 }],
            max_object: 8 << 20,
            admit: DiskAdmit::All,
            window: 1024,
            promote: true,
            queue: 8 << 20,
            readers: 1,
            reads: 8,
            read_wait: Duration::from_secs(1),
            commit_wait: Duration::from_secs(1),
            hang: Duration::from_secs(5),
            retry: Duration::from_millis(10),
        };
        let directory = StoreDirectory {
            name: "simulated".into(),
            geometry: Geometry::of_size(32 << 20).unwrap(),
            open: Box::new(move || Ok(Arc::new(disk.clone()) as Arc<_>)),
        };
        let open = open_in(&config, &settings, vec![directory]).unwrap();
        let place = open.position();
        let state = Arc::new(NodeState::with_disk(config, Some(open), Arc::default()).unwrap());
        state.purges.begin(place);
        Self { state }
    }

    fn disk(&self) -> &Arc<DiskStore> {
        self.state.disk.as_ref().unwrap()
    }

    /// A response that was fetched now.
    fn response(&self, born: weir_rules::time::Time) -> Arc<Stored> {
        let example = Stored::example();
        Arc::new(Stored {
            head: PackedHead::pack(KEY, &HeaderMap::new()).unwrap(),
            body: StoredBody::whole_of(Bytes::from_static(b"body")),
            freshness: Freshness { born, lifetime: 1000, ..example.freshness },
            filled_at: self.state.purges.applied(),
            ..example
        })
    }

    fn store(&self, stored: &Arc<Stored>) {
        let digest = self.state.digest(KEY);
        let stored = self.state.store.insert_over(digest, KEY, |_| Some(Arc::clone(stored)));
        assert!(stored.is_stored());
    }

    async fn find(&self) -> find::FoundOnDisk {
        let site = &self.state.live.load().sites.all()[0].id.clone();
        let url = self.state.store.url_of(KEY);
        self.disk().find(url, KEY, site, self.state.now(), false).await
    }

    async fn until_found(&self) -> find::FoundOnDisk {
        for _ in 0..2000 {
            let found = self.find().await;
            if !found.variants.is_empty() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it is not found");
    }

    /// Everything is durable, and the process ends.
    async fn close(self) {
        self.disk().close(Duration::from_secs(10)).await;
    }

    fn purge(&self, seq: u64, soft: bool) {
        let targets = vec![Target::parse_path("/a").unwrap()];
        let purge = Purge { seq, targets, site: None, soft, versions: false };
        self.state.purges.apply(&KeyedPurge::as_sent(purge));
    }
}

async fn stored(disk: &SimulatedDisk, state: &Folder) {
    let process = Process::start(disk, state, "");
    process.disk().show();
    process.store(&process.response(process.state.now()));
    process.until_found().await;
    process.close().await;
}

#[tokio::test]
async fn what_an_earlier_process_stored_is_found_once_it_may_be_shown() {
    let (disk, state) = (SimulatedDisk::default(), Folder::new());
    stored(&disk, &state).await;
    let process = Process::start(&disk, &state, "");
    assert!(process.find().await.variants.is_empty(), "nothing was replayed yet");
    process.disk().show();
    let found = process.until_found().await;
    assert_eq!(found.variants[0].body.whole().unwrap(), "body");
    let state = found.variants[0].freshness.state(process.state.now());
    assert!(matches!(state, weir_rules::freshness::State::Fresh { .. }), "{state:?}");
}

#[tokio::test]
async fn a_purge_reaches_what_is_on_disk_alone() {
    let (disk, state) = (SimulatedDisk::default(), Folder::new());
    stored(&disk, &state).await;
    let process = Process::start(&disk, &state, "");
    process.disk().show();
    process.purge(1, true);
    let found = process.until_found().await;
    assert!(matches!(process.state.purges.validity(&found.variants[0]), Validity::Soft(_)));
    process.purge(2, false);
    assert!(process.find().await.variants.is_empty());
}

#[tokio::test]
async fn what_was_stored_under_other_rules_is_not_found_nor_after_they_were_changed_back() {
    let (disk, state) = (SimulatedDisk::default(), Folder::new());
    stored(&disk, &state).await;
    for rules in ["key = { query = \"sort\" }", ""] {
        let process = Process::start(&disk, &state, rules);
        process.disk().show();
        assert!(process.find().await.variants.is_empty(), "{rules}");
        process.close().await;
    }
    // The same without a restart.
    let process = Process::start(&disk, &state, "");
    process.disk().show();
    process.store(&process.response(process.state.now()));
    process.until_found().await;
    for rules in ["key = { query = \"sort\" }", ""] {
        process.disk().follow_sites(&config(&state.0, rules).sites);
        assert!(process.find().await.variants.is_empty(), "{rules}");
    }
}

#[tokio::test]
async fn what_is_from_the_future_is_stale() {
    let (disk, state) = (SimulatedDisk::default(), Folder::new());
    let process = Process::start(&disk, &state, "");
    process.disk().show();
    let now = process.state.now();
    process.store(&process.response(now.plus_millis(1_000_000)));
    let found = process.until_found().await;
    let state = found.variants[0].freshness.state(now);
    assert!(matches!(state, weir_rules::freshness::State::Stale { .. }), "{state:?}");
}

#[tokio::test]
async fn what_is_removed_between_the_read_and_the_promotion_does_not_come_into_memory() {
    let (disk, folder) = (SimulatedDisk::default(), Folder::new());
    stored(&disk, &folder).await;
    let process = Process::start(&disk, &folder, "");
    let state = &process.state;
    process.disk().show();
    let digest = state.digest(KEY);
    let found = process.until_found().await;
    process.disk().hit(&state.store, digest, &found, &found.variants[0], true);
    assert!(state.store.get(digest, KEY).is_some());
    state.store.retain(digest, |_| false);
    // The disk heard of the removal in the same step.
    assert!(process.find().await.variants.is_empty());
    process.disk().hit(&state.store, digest, &found, &found.variants[0], true);
    assert!(state.store.get(digest, KEY).is_none(), "it came back");
}

#[tokio::test]
async fn what_the_disk_did_not_take_is_removed_at_the_next_start() {
    let (disk, state) = (SimulatedDisk::default(), Folder::new());
    stored(&disk, &state).await;
    let process = Process::start(&disk, &state, "");
    let url = process.state.store.url_of(KEY);
    disk.set_faults(Faults {
        writes: Some(io::ErrorKind::StorageFull),
        syncs: Some(io::ErrorKind::StorageFull),
        ..Faults::default()
    });
    let removal = process.disk().forget(url);
    process.disk().settle(removal).await;
    assert_eq!(process.disk().counts().at_risk, 0, "it is noted");
    // The process ends as in a crash, and the device recovers.
    drop(process);
    disk.lose_power(|| true);
    disk.set_faults(Faults::default());
    let process = Process::start(&disk, &state, "");
    process.disk().show();
    assert!(process.find().await.variants.is_empty(), "it came back");
}

#[tokio::test]
async fn where_nothing_can_be_noted_the_risk_is_counted() {
    let (disk, state) = (SimulatedDisk::default(), Folder::new());
    stored(&disk, &state).await;
    let process = Process::start(&disk, &state, "");
    std::fs::remove_dir_all(&state.0).unwrap();
    disk.set_faults(Faults { syncs: Some(io::ErrorKind::Other), ..Faults::default() });
    let removal = process.disk().forget(process.state.store.url_of(KEY));
    process.disk().settle(removal).await;
    assert_eq!(process.disk().counts().at_risk, 1);
}

#[tokio::test]
async fn where_the_clock_was_set_back_what_survived_is_stale_until_it_is_right_again() {
    let (disk, folder) = (SimulatedDisk::default(), Folder::new());
    let process = Process::start(&disk, &folder, "");
    process.disk().show();
    process.store(&process.response(process.state.now()));
    process.until_found().await;
    let store = &process.disk().store;
    let ahead = weir_store::Checkpoint {
        wall: wall_in(1000),
        ..process.disk().checkpoint(&process.state.purges.position())
    };
    let moments = store.checkpoint(&ahead);
    store.commit(&moments).await.unwrap();
    drop(store.close(Duration::from_secs(10)));
    for restart in 0..2 {
        let process = Process::start(&disk, &folder, "");
        process.disk().show();
        let found = process.until_found().await;
        let state = found.variants[0].freshness.state(process.state.now());
        assert!(
            matches!(state, weir_rules::freshness::State::Stale { .. }),
            "{restart}: {state:?}"
        );
        process.close().await;
    }
}

/// The time of day in so many seconds.
fn wall_in(seconds: u64) -> u64 {
    crate::clock::wall().as_secs() + seconds
}

/// Something that a process learns of the response.
type Learn = fn(&Process);

impl Process {
    /// Gets its disk back from another process, which has had it and ended.
    async fn get_back(&self, disk: &SimulatedDisk, folder: &Folder, other: Option<&str>) {
        self.disk().close(Duration::from_secs(10)).await;
        let process = Process::start(disk, folder, "");
        if let Some(member) = other {
            let standing = Standing { member: Some(member.into()), ..Standing::default() };
            process.state.purges.begin(Position::restored(standing, 0));
        }
        process.close().await;
        assert!(self.find().await.variants.is_empty(), "another process has it");
        self.disk().reopen().await;
    }
}

#[tokio::test]
async fn a_process_that_gets_its_disk_back_finds_what_it_stored() {
    let (disk, folder) = (SimulatedDisk::default(), Folder::new());
    let process = Process::start(&disk, &folder, "");
    process.disk().show();
    process.store(&process.response(process.state.now()));
    process.until_found().await;
    process.get_back(&disk, &folder, None).await;
    assert_eq!(process.find().await.variants.len(), 1);
    // A purge meanwhile is held against it.
    process.disk().close(Duration::from_secs(10)).await;
    process.purge(1, false);
    process.disk().reopen().await;
    assert!(process.find().await.variants.is_empty());
}

#[tokio::test]
async fn a_disk_that_another_process_made_its_own_comes_back_empty_and_is_used() {
    let (disk, folder) = (SimulatedDisk::default(), Folder::new());
    let process = Process::start(&disk, &folder, "");
    process.disk().show();
    process.store(&process.response(process.state.now()));
    process.until_found().await;
    process.get_back(&disk, &folder, Some("other")).await;
    assert!(process.find().await.variants.is_empty());
    for _ in 0..2000 {
        if process.disk().works_for(process.state.store.url_of(KEY)) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    process.store(&process.response(process.state.now()));
    process.until_found().await;
}

#[tokio::test]
async fn what_memory_learned_while_another_process_had_the_disk_is_not_forgotten() {
    let learn: [(&str, Learn); 3] = [
        ("replaced", |process| process.store(&process.response(process.state.now()))),
        ("removed", |process| {
            process.state.store.retain(process.state.digest(KEY), |_| false);
        }),
        ("unsafe", |process| drop(process.state.forget("example.com/a"))),
    ];
    for (what, learn) in learn {
        let (disk, folder) = (SimulatedDisk::default(), Folder::new());
        let process = Process::start(&disk, &folder, "");
        process.disk().show();
        process.store(&process.response(process.state.now()));
        process.until_found().await;
        process.disk().close(Duration::from_secs(10)).await;
        learn(&process);
        process.disk().reopen().await;
        assert!(process.find().await.variants.is_empty(), "{what}: it came back");
    }
}

/// A fill has just looked whether it was overtaken, an unsafe request comes and is answered, and the process
/// is killed.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_at_the_moment_of_an_unsafe_request_does_not_come_back_once_that_is_answered()
 {
    let (disk, folder) = (SimulatedDisk::default(), Folder::new());
    let process = Process::start(&disk, &folder, "");
    process.disk().show();
    process.disk().keep().await;
    let state = &process.state;
    let (digest, url) = (state.digest(KEY), state.store.url_of(KEY));
    let purpose = Purpose { url, ..Purpose::default() };
    let fill = Fill::new(purpose, 1 << 20);
    state.inflight.start_alone(digest, &fill);
    let is_answered = AtomicBool::new(false);
    let answered = || is_answered.load(Ordering::Acquire);
    let (begun, has_begun) = std::sync::mpsc::channel();
    let crashed = std::thread::scope(|scope| {
        let filling = scope.spawn(|| {
            let crashed = fill.storing(|| {
                assert!(!fill.is_revoked());
                begun.send(()).unwrap();
                wait(|| fill.is_revoked());
                // Its turn comes late. Nobody must be told before it is over.
                let until = std::time::Instant::now() + Duration::from_millis(200);
                wait(|| answered() || until <= std::time::Instant::now());
                let response = process.response(state.now());
                process.store(&response);
                wait(|| is_recoverable(&disk, &folder));
                let crashed = answered().then(|| disk.copy());
                state.store.remove(digest, &response);
                crashed
            });
            state.inflight.leave(digest, &fill);
            crashed
        });
        has_begun.recv().unwrap();
        let removal = state.forget("example.com/a");
        let settled = block_on(async {
            process.disk().settle(removal).await;
            Ok(disk.copy())
        });
        is_answered.store(true, Ordering::Release);
        filling.join().unwrap().unwrap_or(settled.unwrap())
    });
    let next = Process::start(&crashed, &folder, "");
    next.disk().show();
    assert!(next.find().await.variants.is_empty(), "it came back");
}

/// Whether a process that is started now, on a copy of the disk, finds the response.
fn is_recoverable(disk: &SimulatedDisk, folder: &Folder) -> bool {
    let found = block_on(async {
        let process = Process::start(&disk.copy(), folder, "");
        process.disk().show();
        Ok(process.find().await.variants.len())
    });
    found.unwrap() == 1
}

fn wait(is_so: impl Fn() -> bool) {
    while !is_so() {
        std::thread::yield_now();
    }
}
