//! A store in two directories, one of which fails in all the ways that devices fail.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use weir_store::disk::Disk;
use weir_store::disk::simulated::{Faults, SimulatedDisk};
use weir_store::volume::{Body, Judged, Refused, Unread, Verdict};
use weir_store::{
    Began, Checkpoint, Geometry, NotDurable, ResponseHead, SetAside, Stamps, Status, Store,
    StoreDirectory, StoreOptions, StoreRemoved,
};

const URLS: u64 = 40;

/// Two disks, how often each was opened, and what the observer was told.
#[derive(Clone, Default)]
struct World {
    disks: [SimulatedDisk; 2],
    opened: [Arc<AtomicUsize>; 2],
    refuses: Arc<Mutex<Option<io::ErrorKind>>>,
    told: Arc<Mutex<Vec<(String, Status)>>>,
}

fn options() -> StoreOptions {
    StoreOptions {
        queue: 1 << 20,
        readers: 2,
        reads: 8,
        read_wait: Duration::from_millis(50),
        commit_wait: Duration::from_secs(20),
        hang: Duration::from_millis(400),
        retry: Duration::from_millis(20),
        settle: Duration::from_millis(10),
    }
}

impl World {
    fn directory(&self, number: usize) -> StoreDirectory {
        let (disk, opened) = (self.disks[number].clone(), Arc::clone(&self.opened[number]));
        let refuses = Arc::clone(&self.refuses);
        StoreDirectory {
            name: ["one", "two"][number].into(),
            geometry: Geometry { segment: 64 << 10, slots: 8, slice: 4 << 10 },
            open: Box::new(move || {
                opened.fetch_add(1, Ordering::SeqCst);
                match *refuses.lock().unwrap() {
                    Some(kind) => Err(kind.into()),
                    None => Ok(Arc::new(disk.clone()) as Arc<dyn Disk>),
                }
            }),
        }
    }

    fn open_with(&self, numbers: &[usize], options: StoreOptions) -> (Store, Vec<Began>) {
        let told = Arc::clone(&self.told);
        let observer = move |name: &str, status: &Status| {
            told.lock().unwrap().push((name.to_owned(), status.clone()));
        };
        let directories = numbers.iter().map(|number| self.directory(*number)).collect();
        Store::open(directories, options, Arc::new(observer)).unwrap()
    }

    fn open(&self) -> Store {
        self.open_with(&[0, 1], options()).0
    }

    /// An open store with a durable checkpoint.
    async fn applied(&self, options: StoreOptions) -> Store {
        let (store, _) = self.open_with(&[0, 1], options);
        store.commit(&store.checkpoint(&place())).await.unwrap();
        store
    }

    /// What was told of the first directory.
    fn told(&self) -> Vec<Status> {
        let told = self.told.lock().unwrap();
        told.iter().filter(|(name, _)| name == "one").map(|(_, status)| status.clone()).collect()
    }
}

fn place() -> Checkpoint {
    Checkpoint { applied: 5, checked: 5, ..Checkpoint::default() }
}

fn head(url: u64) -> ResponseHead {
    ResponseHead {
        url,
        key: format!("http://h/{url}").into(),
        selecting: Bytes::new(),
        site: "site".into(),
        tags: vec![],
        fields: Bytes::new(),
        stamps: Stamps { filled_at: 5, valid_at: 5, soft_at: 0 },
    }
}

fn body(url: u64) -> Bytes {
    vec![url as u8; 300].into()
}

fn put(store: &Store, url: u64) -> Result<(), Refused> {
    store.put(head(url), vec![body(url)], None)
}

/// Waits until something is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < end, "not so in 30 s: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn filled(world: &World, options: StoreOptions) -> Store {
    let store = world.applied(options).await;
    (0..URLS).for_each(|url| put(&store, url).unwrap());
    until("all are written", || store.held().0 == URLS as usize).await;
    store
}

