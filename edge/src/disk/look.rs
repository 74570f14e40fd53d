//! Looking at what is on disk for a URL, for `weir explain`: no request found it.

use super::{DiskStore, block_on};
use crate::store::{KeyText, Stored, UrlHash};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use weir_rules::time::Time;
use weir_store::volume::{Judged, Unread, Verdict};

/// How long a path is looked for under any host.
const SEARCH: Duration = Duration::from_secs(1);

/// A segment that no reader has time for is tried again after this.
const BUSY: Duration = Duration::from_millis(10);

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

    /// The key of the newest response with this path and query under any host, as far as the footers of
    /// segments can be read within [`SEARCH`]. Waits for that in this thread.
    pub(crate) fn key_of_any_host(&self, path: &str, query: Option<&str>) -> Option<Vec<u8>> {
        let (path, query) = (path.to_owned(), query.map(str::to_owned));
        let found = Arc::new(Mutex::new(None));
        let noted = Arc::clone(&found);
        let see: Arc<dyn Fn(&Judged<'_>) -> Verdict + Send + Sync> = Arc::new(move |judged| {
            let text = KeyText::of(judged.key);
            if text.path == path && text.query == query.as_deref() {
                *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(judged.key.to_vec());
            }
            Verdict::Keep
        });
        let search = tokio::time::timeout(SEARCH, async {
            // Judges nothing: what it says it was held against is what everything was.
            let mut walk = self.store.walk(0);
            while !walk.is_over() {
                if !self.store.step(&mut walk, &see).await {
                    tokio::time::sleep(BUSY).await;
                }
            }
        });
        // What was found in time is as good as what there is.
        let _in_time = block_on(async { Ok(search.await) });
        found.lock().unwrap_or_else(PoisonError::into_inner).take()
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
                    let stored = self.stored(response, &place, site, now);
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
