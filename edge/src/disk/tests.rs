//! A node's disk store, on a disk that fails and whose clock is the test's.

#![allow(clippy::unwrap_used)]

use super::opening::open_in;
use super::*;
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
        let state = Arc::new(NodeState::with_disk(config, Some(open)).unwrap());
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
        self.disk().find(url, KEY, site, self.state.now()).await
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
    let (digest, url) = (state.digest(KEY), state.store.url_of(KEY));
    let found = process.until_found().await;
    process.disk().hit(&state.store, digest, url, &found, &found.variants[0], true);
    assert!(state.store.get(digest, KEY).is_some());
    state.store.retain(digest, |_| false);
    // The disk heard of the removal in the same step.
    assert!(process.find().await.variants.is_empty());
    process.disk().hit(&state.store, digest, url, &found, &found.variants[0], true);
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