/// The URLs that are found, each with its own body.
async fn found(store: &Store) -> Vec<u64> {
    let mut found = Vec::new();
    for url in 0..URLS {
        if let Ok(Some(stored)) = store.get(url, &head(url).key).await {
            assert_eq!(stored.body, Body::Whole(body(url)));
            found.push(url);
        }
    }
    found
}

fn status(store: &Store) -> Status {
    store.statuses()[0].1.clone()
}

/// URLs of the first directory, which is set aside, and of the second, which is not.
fn by_directory(store: &Store) -> (Vec<u64>, Vec<u64>) {
    (0..URLS).partition(|url| store.remove_key(*url, b"another key").is_at_risk)
}

/// The first directory works again, and begins empty.
async fn works_again(world: &World, store: &Store, others: &[u64]) {
    until("it works again", || status(store) == Status::Working).await;
    assert_eq!(found(store).await, others, "what it held is gone");
    for moment in store.checkpoint(&place()) {
        store.commit(&[moment]).await.unwrap();
    }
    (0..URLS).for_each(|url| put(store, url).unwrap());
    until("all are written", || store.held().0 == URLS as usize).await;
    assert_eq!(found(store).await.len(), URLS as usize);
    assert_eq!(world.told().last(), Some(&Status::Working));
    assert_eq!(world.told().len(), 3, "{:?}", world.told());
}

#[tokio::test]
async fn responses_are_spread_over_directories_and_found_again() {
    let world = World::default();
    let store = filled(&world, options()).await;
    assert_eq!(found(&store).await.len(), URLS as usize);
    let secret = store.secret();
    assert!(store.close(Duration::from_secs(30)).is_empty());
    drop(store);
    world.disks.iter().for_each(|disk| disk.lose_power(|| false));
    let (store, began) = world.open_with(&[0, 1], options());
    assert_eq!(store.secret(), secret);
    for began in began {
        let opened = began.opened.unwrap();
        assert!(opened.recovered > 5, "{}: {opened:?}", began.name);
        assert_eq!(opened.checkpoint, Some(place()));
    }
    assert_eq!(found(&store).await.len(), URLS as usize);
}

#[tokio::test]
async fn what_was_written_is_recoverable_soon_without_an_orderly_end() {
    let world = World::default();
    let store = filled(&world, options()).await;
    until("all is recoverable", || {
        let copy =
            World { disks: world.disks.each_ref().map(SimulatedDisk::copy), ..World::default() };
        copy.open().held().0 == URLS as usize
    })
    .await;
    drop(store);
}

#[tokio::test]
async fn what_was_closed_is_opened_again_with_what_it_holds_if_that_is_the_caller_s() {
    let world = World::default();
    let store = filled(&world, options()).await;
    assert!(store.close(Duration::from_secs(30)).is_empty());
    assert_eq!(found(&store).await, [0; 0]);
    // Another process has the directories in between.
    let (other, _) = world.open_with(&[0, 1], options());
    assert_eq!(found(&other).await.len(), URLS as usize);
    assert!(other.close(Duration::from_secs(30)).is_empty());
    let began = store.reopen(|kept| *kept == place()).unwrap();
    assert!(began.iter().all(|began| began.opened.is_some()), "{began:?}");
    assert_eq!(found(&store).await.len(), URLS as usize);
    // And makes them its own.
    assert!(store.close(Duration::from_secs(30)).is_empty());
    let (other, _) = world.open_with(&[0, 1], options());
    let its = Checkpoint { member: Some("other".into()), ..place() };
    other.commit(&other.checkpoint(&its)).await.unwrap();
    assert!(other.close(Duration::from_secs(30)).is_empty());
    let began = store.reopen(|kept| *kept == place()).unwrap();
    assert!(began.iter().all(|began| began.opened.is_none()), "{began:?}");
    until("both are open", || store.statuses().iter().all(|(_, is)| *is == Status::Working)).await;
    assert_eq!(found(&store).await, [0; 0]);
    (0..URLS).for_each(|url| put(&store, url).unwrap());
    until("all are written", || store.held().0 == URLS as usize).await;
    // What is open stays so.
    assert!(store.reopen(|_| false).unwrap().iter().all(|began| began.opened.is_none()));
    assert_eq!(found(&store).await.len(), URLS as usize);
}

