//! What a lookup asks before it asks the index: whether any purge since it last asked could have
//! taken a stored response. Most could not, and are passed without a lock.

use super::percent::normalised;
use super::scope::segments;
use super::spelled::host_names;
use super::target::url_as_compared;
use super::{Purge, Seq, Target};
use std::sync::atomic::{AtomicU64, Ordering};

/// Slots: 128 KiB of them.
const SLOTS: usize = 1 << 14;

/// The last seq of every target, by its hash: two targets may share a slot, and a response that
/// passes was taken by neither.
///
/// A target is raised here before its seq is published as applied, with release and acquire; so
/// whoever knows that a seq is applied finds it here.
#[derive(Debug)]
pub struct Sieve {
    slots: Box<[AtomicU64]>,
    /// The last seq of each kind.
    last: [AtomicU64; KINDS],
    /// The last seq of what may take anything.
    broad: AtomicU64,
}

/// Kinds of targets that are found by their hash.
#[derive(Clone, Copy)]
enum Kind {
    Path,
    /// A path with its query.
    Query,
    Url,
    Tag,
    AnyCaseTag,
    Host,
    /// On every host.
    Prefix,
    /// What such a prefix is, or lies beneath: where this says no, a path need not be followed on.
    Beneath,
    /// On one host.
    HostPrefix,
    /// The same for those.
    HostBeneath,
}

const KINDS: usize = 10;

/// What of a stored response the sieve needs.
#[derive(Clone, Copy, Debug)]
pub struct Sieved<'a> {
    /// Host, lower case.
    pub host: &'a str,
    /// Path as keyed.
    pub path: &'a str,
    /// Query as keyed, without `?`.
    pub query: Option<&'a str>,
}

impl Default for Sieve {
    fn default() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            last: std::array::from_fn(|_| AtomicU64::new(0)),
            broad: AtomicU64::new(0),
        }
    }
}

impl Sieve {
    /// Notes the targets of a purge, before it is published as applied.
    pub fn raise(&self, purge: &Purge) {
        for target in &purge.targets {
            let (kind, hash) = match target {
                Target::Path(_) if purge.versions => return self.raise_all(purge.seq),
                Target::Pattern(_) | Target::All => return self.raise_all(purge.seq),
                Target::Path(path) => of_path(&normalised(path)),
                Target::Url(url) => {
                    let url = url_as_compared(url);
                    let (host, path) = url.split_at(url.find('/').unwrap_or(url.len()));
                    (Kind::Url, both(of_text(host), of_path(path).1))
                }
                Target::Tag(tag) => (Kind::Tag, of_text(tag)),
                Target::AnyCaseTag(tag) => (Kind::AnyCaseTag, of_text(&tag.to_ascii_lowercase())),
                Target::Host(host) => (Kind::Host, of_text(&host.to_ascii_lowercase())),
                Target::Prefix(prefix) => {
                    let anywhere = prefix.split('/').next() == Some("");
                    let (kind, beneath) = match anywhere {
                        true => (Kind::Prefix, Kind::Beneath),
                        false => (Kind::HostPrefix, Kind::HostBeneath),
                    };
                    let hash = segments(&normalised(prefix)).fold(0, |hash, segment| {
                        let hash = within(hash, segment);
                        self.slot(beneath, hash).fetch_max(purge.seq, Ordering::Release);
                        hash
                    });
                    (kind, hash)
                }
            };
            // The slot first: whoever sees the kind's seq sees the slot's.
            self.slot(kind, hash).fetch_max(purge.seq, Ordering::Release);
            self.last[kind as usize].fetch_max(purge.seq, Ordering::Release);
        }
    }

    /// Nothing judged before `seq` passes: what a purge took cannot be told by hashes, or a floor
    /// was raised.
    pub fn raise_all(&self, seq: Seq) {
        self.broad.fetch_max(seq, Ordering::Release);
    }

    /// Whether no purge after `since` that is published as applied can have taken a response.
    pub fn passes<'a>(
        &self,
        subject: &Sieved<'_>,
        tags: impl IntoIterator<Item = &'a str>,
        since: Seq,
    ) -> bool {
        if self.broad.load(Ordering::Acquire) > since {
            return false;
        }
        let newer = |kind: Kind| self.last[kind as usize].load(Ordering::Acquire) > since;
        let taken = |kind: Kind, hash: u64| self.slot(kind, hash).load(Ordering::Acquire) > since;
        let (exact, any_case) = (newer(Kind::Tag), newer(Kind::AnyCaseTag));
        if (exact || any_case)
            && tags.into_iter().any(|tag| {
                exact && taken(Kind::Tag, of_text(tag))
                    || any_case && taken(Kind::AnyCaseTag, of_text(&tag.to_ascii_lowercase()))
            })
        {
            return false;
        }
        if newer(Kind::Host)
            && host_names(subject.host).any(|host| taken(Kind::Host, of_text(host)))
        {
            return false;
        }
        let (paths, queries) = (newer(Kind::Path), newer(Kind::Query));
        let (urls, prefixes) = (newer(Kind::Url), newer(Kind::Prefix));
        let host_prefixes = newer(Kind::HostPrefix);
        if !(paths || queries || urls || prefixes || host_prefixes) {
            return true;
        }
        let path = normalised(subject.path);
        if paths || queries || urls {
            let hash = of_text(&path);
            if paths && taken(Kind::Path, hash) {
                return false;
            }
            if queries || urls {
                let query = subject.query.map(|query| of_text(&normalised(query)));
                let full = query.map_or(hash, |query| both(hash, query));
                if (query.is_some() && taken(Kind::Query, full))
                    || (urls && taken(Kind::Url, both(of_text(subject.host), full)))
                {
                    return false;
                }
            }
        }
        let within_any = |kind: Kind, beneath: Kind, host: &str| {
            let mut hash = within(0, host);
            let mut segments = path.strip_prefix('/').unwrap_or(&path).split('/');
            while taken(beneath, hash) {
                if taken(kind, hash) {
                    return true;
                }
                let Some(segment) = segments.next() else { return false };
                hash = within(hash, segment);
            }
            false
        };
        let on_host = |host| within_any(Kind::HostPrefix, Kind::HostBeneath, host);
        !(prefixes && within_any(Kind::Prefix, Kind::Beneath, "")
            || host_prefixes && host_names(subject.host).any(on_host))
    }

    fn slot(&self, kind: Kind, hash: u64) -> &AtomicU64 {
        let hash = both(hash, kind as u64);
        // The product's high half is the better mixed.
        &self.slots[(hash >> 32) as usize % SLOTS]
    }
}

fn of_path(full: &str) -> (Kind, u64) {
    match full.split_once('?') {
        Some((path, query)) => (Kind::Query, both(of_text(path), of_text(query))),
        None => (Kind::Path, of_text(full)),
    }
}

/// The hash of a prefix that is one segment longer.
fn within(prefix: u64, segment: &str) -> u64 {
    both(prefix, of_text(segment))
}

/// An odd number whose multiples look random (2^64 over the golden ratio).
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// Not one that withstands an adversary: whoever makes two texts collide has the index asked.
fn of_text(text: &str) -> u64 {
    let (words, rest) = text.as_bytes().as_chunks::<8>();
    let start = SPREAD ^ text.len() as u64;
    let hash = words.iter().fold(start, |hash, word| both(hash, u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    both(hash, u64::from_le_bytes(last))
}

fn both(a: u64, b: u64) -> u64 {
    let product = u128::from(a.rotate_left(23) ^ b) * u128::from(SPREAD);
    // Truncation is meant: both halves are folded into one.
    (product as u64) ^ ((product >> 64) as u64)
}
