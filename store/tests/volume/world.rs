//! A world around a volume: a node that fills, purges and walks, and a log that may be rolled back.
//! It knows what must never be shown again, and checks every answer.

use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use weir_store::disk::simulated::{Faults, SimulatedDisk};
use weir_store::volume::{Body, Opened, Refused, Removed, StoredResponse, Unread, Verdict, Walk};
use weir_store::{Checkpoint, Geometry, Moment, Options, ResponseHead, Stamps, Volume};

pub(crate) const SEGMENT: u32 = 16 << 10;
pub(crate) const SLICE: u32 = 4 << 10;

pub(crate) fn options() -> Options {
    Options::new(Geometry { segment: SEGMENT, slots: 8, slice: SLICE }, 64 << 10)
}

/// A number from the environment.
pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// A source of numbers that a seed repeats.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5851_F42D_4C95_7F2D)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) % bound.max(1)
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A response that was once handed to the store.
#[derive(Clone, Debug)]
struct Version {
    number: u64,
    tag: u64,
    /// When its fetch began, in steps of the world.
    begun: u64,
    length: usize,
    /// Since when it must not be shown in this process.
    is_dead: bool,
    /// The moment that makes that outlive a crash.
    dies_at: Option<Moment>,
    /// It must not be shown by any process.
    is_banned: bool,
}

impl Version {
    fn new(number: u64, tag: u64, begun: u64, length: usize) -> Self {
        Self { number, tag, begun, length, is_dead: false, dies_at: None, is_banned: false }
    }
}

#[derive(Clone, Debug)]
struct Purge {
    seq: u64,
    tag: u64,
    at: u64,
}

/// Seqs of what is on its way, as a node holds them.
type Held = Arc<Mutex<BTreeMap<u64, usize>>>;

struct Hold(Held, u64);

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.0.lock().unwrap();
        let count = held.get_mut(&self.1).unwrap();
        *count -= 1;
        if *count == 0 {
            held.remove(&self.1);
        }
    }
}

/// What a node gets wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plant {
    /// The checked mark is raised before the walk removed what it says is gone.
    MarkBeforeRemoval,
    /// The mark of a walk leaves out what is on its way.
    MarkAboveStamps,
}