#[tokio::test]
async fn it_is_counted_how_long_devices_take() {
    let world = World::default();
    let store = filled(&world, options()).await;
    let before = store.latencies();
    assert!(before.writes.count() > 0 && before.syncs.count() > 0, "{before:?}");
    assert_eq!(found(&store).await.len(), URLS as usize);
    assert_eq!(store.latencies().reads.count(), before.reads.count(), "all was ready");
    let slow = Some(Duration::from_millis(5));
    world.disks.iter().for_each(|disk| {
        disk.set_faults(Faults { cold: true, slow, ..Faults::default() });
    });
    assert!(store.get(0, &head(0).key).await.unwrap().is_some());
    let after = store.latencies();
    assert!(after.reads.count() > before.reads.count(), "{after:?}");
    let (waited, slow) = (after.reads.sum() - before.reads.sum(), Duration::from_millis(5));
    assert!(waited >= slow, "{waited:?}");
}

#[tokio::test]
async fn directories_at_another_place_begin_empty() {
    let world = World::default();
    let store = filled(&world, options()).await;
    assert!(store.close(Duration::from_secs(30)).is_empty());
    drop(store);
    // Its URLs would be sought in other directories, and be found again when these return.
    let (store, began) = world.open_with(&[1], options());
    let why = began[0].opened.as_ref().unwrap().emptied;
    assert_eq!(why, Some("the store had other directories"));
    assert_eq!(found(&store).await, [0; 0]);
    assert!(store.close(Duration::from_secs(30)).is_empty());
    drop(store);
    let (store, began) = world.open_with(&[0, 1], options());
    // Which checkpoint still holds the node knows from control: one of them was not there meanwhile.
    let opened = began[0].opened.as_ref().unwrap();
    assert_eq!((opened.emptied, &opened.checkpoint), (None, &Some(place())));
    store.clear("one");
    until("both are open", || store.statuses().iter().all(|(_, is)| *is == Status::Working)).await;
    assert_eq!(found(&store).await, [0; 0]);
}

#[tokio::test]
async fn a_device_that_hangs_is_set_aside_and_not_waited_for() {
    let world = World::default();
    let store = filled(&world, options()).await;
    world.disks[0].set_faults(Faults { hangs: true, ..Faults::default() });
    let begun = Instant::now();
    let mut late = 0;
    for url in 0..URLS {
        late += u32::from(matches!(store.get(url, &head(url).key).await, Err(Unread::Late)));
    }
    assert!(late > 0 && begun.elapsed() < Duration::from_secs(20), "{late} late");
    until("it is set aside", || status(&store) == Status::SetAside(SetAside::Hangs)).await;
    let (lost, others) = by_directory(&store);
    assert_eq!(found(&store).await, others);
    assert_eq!(put(&store, lost[0]), Err(Refused::Failed));
    assert_eq!(put(&store, others[0]), Ok(()));
    let removed = store.remove_url(lost[0]);
    assert_eq!(removed, StoreRemoved { is_at_risk: true, ..StoreRemoved::default() });
    // What hangs is not tried again, however often its time has come.
    tokio::time::sleep(10 * options().retry).await;
    assert_eq!(world.opened[0].load(Ordering::SeqCst), 1);
    assert!(store.close(Duration::from_secs(30)).is_empty(), "nobody waits for what is set aside");
    world.disks[0].set_faults(Faults::default());
}

