//! What is not to be found any more. Every record that stops being live is written to the journal,
//! in the order of the index: a record in a footer that is neither in the index nor in the journal
//! would come back after a crash.

use super::{Found, Volume};
use crate::format::journal::Change;
use crate::index::{Kind, Location, Part, Pending, Record, is_of_key, key_bits, variant};
use crate::journal::Moment;
use crate::response::Seq;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Responses in the index, and on their way to it.
    pub responses: usize,
    /// The moment to be committed before the removal outlives a crash, also of what left the index
    /// before for another reason; `None` where nothing is recoverable.
    pub moment: Option<Moment>,
}

impl Volume {
    /// Removes all responses of a URL, those that are on their way too: an unsafe request succeeded
    /// (RFC 9111 §4.4). Not found from now on; after a crash, once the moment was committed.
    pub fn remove_url(&self, url: u64) -> Removed {
        let mut part = self.index.part(url);
        let revoked = part.revoke(url, |_| true);
        let mut removed = self.remove_from(&mut part, url, |_| true);
        removed.responses += revoked;
        removed
    }

    /// Removes all responses under a cache key, those that are on their way too.
    pub fn remove_key(&self, url: u64, key: &[u8]) -> Removed {
        let bits = key_bits(key);
        let mut part = self.index.part(url);
        let revoked = part.revoke(url, |variant| is_of_key(variant, bits));
        let mut removed =
            self.remove_from(&mut part, url, |record| is_of_key(record.variant, bits));
        removed.responses += revoked;
        removed
    }

    /// Removes the response of a variant, and one that is on its way: a newer one is known, whether it
    /// will be stored here or not.
    pub fn supersede(&self, url: u64, key: &[u8], selecting: &[u8]) -> Removed {
        let mut part = self.index.part(url);
        self.supersede_in(&mut part, url, variant(key, selecting))
    }

    pub(super) fn supersede_in(&self, part: &mut Part, url: u64, variant: u32) -> Removed {
        let revoked = part.revoke(url, |other| other == variant);
        let mut removed = self.remove_from(part, url, |record| record.variant == variant);
        removed.responses += revoked;
        removed
    }

    /// Removes a response that was found, if it is still there.
    pub fn remove(&self, found: &Found) -> Removed {
        let mut part = self.index.part(found.digest);
        if self.slot(found.record.at.slot).generation() != found.generation {
            return Removed::default();
        }
        self.remove_from(&mut part, found.digest, |record| record.at == found.record.at)
    }

    /// Notes that a soft purge matched a response that was found. The purge may be forgotten once the
    /// moment was committed. `None`: it is not there any more, or was noted before.
    pub fn soften(&self, found: &Found, seq: Seq) -> Option<Moment> {
        let mut part = self.index.part(found.digest);
        if self.slot(found.record.at.slot).generation() != found.generation {
            return None;
        }
        self.soften_in(&mut part, found.digest, found.record.at, found.generation, seq)
    }

    pub(super) fn soften_in(
        &self,
        part: &mut Part,
        digest: u64,
        at: Location,
        generation: u64,
        seq: Seq,
    ) -> Option<Moment> {
        let mut is_new = false;
        part.update(digest, at, |record| {
            is_new = !record.is_soft;
            record.is_soft = true;
        });
        let change = Change::Soften { generation, offset: at.offset, seq };
        is_new.then(|| self.journal.append(&change))
    }

    /// Notes that a response is on its way, in place of those of its variant.
    pub(super) fn expect(&self, url: u64, key: &[u8], selecting: &[u8]) -> Arc<Pending> {
        let variant = variant(key, selecting);
        let mut part = self.index.part(url);
        self.supersede_in(&mut part, url, variant);
        part.expect(url, variant)
    }

    /// Removes responses from a part, and says so in the journal before anybody else gets the part.
    pub(super) fn remove_from(
        &self,
        part: &mut Part,
        digest: u64,
        is_wanted: impl Fn(&Record) -> bool,
    ) -> Removed {
        let is_wanted = |record: &Record| record.kind == Kind::Response && is_wanted(record);
        let records = part.remove(digest, is_wanted);
        for record in &records {
            self.forget(part, digest, record.at);
        }
        let durable = self.journal.durable();
        // What left the index before may come back as well, unless that is durable.
        let last = part.last_removal(digest, durable);
        let retired = Moment::from(self.retired.load(Ordering::Acquire));
        let moment = last.max(Some(retired).filter(|retired| *retired > durable));
        Removed { responses: records.len(), moment }
    }

    /// A record has just left the index.
    pub(super) fn forget(&self, part: &mut Part, digest: u64, at: Location) -> Moment {
        let slot = self.slot(at.slot);
        let generation = slot.generation();
        let moment = self.journal.append(&Change::Remove { generation, offset: at.offset });
        part.note_removal(digest, moment, self.journal.durable());
        // The segment may end from here on.
        slot.remove_live();
        self.counters.removed.add(1);
        moment
    }
}
