//! Which stored resources a URL has, beside those whose keys follow from it: keys with extras (a
//! release, headers, cookies) or with another spelling of the path or the query. An unsafe request
//! invalidates all of them (RFC 9111 §4.4).
//!
//! Bounded by the store: names of keys that are no longer stored are removed when they are as many
//! as the others. Kept in parts, so that a removal holds up few requests, and for a short time.

use super::{Digest, DigestSecret, KeyText, url_name_of};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use weir_rules::invalidation::is_as_named;

/// A URL, hashed with the secret of the digests. Two URLs that share one cost each other hits, no more.
pub(crate) type UrlHash = u64;

/// Parts, each with a lock of its own.
const PARTS: usize = 256;

/// Entries that are kept in a part before the first removal of old ones.
const LEAST: usize = 16;

/// The keys of URLs that do not follow from the URL.
pub(super) struct Urls {
    secret: DigestSecret,
    parts: [Mutex<Listed>; PARTS],
}

impl Urls {
    /// None, which are hashed with this secret.
    pub(super) fn new(secret: &DigestSecret) -> Self {
        let parts = std::array::from_fn(|_| Mutex::default());
        Self { secret: secret.clone(), parts }
    }
}

#[derive(Default)]
struct Listed {
    keys: HashMap<UrlHash, Vec<Digest>>,
    count: usize,
    /// The count at which keys that are no longer stored are removed.
    limit: usize,
}

impl Urls {
    /// The hash of the URL that a key has.
    pub(super) fn hash_of(&self, key: &[u8]) -> UrlHash {
        self.hash(&url_name_of(key))
    }

    /// The hash of a URL, by its [`url_name`].
    pub(super) fn hash(&self, name: &str) -> UrlHash {
        // Truncation is meant: either half is as good as the whole.
        self.secret.digest(name.as_bytes()) as UrlHash
    }

    /// Lists a key, unless it follows from its URL. To be called after the key is stored: a key that
    /// `is_stored` does not know may be removed.
    pub(super) fn list(&self, digest: Digest, key: &[u8], is_stored: impl Fn(Digest) -> bool) {
        if is_plain(key) {
            return;
        }
        let url = self.hash_of(key);
        let mut listed = self.lock(url);
        let keys = listed.keys.entry(url).or_default();
        if keys.contains(&digest) {
            return;
        }
        keys.push(digest);
        listed.count += 1;
        if listed.count >= listed.limit.max(LEAST) {
            listed.prune(is_stored);
        }
    }

    /// The keys of a URL that do not follow from it. Some may be stored no longer.
    pub(super) fn of(&self, url: UrlHash) -> Vec<Digest> {
        self.lock(url).keys.get(&url).cloned().unwrap_or_default()
    }

    fn lock(&self, url: UrlHash) -> MutexGuard<'_, Listed> {
        let part = &self.parts[url as usize % PARTS];
        part.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listed {
    fn prune(&mut self, is_stored: impl Fn(Digest) -> bool) {
        self.keys.retain(|_, keys| {
            keys.retain(|digest| is_stored(*digest));
            !keys.is_empty()
        });
        self.count = self.keys.values().map(Vec::len).sum();
        self.limit = 2 * self.count;
    }
}

/// Whether a key is its scheme and the name of its URL.
fn is_plain(key: &[u8]) -> bool {
    let rest = key.strip_prefix(b"http://").or_else(|| key.strip_prefix(b"https://"));
    let KeyText { host, path, query } = KeyText::of(key);
    let url = host.len() + path.len() + query.map_or(0, |query| 1 + query.len());
    rest.is_some_and(|rest| rest.len() == url) && is_as_named(path, query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_that_do_not_follow_from_their_url_are_listed() {
        let urls = Urls::new(&DigestSecret::from([0; 16]));
        for (digest, key) in [
            (1, &b"http://h/at?b=c"[..]),
            (2, b"https://h/at?b=c"),
            (3, b"http://h/at?b=c\ncookie currency=EUR"),
            (4, b"http://h/a%74?b=c"),
            (5, b"https://h/at?b=c\nrelease=2"),
            (6, b"http://h:8080/at?b=c\nx: y"),
        ] {
            urls.list(digest, key, |_| true);
            urls.list(digest, key, |_| true);
        }
        let url = urls.hash("h/at?b=c");
        assert_eq!(urls.of(url), [3, 4, 5]);
        assert_eq!(urls.hash_of(b"http://h/a%74?b=c\nx: y"), url);
        assert_eq!(urls.of(urls.hash("h:8080/at?b=c")), [6]);
    }

    #[test]
    fn keys_that_are_stored_no_longer_do_not_pile_up() {
        let urls = Urls::new(&DigestSecret::from([0; 16]));
        for digest in 0..100_000 {
            let key = format!("http://h/{digest}\nx: y");
            urls.list(digest, key.as_bytes(), |listed| digest - listed < 100);
        }
        let count: usize = (0..PARTS).map(|part| urls.lock(part as UrlHash).count).sum();
        assert!(count <= PARTS * LEAST, "{count}");
        assert_eq!(urls.of(urls.hash("h/99950")), [99_950]);
    }
}
