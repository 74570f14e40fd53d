//! Looking at what is on disk for a URL, for `weir explain`: no request found it.

use super::DiskStore;
use crate::store::{Stored, UrlHash};
use std::sync::Arc;
use weir_rules::time::Time;
use weir_store::volume::Unread;

/// What is on disk for a resource.
#[derive(Default)]
pub(crate) struct SeenOnDisk {
    /// The variants that a request could be answered from, newest first.
    pub(crate) variants: Vec<Arc<Stored>>,
    /// Whether there is something that may not be shown before the log was replayed.
    pub(crate) is_hidden: bool,
    /// Why a response that is there could not be read.
    pub(crate) unread: Option<Unread>,
}

impl DiskStore {
    /// Whether the disk may have something under a key. Does not read.
    pub(crate) fn may_have(&self, url: UrlHash, key: &[u8]) -> bool {
        !self.store.find(url, key).is_empty()
    }

    /// The variants of a resource, judged by all purges up to now. Reads in this thread, and waits for each
    /// at most `disk.read_wait`. Nothing is brought into memory, removed or counted as a hit.
    pub(crate) fn look(&self, url: UrlHash, key: &[u8], site: &Arc<str>, now: Time) -> SeenOnDisk {
        if !self.is_shown() {
            return SeenOnDisk { is_hidden: self.may_have(url, key), ..SeenOnDisk::default() };
        }
        // Until all of it is judged.
        let _stamp = self.purges.stamp();
        let (mut found, mut unread) = (Vec::new(), None);
        for place in self.store.find(url, key) {
            match place.peek_blocking(key) {
                Ok(response) => {
                    let order = response.write_seq;
                    let stored = self.stored(response, site, now);
                    found.extend(stored.map(|(stored, _)| (order, Arc::new(stored))));
                }
                // Another key with the same digest, or what was removed just now.
                Err(Unread::Other | Unread::Gone) => {}
                Err(why) => unread = Some(why),
            }
        }
        found.sort_by_key(|(order, _)| std::cmp::Reverse(*order));
        let variants = found.into_iter().map(|(_, stored)| stored).collect();
        SeenOnDisk { variants, is_hidden: false, unread }
    }
}
