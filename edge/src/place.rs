//! The places of a member of a pool, and the clients for whose sake answers hold them. If others wait for
//! a place, a client that is far too slow gives its up.

use std::cmp::Reverse;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// A client that takes the body of an answer.
pub(crate) trait PlaceReader: Debug + Send + Sync {
    /// Bytes a second that it takes, if the answer waits for it and has done so for long enough to judge.
    fn rate(&self, now: Instant) -> Option<u64>;

    /// Ends the answer, visibly to the client.
    fn shed(&self);
}

/// How often all of them are looked at: a crowd that waits asks as often as it is large.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Those of one member.
#[derive(Debug, Default)]
pub(crate) struct PlaceReaders(Mutex<Listed>);

/// The lock is held for a few moves.
#[derive(Debug, Default)]
struct Listed {
    readers: Vec<Weak<dyn PlaceReader>>,
    /// Those that the last look found too slow, the slowest last.
    slow: Vec<Weak<dyn PlaceReader>>,
    looked: Option<Instant>,
}

impl PlaceReaders {
    /// A client begins to take a body.
    pub(crate) fn enter(&self, reader: Weak<dyn PlaceReader>) {
        let readers = &mut self.lock().readers;
        // As many as there are places, and those that ended since.
        if readers.len() == readers.capacity() {
            readers.retain(|reader| reader.strong_count() > 0);
        }
        readers.push(reader);
    }

    /// Sheds the slowest client that takes less than `floor` bytes a second, of those that a look found
    /// within the last second; whether there was one.
    pub(crate) fn shed_slowest(&self, floor: u64, now: Instant) -> bool {
        self.shed_known(floor, now) || (self.look(floor, now) && self.shed_known(floor, now))
    }

    /// Sheds the slowest of those that are known to be slow, unless it is no longer.
    fn shed_known(&self, floor: u64, now: Instant) -> bool {
        loop {
            let Some(reader) = self.lock().slow.pop() else { return false };
            let Some(reader) = reader.upgrade() else { continue };
            if reader.rate(now).is_some_and(|rate| rate < floor) {
                reader.shed();
                return true;
            }
        }
    }

    /// Finds those that are too slow, if nobody has looked for [`LOOK_EVERY`]; whether it looked.
    fn look(&self, floor: u64, now: Instant) -> bool {
        let readers: Vec<Arc<dyn PlaceReader>> = {
            let mut listed = self.lock();
            let is_due = |at: Instant| now.saturating_duration_since(at) >= LOOK_EVERY;
            if !listed.looked.is_none_or(is_due) {
                return false;
            }
            listed.looked = Some(now);
            listed.readers.iter().filter_map(Weak::upgrade).collect()
        };
        // Not while the list is locked: each has a lock of its own.
        let rated = readers.iter().filter_map(|reader| Some((reader.rate(now)?, reader)));
        let mut slow: Vec<_> = rated.filter(|(rate, _)| *rate < floor).collect();
        slow.sort_by_key(|(rate, _)| Reverse(*rate));
        self.lock().slow = slow.into_iter().map(|(_, reader)| Arc::downgrade(reader)).collect();
        true
    }

    fn lock(&self) -> MutexGuard<'_, Listed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

    /// Its rate, whether it was shed, and how often it was asked for its rate.
    #[derive(Debug, Default)]
    struct Client {
        rate: AtomicU64,
        shed: AtomicBool,
        asked: AtomicUsize,
    }

    impl PlaceReader for Client {
        fn rate(&self, _: Instant) -> Option<u64> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            (!self.shed.load(Ordering::Relaxed)).then(|| self.rate.load(Ordering::Relaxed))
        }

        fn shed(&self) {
            self.shed.store(true, Ordering::Relaxed);
        }
    }

    fn of<const N: usize>(rates: [u64; N]) -> (PlaceReaders, [Arc<Client>; N]) {
        let readers = PlaceReaders::default();
        let clients = rates.map(|rate| Arc::new(Client { rate: rate.into(), ..Client::default() }));
        for client in &clients {
            let weak: Weak<Client> = Arc::downgrade(client);
            readers.enter(weak);
        }
        (readers, clients)
    }

    fn shed<const N: usize>(clients: &[Arc<Client>; N]) -> [bool; N] {
        clients.each_ref().map(|client| client.shed.load(Ordering::Relaxed))
    }

    #[test]
    fn the_slowest_go_first_and_those_above_the_floor_never() {
        let (readers, clients) = of([9_000, 4_000, 0, 8_192]);
        let now = Instant::now();
        assert!(readers.shed_slowest(8_192, now));
        assert_eq!(shed(&clients), [false, false, true, false]);
        assert!(readers.shed_slowest(8_192, now));
        assert_eq!(shed(&clients), [false, true, true, false]);
        assert!(!readers.shed_slowest(8_192, now));
        assert!(!readers.shed_slowest(8_192, now + LOOK_EVERY));
    }

    #[test]
    fn a_crowd_that_waits_looks_once_a_second() {
        let (readers, clients) = of([9_000]);
        let now = Instant::now();
        let asked = || clients[0].asked.load(Ordering::Relaxed);
        assert!((0..1_000).all(|_| !readers.shed_slowest(8_192, now)));
        assert_eq!(asked(), 1);
        assert!(!readers.shed_slowest(8_192, now + LOOK_EVERY));
        assert_eq!(asked(), 2);
    }

    #[test]
    fn one_that_has_become_faster_since_the_look_stays() {
        let (readers, clients) = of([4_000, 0]);
        let now = Instant::now();
        assert!(readers.shed_slowest(8_192, now));
        clients[0].rate.store(10_000, Ordering::Relaxed);
        assert!(!readers.shed_slowest(8_192, now));
        assert_eq!(shed(&clients), [false, true]);
    }
}