#[tokio::test]
async fn a_device_that_answers_again_begins_empty() {
    let world = World::default();
    let store = filled(&world, options()).await;
    world.disks[0].set_faults(Faults { hangs: true, ..Faults::default() });
    until("it is set aside", || status(&store) == Status::SetAside(SetAside::Hangs)).await;
    let (_, others) = by_directory(&store);
    world.disks[0].set_faults(Faults::default());
    works_again(&world, &store, &others).await;
}

#[tokio::test]
async fn a_device_that_hangs_from_the_first_is_no_reason_to_wait() {
    let world = World::default();
    world.disks[0].set_faults(Faults { hangs: true, ..Faults::default() });
    let begun = Instant::now();
    let (store, began) = world.open_with(&[0, 1], options());
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(began[0].opened.is_none() && began[1].opened.is_some());
    assert_eq!(status(&store), Status::SetAside(SetAside::Hangs));
    tokio::time::sleep(10 * options().retry).await;
    assert_eq!(world.opened[0].load(Ordering::SeqCst), 1, "one thread waits for it, not more");
    world.disks[0].set_faults(Faults::default());
    until("it works", || status(&store) == Status::Working).await;
}

#[tokio::test]
async fn a_removal_that_cannot_be_made_durable_in_time_sets_the_directory_aside() {
    let world = World::default();
    let patient = StoreOptions {
        commit_wait: Duration::from_secs(2),
        hang: Duration::from_secs(600),
        ..options()
    };
    let store = filled(&world, patient).await;
    world.disks[0].set_faults(Faults { hangs: true, ..Faults::default() });
    let moments = store.checkpoint(&place());
    assert_eq!(store.commit(&moments).await, Err(NotDurable::Late));
    assert_eq!(status(&store), Status::SetAside(SetAside::Hangs));
    assert_eq!(store.commit(&moments).await, Err(NotDurable::SetAside));
    world.disks[0].set_faults(Faults::default());
}

/// Sets faults on the first directory, and reads and writes until it is set aside; how.
async fn broken(world: &World, store: &Store, faults: Faults) -> SetAside {
    world.disks[0].set_faults(faults);
    let mut url = 0;
    let end = Instant::now() + Duration::from_secs(30);
    while Instant::now() < end {
        if let Status::SetAside(why) = status(store) {
            return why;
        }
        url = (url + 1) % URLS;
        let miss = store.get(url, &head(url).key).await;
        assert!(
            matches!(miss, Ok(_) | Err(Unread::Disk(_) | Unread::Gone | Unread::Late)),
            "{miss:?}"
        );
        let _full = put(store, URLS + url);
    }
    panic!("it is still used");
}

#[tokio::test]
async fn a_device_that_fails_is_set_aside_with_its_error_and_begins_empty_later() {
    for (faults, error) in [
        (
            Faults { reads: Some(io::ErrorKind::InvalidData), ..Faults::default() },
            "16 reads in a row failed",
        ),
        (
            Faults { writes: Some(io::ErrorKind::StorageFull), ..Faults::default() },
            "no storage space",
        ),
        (
            Faults { writes: Some(io::ErrorKind::ReadOnlyFilesystem), ..Faults::default() },
            "read-only filesystem or storage medium",
        ),
        (Faults { syncs: Some(io::ErrorKind::TimedOut), ..Faults::default() }, "timed out"),
    ] {
        let world = World::default();
        let store = filled(&world, options()).await;
        // It is refused for a while after that: that is no news.
        *world.refuses.lock().unwrap() = Some(io::ErrorKind::PermissionDenied);
        let why = broken(&world, &store, faults).await;
        assert_eq!(why, SetAside::Failed(error.into()));
        let tried = world.opened[0].load(Ordering::SeqCst);
        until("it is tried again", || world.opened[0].load(Ordering::SeqCst) > tried + 2).await;
        assert_eq!(world.told(), [Status::Working, Status::SetAside(why)], "each is told once");
        world.disks[0].set_faults(Faults::default());
        *world.refuses.lock().unwrap() = None;
        until("it works again", || status(&store) == Status::Working).await;
    }
}

