//! The places of a member of a pool, and the clients for whose sake answers hold them. If others wait for
//! a place, a client that is far too slow gives its up.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

/// A client that takes the body of an answer.
pub(crate) trait PlaceReader: Debug + Send + Sync {
    /// Bytes a second that it takes, if the answer waits for it and has done so for long enough to judge.
    fn rate(&self, now: Instant) -> Option<u64>;

    /// Ends the answer, visibly to the client.
    fn shed(&self);
}

/// Those of one member.
#[derive(Debug, Default)]
pub(crate) struct PlaceReaders(Mutex<Vec<Weak<dyn PlaceReader>>>);

impl PlaceReaders {
    /// A client begins to take a body.
    pub(crate) fn enter(&self, reader: Weak<dyn PlaceReader>) {
        let mut readers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // As many as there are places, and those that ended since.
        if readers.len() == readers.capacity() {
            readers.retain(|reader| reader.strong_count() > 0);
        }
        readers.push(reader);
    }

    /// Sheds the slowest client that takes less than `floor` bytes a second; whether there was one.
    pub(crate) fn shed_slowest(&self, floor: u64, now: Instant) -> bool {
        let readers: Vec<Arc<dyn PlaceReader>> = {
            let readers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            readers.iter().filter_map(Weak::upgrade).collect()
        };
        let rated = readers.iter().filter_map(|reader| Some((reader.rate(now)?, reader)));
        let slowest = rated.filter(|(rate, _)| *rate < floor).min_by_key(|(rate, _)| *rate);
        slowest.inspect(|(_, reader)| reader.shed()).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[derive(Debug)]
    struct Client(u64, AtomicBool);

    impl PlaceReader for Client {
        fn rate(&self, _: Instant) -> Option<u64> {
            (!self.1.load(Ordering::Relaxed)).then_some(self.0)
        }

        fn shed(&self) {
            self.1.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_slowest_go_first_and_those_above_the_floor_never() {
        let readers = PlaceReaders::default();
        let clients = [9_000, 4_000, 0, 8_192].map(|rate| Arc::new(Client(rate, false.into())));
        for client in &clients {
            let weak: Weak<Client> = Arc::downgrade(client);
            readers.enter(weak);
        }
        let shed = || clients.each_ref().map(|client| client.1.load(Ordering::Relaxed));
        assert!(readers.shed_slowest(8_192, Instant::now()));
        assert_eq!(shed(), [false, false, true, false]);
        assert!(readers.shed_slowest(8_192, Instant::now()));
        assert_eq!(shed(), [false, true, true, false]);
        assert!(!readers.shed_slowest(8_192, Instant::now()));
    }
}
