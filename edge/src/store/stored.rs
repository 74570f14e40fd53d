//! One stored response (RFC 9111 §3).

use super::fields::PackedFields;
use super::weight::{BELOW, LISTED_KEY, RESPONSE, SLICE, allocated};
use super::{Forms, PackedHead, Served, StoredBody, Tags};
use http::{HeaderMap, HeaderName, StatusCode, header};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use weir_rules::freshness::Freshness;
use weir_rules::invalidation::{Seq, Sieved, Subject, url_name};
use weir_rules::storability::LifetimeSource;
use weir_rules::vary;

/// A stored response. Immutable except for its counters and the forms that are made of it.
#[derive(Debug)]
pub(crate) struct Stored {
    /// The cache key it is stored under, and its fields as they are sent, less Age and this node's
    /// Cache-Status.
    pub(crate) head: PackedHead,
    /// The site it belongs to.
    pub(crate) site: Arc<str>,
    /// Its status; a stored part of a representation keeps 206.
    pub(crate) status: StatusCode,
    /// Its bytes.
    pub(crate) body: StoredBody,
    /// Its forms in content codings.
    pub(crate) forms: Forms,
    /// When it is fresh.
    pub(crate) freshness: Freshness,
    /// Where its lifetime came from.
    pub(crate) lifetime_source: LifetimeSource,
    /// Which requests select it; `None` without Vary.
    pub(crate) selecting: Option<Box<Selecting>>,
    /// Cache tags.
    pub(crate) tags: Tags,
    /// filled_at_seq (invariant I2).
    pub(crate) filled_at: Seq,
    /// The applied seq at which it was last found valid, so that a hit compares one integer.
    pub(crate) valid_at: AtomicU64,
    /// The seq of the last soft purge found to match it; 0 for none. The index may forget that purge
    /// from then on.
    pub(crate) soft_at: AtomicU64,
    /// How often it was sent, and whether it is being refreshed before it becomes stale.
    pub(crate) served: Served,
}

/// The selecting fields of a stored response and their normalised values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selecting {
    /// What Vary names.
    pub(crate) fields: Box<[HeaderName]>,
    /// The values of the request that it answered, normalised.
    pub(crate) values: Vec<u8>,
}

impl Stored {
    /// The cache key it is stored under, in its readable form.
    pub(crate) fn key(&self) -> &[u8] {
        self.head.key()
    }

    /// Its fields as they are sent, less Age and this node's Cache-Status.
    pub(crate) fn fields(&self) -> PackedFields<'_> {
        self.head.fields()
    }

    /// Bytes it takes of `memory.size`.
    pub(crate) fn weight(&self) -> u64 {
        let selecting = self.selecting.as_ref().map_or(0, |selecting| {
            allocated(size_of::<Selecting>())
                + allocated(selecting.values.len())
                + allocated(selecting.fields.len() * size_of::<HeaderName>())
        });
        let listed = allocated(self.tags.len() * size_of::<Box<str>>());
        let tags = self.tags.iter().map(|tag| allocated(tag.len())).sum::<u64>() + listed;
        let answered = self.body.answered().map_or(0, |answered| allocated(answered.range.len()));
        let slices = self.body.slices();
        let body = slices.map(|slice| SLICE + allocated(slice.bytes.len())).sum::<u64>();
        let body = body + if self.body.kept_below().is_some() { BELOW } else { 0 };
        // A key with extras is listed for its URL, too.
        let listed_key = if memchr::memchr(b'\n', self.key()).is_some() { LISTED_KEY } else { 0 };
        RESPONSE
            + allocated(self.head.len())
            + listed_key
            + selecting
            + tags
            + answered
            + body
            + self.forms.weight()
    }

    /// Whether a request selects it (RFC 9111 §4.1).
    pub(crate) fn selected_by(&self, request: &HeaderMap) -> bool {
        self.selecting.as_ref().is_none_or(|selecting| {
            let language = self.fields().first(&header::CONTENT_LANGUAGE);
            let language = language.and_then(|value| std::str::from_utf8(value).ok());
            vary::selects(&selecting.fields, &selecting.values, language, request)
        })
    }

    /// How often it was sent, if a plain GET fetches it again; 0 for a part or an error.
    pub(crate) fn plain_hits(&self) -> u32 {
        let is_part = self.status == StatusCode::PARTIAL_CONTENT;
        if self.status.is_success() && !is_part { self.served.times() } else { 0 }
    }

    /// Whether the same requests select both.
    pub(crate) fn is_selected_like(&self, other: &Stored) -> bool {
        self.selecting == other.selecting
    }

    /// What the invalidation index judges it by.
    pub(crate) fn with_subject<T>(&self, judge: impl FnOnce(&Subject<'_>) -> T) -> T {
        let tags: Vec<&str> = self.tags.iter().map(|tag| &**tag).collect();
        judge(&KeyText::of(self.key()).subject(&self.site, &tags, self.filled_at))
    }

    /// What the sieve before the index judges it by, together with its tags.
    pub(crate) fn sieved(&self) -> Sieved<'_> {
        let KeyText { host, path, query } = KeyText::of(self.key());
        Sieved { host, path, query }
    }
}