pub(crate) struct World {
    pub(crate) disk: SimulatedDisk,
    pub(crate) volume: Arc<Volume>,
    pub(crate) random: Random,
    step: u64,
    urls: u64,
    versions: HashMap<(u64, u64), Vec<Version>>,
    next: u64,
    purges: Vec<Purge>,
    applied: u64,
    /// Purges up to here were forgotten.
    checked: u64,
    held: Held,
    walk: Option<(Walk, u64)>,
    pub(crate) plant: Option<Plant>,
    pub(crate) found: u64,
    pub(crate) extended: u64,
    pub(crate) added: u64,
    pub(crate) emptied: u64,
    pub(crate) recovered: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let disk = SimulatedDisk::default();
        let (volume, _) = Volume::open(Arc::new(disk.clone()), options()).unwrap();
        let mut random = Random::new(seed);
        let urls = 1 + random.below(40);
        Self {
            disk,
            volume: Arc::new(volume),
            random,
            step: 0,
            urls,
            versions: HashMap::new(),
            next: 0,
            purges: Vec::new(),
            applied: 0,
            checked: 0,
            held: Held::default(),
            walk: None,
            plant: None,
            found: 0,
            extended: 0,
            added: 0,
            emptied: 0,
            recovered: 0,
        }
    }

    fn key(url: u64, key: u64) -> Bytes {
        format!("{}://host/{url}", if key == 0 { "http" } else { "https" }).into()
    }

    fn digest(url: u64) -> u64 {
        url.wrapping_add(1).wrapping_mul(0xD6E8_FEB8_6659_FD93)
    }

    fn body(version: u64, length: usize) -> Vec<u8> {
        let mut random = Random::new(version ^ 0xb0d7);
        (0..length).map(|_| random.below(256) as u8).collect()
    }

    fn any_key(&mut self) -> (u64, u64) {
        (self.random.below(self.urls), self.random.below(2))
    }

    fn die(&mut self, of: impl Fn(u64, u64) -> bool, moment: Option<Moment>) {
        for ((url, key), versions) in &mut self.versions {
            if of(*url, *key) {
                for version in versions.iter_mut().filter(|version| !version.is_dead) {
                    version.is_dead = true;
                    version.dies_at = moment;
                    version.is_banned = moment.is_none();
                }
            }
        }
    }

    /// One thing that a node does, or that happens to it.
    pub(crate) fn step(&mut self) {
        self.step += 1;
        match self.random.below(100) {
            0..29 => self.put(),
            29 => self.add(),
            30..40 => drop(self.volume.work(self.step as usize % 9000)),
            40..44 => self.settle(),
            44..60 => self.look(),
            60..66 => self.purge(),
            66..72 => self.unsafe_request(),
            72..82 => self.walk(),
            82..88 => self.checkpoint(),
            88..91 => self.object(),
            91 => self.extend(),
            92..95 => self.commit(),
            _ => drop(self.volume.work(usize::MAX)),
        }
    }

    fn settle(&mut self) {
        let moment = self.volume.checkpoint(&self.place());
        if self.volume.settle().is_ok() {
            self.committed(moment);
        }
    }

    fn stamps(&mut self) -> (Stamps, Hold, u64) {
        let at = self.applied;
        *self.held.lock().unwrap().entry(at).or_default() += 1;
        let hold = Hold(Arc::clone(&self.held), at);
        (Stamps { filled_at: at, valid_at: at, soft_at: 0 }, hold, self.step)
    }

    fn head(&mut self, url: u64, key: u64, tag: u64, stamps: Stamps) -> ResponseHead {
        self.next += 1;
        ResponseHead {
            url: Self::digest(url),
            key: Self::key(url, key),
            selecting: Bytes::new(),
            site: "site".into(),
            tags: vec![format!("t{tag}").into()],
            fields: self.next.to_le_bytes().to_vec().into(),
            stamps,
        }
    }

    fn note(&mut self, url: u64, key: u64, version: Version) {
        self.versions.entry((url, key)).or_default().push(version);
    }

    /// A newer response is known: what is stored of its key is not live any more.
    fn supersede(&mut self, url: u64, key: u64, head: &ResponseHead) {
        let Removed { moment, .. } = self.volume.supersede(head.url, &head.key, &head.selecting);
        self.die(|of, at| (of, at) == (url, key), moment);
    }

    fn put(&mut self) {
        let (url, key) = self.any_key();
        let (stamps, hold, begun) = self.stamps();
        let (tag, length) = (self.random.below(5), self.random.below(2500) as usize);
        // Purges may come while it is fetched.
        while self.random.chance(10) {
            self.purge();
        }
        let head = self.head(url, key, tag, stamps);
        let version = Version::new(self.next, tag, begun, length);
        self.supersede(url, key, &head);
        let body = Self::body(version.number, length);
        let half = length / 2;
        let body =
            vec![Bytes::copy_from_slice(&body[..half]), Bytes::copy_from_slice(&body[half..])];
        match self.volume.put(head, body, Some(Box::new(hold))) {
            Ok(()) => self.note(url, key, version),
            Err(why) => assert!(matches!(why, Refused::NoRoom | Refused::Failed), "{why}"),
        }
    }

    fn object(&mut self) {
        let (url, key) = self.any_key();
        let (stamps, hold, begun) = self.stamps();
        let (tag, length) =
            (self.random.below(5), SLICE as usize + self.random.below(9000) as usize);
        let head = self.head(url, key, tag, stamps);
        let version = Version::new(self.next, tag, begun, length);
        self.supersede(url, key, &head);
        let body = Self::body(version.number, length);
        let writer = self.volume.begin_object(head.url, &head.key, &head.selecting);
        let some = self.random.below(4);
        for (number, slice) in body.chunks(SLICE as usize).enumerate() {
            // Some are left to an extension.
            if number as u64 == some {
                continue;
            }
            if writer.slice(number as u32, Bytes::copy_from_slice(slice)).is_err() {
                return;
            }
            if self.random.chance(30) {
                self.volume.work(usize::MAX);
            }
        }
        if writer.commit(head, length as u64, Some(Box::new(hold))).is_ok() {
            self.note(url, key, version);
        }
    }

    /// Fetches a slice of a body that is stored.
    fn extend(&mut self) {
        let (url, key) = self.any_key();
        let Ok(Some(stored)) = self.volume.get(Self::digest(url), &Self::key(url, key)) else {
            return;
        };
        let Body::Sliced { objects, length } = &stored.body else { return };
        let number = u64::from_le_bytes(stored.head.fields.as_ref().try_into().unwrap());
        let mut head = stored.head;
        let begun = self.volume.extend_object(head.url, &head.key, &head.selecting, objects);
        let Ok(writer) = begun else { return };
        let body = Self::body(number, *length as usize);
        for (number, slice) in body.chunks(SLICE as usize).enumerate() {
            while self.random.chance(20) {
                self.step();
            }
            let is_missing = self.volume.find_slice(head.url, objects, number as u32).is_none();
            if is_missing {
                let _refused = writer.slice(number as u32, Bytes::copy_from_slice(slice));
            }
        }
        let Some(hold) = self.judged(&mut head) else { return };
        if writer.commit(head, *length, Some(Box::new(hold))).is_ok() {
            self.extended += 1;
        }
    }

    /// Judges a head by all purges up to now: a walk that ran since it was read may have ended.
    fn judged(&mut self, head: &mut ResponseHead) -> Option<Hold> {
        let (stamps, hold, _) = self.stamps();
        let is_purged = self.purges.iter().any(|purge| {
            purge.seq > head.stamps.valid_at && *head.tags[0] == *format!("t{}", purge.tag)
        });
        head.stamps.valid_at = stamps.valid_at;
        (!is_purged).then_some(hold)
    }

    /// Fetches slices of a body that is stored which its head covers. What comes meanwhile may take the
    /// head, or store another one.
    fn add(&mut self) {
        let (url, key) = self.any_key();
        let Ok(Some(stored)) = self.volume.get(Self::digest(url), &Self::key(url, key)) else {
            return;
        };
        let Body::Sliced { objects, length } = &stored.body else { return };
        let number = u64::from_le_bytes(stored.head.fields.as_ref().try_into().unwrap());
        let object = objects[objects.len() - 1];
        let body = Self::body(number, *length as usize);
        for (number, slice) in body.chunks(SLICE as usize).enumerate() {
            while self.random.chance(20) {
                self.step();
            }
            // One that is there may be fetched twice.
            let (digest, number) = (stored.head.url, number as u32);
            let is_there = self.volume.has_slice(digest, objects, number);
            let slice = Bytes::copy_from_slice(slice);
            if (!is_there || self.random.chance(10))
                && self.volume.add_slice(digest, object, number, slice, None).is_ok()
            {
                self.added += 1;
            }
        }
        // Other terms, for example. The node knows that it is still the newest.
        let again = self.volume.get(Self::digest(url), &Self::key(url, key));
        let Ok(Some(StoredResponse { mut head, body: Body::Sliced { objects, .. }, .. })) = again
        else {
            return;
        };
        if head.fields == stored.head.fields
            && self.random.chance(50)
            && let Some(hold) = self.judged(&mut head)
        {
            let _refused = self.volume.replace_head(head, &objects, *length, Some(Box::new(hold)));
        }
    }

    fn unsafe_request(&mut self) {
        let (url, _) = self.any_key();
        let Removed { moment, .. } = self.volume.remove_url(Self::digest(url));
        self.die(|of, _| of == url, moment);
        assert!(!self.volume.has_url(Self::digest(url)));
        // Answered once that is durable.
        if let Some(moment) = moment
            && self.random.chance(50)
            && self.volume.commit(moment).is_ok()
        {
            self.committed(moment);
        }
    }

    fn committed(&mut self, durable: Moment) {
        for version in self.versions.values_mut().flatten() {
            if version.dies_at.is_some_and(|at| at <= durable) {
                version.is_banned = true;
            }
        }
    }

    fn purge(&mut self) {
        self.step += 1;
        self.applied += 1;
        let tag = self.random.below(5);
        self.purges.push(Purge { seq: self.applied, tag, at: self.step });
        if self.random.chance(70) {
            self.checkpoint();
        }
    }

    fn commit(&mut self) {
        let moment = self.volume.checkpoint(&self.place());
        if self.volume.commit(moment).is_ok() {
            self.committed(moment);
        }
    }

    fn place(&self) -> Checkpoint {
        Checkpoint {
            log: Some("log".into()),
            applied: self.applied,
            checked: self.checked,
            ..Checkpoint::default()
        }
    }

    fn checkpoint(&mut self) {
        self.commit();
    }

    fn walk(&mut self) {
        let (mut walk, mark) = match self.walk.take() {
            Some(walk) => walk,
            None => {
                let held = self.held.lock().unwrap();
                let lowest = held.keys().next().copied().unwrap_or(self.applied);
                let mark = match self.plant {
                    Some(Plant::MarkAboveStamps) => self.applied,
                    _ => lowest,
                };
                if self.plant == Some(Plant::MarkBeforeRemoval) {
                    self.checked = self.checked.max(mark);
                }
                (self.volume.walk(self.applied), mark)
            }
        };
        let upto = walk.upto();
        let purges = &self.purges;
        self.volume.step(&mut walk, |judged| {
            let is_purged = purges.iter().any(|purge| {
                purge.seq <= upto
                    && purge.seq > judged.stamps.valid_at
                    && *judged.tags[0] == *format!("t{}", purge.tag)
            });
            if is_purged { Verdict::Remove } else { Verdict::Keep }
        });
        if walk.is_over() {
            self.checked = self.checked.max(mark);
            if self.random.chance(50) {
                self.checkpoint();
            }
        } else {
            self.walk = Some((walk, mark));
        }
    }

    /// Looks one response up, as a node does.
    fn look(&mut self) {
        let (url, key) = self.any_key();
        self.check(url, key);
    }

    pub(crate) fn check_all(&mut self) {
        for url in 0..self.urls {
            (0..2).for_each(|key| self.check(url, key));
        }
    }

    fn check(&mut self, url: u64, key: u64) {
        let stored = match self.volume.get(Self::digest(url), &Self::key(url, key)) {
            Ok(Some(stored)) => stored,
            Ok(None) | Err(Unread::Gone | Unread::Damaged | Unread::Disk(_)) => return,
            Err(other) => panic!("{other}"),
        };
        let number = u64::from_le_bytes(stored.head.fields.as_ref().try_into().unwrap());
        let versions = self.versions.get(&(url, key)).map_or(&[][..], |versions| &versions[..]);
        let version = versions.iter().find(|version| version.number == number);
        let version = version.unwrap_or_else(|| panic!("{url} {key}: {number} was never there"));
        let tag = format!("t{}", version.tag);
        assert_eq!(*stored.head.tags[0], *tag);
        self.check_body(version, &stored);
        assert!(!version.is_dead, "{url} {key}: {number} was replaced or removed in this process");
        assert!(!version.is_banned, "{url} {key}: {number} was removed for good");
        // As the node judges it: by the purges that it did not forget.
        let known = self.purges.iter().filter(|purge| purge.seq > self.checked);
        let is_shown = known
            .clone()
            .all(|purge| purge.tag != version.tag || purge.seq <= stored.head.stamps.valid_at);
        if !is_shown {
            return;
        }
        let missed =
            self.purges.iter().find(|purge| purge.tag == version.tag && purge.at > version.begun);
        assert!(
            missed.is_none(),
            "{url} {key}: {version:?} is shown as {stored:?} after {missed:?}"
        );
        self.found += 1;
    }

    fn check_body(&self, version: &Version, stored: &StoredResponse) {
        let expected = Self::body(version.number, version.length);
        match &stored.body {
            Body::Whole(body) => assert!(*body == expected, "a wrong byte in {version:?}"),
            Body::Cached(_) => panic!("nothing of this disk is in the page cache"),
            Body::Sliced { objects, length } => {
                assert_eq!(*length, version.length as u64);
                for (number, slice) in expected.chunks(SLICE as usize).enumerate() {
                    let read = self.volume.get_slice(stored.head.url, objects, number as u32);
                    if let Ok(Some(read)) = read {
                        assert!(read == slice, "a wrong byte in slice {number} of {version:?}");
                    }
                }
            }
        }
    }

    /// The process ends in the midst of it, and another one begins. `power` says for each sector that
    /// was not synced whether it is on the disk: without it, the process is killed.
    pub(crate) fn crash(&mut self, keeps_power: bool) {
        if !keeps_power {
            let keep = [0, 10, 50, 90, 100][self.random.below(5) as usize];
            let random = &mut self.random;
            self.disk.lose_power(|| random.chance(keep));
        }
        self.reopen();
    }

    /// Opens the store again.
    pub(crate) fn reopen(&mut self) {
        self.walk = None;
        let disk = Arc::new(self.disk.clone());
        let (volume, opened) = Volume::open(disk, options()).unwrap();
        drop(std::mem::replace(&mut self.volume, Arc::new(volume)));
        self.held = Held::default();
        self.opened(&opened);
    }

    fn opened(&mut self, opened: &Opened) {
        self.recovered += opened.recovered;
        let checkpoint = opened.checkpoint.clone().unwrap_or_default();
        if opened.checkpoint.is_none() {
            self.emptied += u64::from(opened.emptied.is_some());
            assert!(opened.emptied.is_none() || self.volume.held() == (0, 0));
        }
        // A process does not know what the one before did and did not make durable.
        for version in self.versions.values_mut().flatten() {
            version.is_dead = version.is_banned;
            version.dies_at = None;
        }
        assert!(checkpoint.applied <= self.applied && checkpoint.checked <= checkpoint.applied);
        // The log may have been restored to any state that the node cannot tell from its own.
        if self.random.chance(30) {
            let lost = self.random.below(1 + self.applied - checkpoint.applied);
            self.applied -= lost;
            self.purges.retain(|purge| purge.seq <= self.applied);
        }
        self.checked = checkpoint.checked;
    }

    /// The same node after a restart on this disk.
    pub(crate) fn on(&self, disk: SimulatedDisk) -> Self {
        let (volume, opened) = Volume::open(Arc::new(disk.clone()), options()).unwrap();
        let mut world = Self {
            disk,
            volume: Arc::new(volume),
            random: Random::new(self.step),
            versions: self.versions.clone(),
            purges: self.purges.clone(),
            held: Held::default(),
            walk: None,
            plant: None,
            found: 0,
            extended: 0,
            added: 0,
            emptied: 0,
            recovered: 0,
            ..*self
        };
        world.opened(&opened);
        world
    }

    /// An orderly end and a new beginning.
    pub(crate) fn restart(&mut self) {
        self.commit();
        self.volume.close().unwrap();
        self.disk.lose_power(|| false);
        self.reopen();
    }

    pub(crate) fn omit(&self, omitted: &'static str) {
        self.disk.set_faults(Faults { omitted: Some(omitted), ..Faults::default() });
    }
}