#[tokio::test]
async fn a_slow_device_costs_misses_and_stays_in_use() {
    let world = World::default();
    let store = Arc::new(
        filled(&world, StoreOptions { hang: Duration::from_secs(600), ..options() }).await,
    );
    let slow = Faults { slow: Some(Duration::from_millis(300)), ..Faults::default() };
    world.disks.iter().for_each(|disk| disk.set_faults(slow.clone()));
    let reads: Vec<_> = (0..URLS)
        .map(|url| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.get(url, &head(url).key).await })
        })
        .collect();
    let (mut late, mut busy) = (0, 0);
    for read in reads {
        match read.await.unwrap() {
            Err(Unread::Late) => late += 1,
            Err(Unread::Busy) => busy += 1,
            other => panic!("{other:?}"),
        }
    }
    // At most 8 wait, for each directory, and 2 are with the readers.
    assert!(busy >= 20 && late > 0, "{busy} busy, {late} late");
    let refused = (URLS..100_000).find_map(|url| put(&store, url).err());
    assert_eq!(refused, Some(Refused::NoRoom), "nobody waits for it");
    assert_eq!(status(&store), Status::Working);
    world.disks.iter().for_each(|disk| disk.set_faults(Faults::default()));
    until("it is found again", || store.held().0 > URLS as usize).await;
}

#[tokio::test]
async fn whoever_looks_waits_in_its_own_thread_and_no_longer_than_a_read() {
    let world = World::default();
    let store = filled(&world, StoreOptions { hang: Duration::from_secs(600), ..options() }).await;
    let look = || store.find(1, &head(1).key)[0].peek_blocking(&head(1).key);
    assert_eq!(look().unwrap().body, Body::Whole(body(1)));
    let slow = Faults { slow: Some(Duration::from_millis(300)), ..Faults::default() };
    world.disks.iter().for_each(|disk| disk.set_faults(slow.clone()));
    assert!(matches!(look(), Err(Unread::Late)));
    world.disks.iter().for_each(|disk| disk.set_faults(Faults::default()));
    until("it is read again", || look().is_ok()).await;
}

#[tokio::test]
async fn a_walk_visits_all_directories_and_passes_over_one_that_is_set_aside() {
    let world = World::default();
    let store = filled(&world, options()).await;
    let even: Arc<dyn Fn(&Judged<'_>) -> Verdict + Send + Sync> =
        Arc::new(|judged| if judged.url % 2 == 0 { Verdict::Remove } else { Verdict::Keep });
    let mut walk = store.walk(6);
    while !walk.is_over() {
        assert!(store.step(&mut walk, &even).await);
    }
    assert_eq!(walk.removed(), URLS / 2);
    assert!(found(&store).await.iter().all(|url| url % 2 == 1));
    world.disks[0].set_faults(Faults { hangs: true, ..Faults::default() });
    let mut walk = store.walk(7);
    while !walk.is_over() {
        store.step(&mut walk, &even).await;
    }
    world.disks[0].set_faults(Faults::default());
}

#[tokio::test]
async fn a_directory_that_is_cleared_begins_empty() {
    let world = World::default();
    let store = filled(&world, options()).await;
    store.clear("one");
    let (_, others) = by_directory(&store);
    works_again(&world, &store, &others).await;
}

#[test]
fn what_cannot_be_a_store_is_refused() {
    let world = World::default();
    let none = Store::open(Vec::new(), options(), Arc::new(|_, _| {}));
    assert_eq!(none.err().unwrap().to_string(), "a store has 1 to 1024 directories, not 0");
    let geometry = Geometry { slots: 1, ..world.directory(1).geometry };
    let directory = StoreDirectory { geometry, ..world.directory(1) };
    let error = Store::open(vec![directory], options(), Arc::new(|_, _| {})).err().unwrap();
    assert!(error.to_string().starts_with("two: no store can have these sizes: "), "{error}");
}