/// The parts of a key's readable form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyText<'a> {
    /// Host.
    pub(crate) host: &'a str,
    /// Path.
    pub(crate) path: &'a str,
    /// Query, as keyed.
    pub(crate) query: Option<&'a str>,
}

impl<'a> KeyText<'a> {
    /// Reads `scheme://host/path?query` and leaves the extras.
    pub(crate) fn of(key: &'a [u8]) -> Self {
        // The extras are bytes as the client sent them; the URL before them is text.
        let url = &key[..memchr::memchr(b'\n', key).unwrap_or(key.len())];
        let url = std::str::from_utf8(url).unwrap_or_default();
        // The scheme ends at the first colon. Searched by bytes, because every lookup after a purge
        // comes here.
        let at = |byte: u8, text: &str| memchr::memchr(byte, text.as_bytes());
        let rest = at(b':', url).and_then(|colon| url.get(colon + 3..)).unwrap_or(url);
        let (host, target) = rest.split_at(at(b'/', rest).unwrap_or(rest.len()));
        match at(b'?', target) {
            Some(mark) => Self { host, path: &target[..mark], query: Some(&target[mark + 1..]) },
            None => Self { host, path: target, query: None },
        }
    }
}

impl<'a> KeyText<'a> {
    /// A response under this key, as purges judge it.
    pub(crate) fn subject(self, site: &'a str, tags: &'a [&'a str], filled_at: Seq) -> Subject<'a> {
        let Self { host, path, query } = self;
        Subject { site, host, path, query, tags, filled_at }
    }
}

/// Longest URL that is shown, bytes.
pub(crate) const LONGEST_URL: usize = 2048;

/// The URL in a key's readable form; `None` if it is too long to be shown.
pub(crate) fn url_in(key: &[u8]) -> Option<&str> {
    let url = &key[..memchr::memchr(b'\n', key).unwrap_or(key.len())];
    std::str::from_utf8(url).ok().filter(|url| url.len() <= LONGEST_URL)
}

/// The name of the URL that a key has: every key of a URL has the same.
pub(crate) fn url_name_of(key: &[u8]) -> String {
    let KeyText { host, path, query } = KeyText::of(key);
    url_name(host, path, query)
}

/// The release in a key's readable form: the first of its extras, if there is one.
pub(crate) fn release_in(key: &[u8]) -> Option<&str> {
    let extras = &key[memchr::memchr(b'\n', key)?..];
    let name = extras.strip_prefix(b"\nrelease=")?;
    std::str::from_utf8(&name[..memchr::memchr(b'\n', name).unwrap_or(name.len())]).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
impl Stored {
    /// A 200 for `http://example.com/a`, fresh for a minute in 1994, with an empty body.
    pub(crate) fn example() -> Self {
        Self {
            head: PackedHead::pack(b"http://example.com/a", &HeaderMap::new()).unwrap(),
            site: Arc::from("site"),
            status: StatusCode::OK,
            body: StoredBody::new(Vec::new(), Some(0)),
            forms: Forms::default(),
            freshness: Freshness {
                born: weir_rules::time::Time::from_http_date("Sun, 06 Nov 1994 08:49:37 GMT")
                    .unwrap(),
                lifetime: 60,
                stale_while_revalidate: 0,
                stale_if_error: 0,
                validate_always: false,
                validate_when_stale: false,
                immutable: false,
            },
            lifetime_source: LifetimeSource::Heuristic,
            selecting: None,
            tags: Tags::default(),
            filled_at: 0,
            valid_at: AtomicU64::new(0),
            soft_at: AtomicU64::new(0),
            served: Served::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_in_parts() {
        let parts = KeyText::of(b"https://example.com/a/b?c=/d?e\nrelease=2");
        assert_eq!(parts, KeyText { host: "example.com", path: "/a/b", query: Some("c=/d?e") });
        assert_eq!(release_in(b"http://h/?a\nrelease=2\nx-a: 1"), Some("2"));
        assert_eq!(release_in(b"http://h/?a\nrelease=2"), Some("2"));
        assert_eq!(release_in(b"http://h/?a\nx-a: 1\nrelease=2"), None);
        assert_eq!(release_in(b"http://h/?release=2"), None);
        assert_eq!(KeyText::of(b"http://h/").query, None);
        assert_eq!(url_in(b"http://h/?a\nrelease=2"), Some("http://h/?a"));
        assert_eq!(url_name_of(b"https://h/%61?a\nrelease=2"), "h/a?a");
        assert_eq!(url_in(&[b'a'; LONGEST_URL + 1]), None);
        assert_eq!(KeyText::of(b"http://h/a\nx-lang: \xff").path, "/a");
    }
}
