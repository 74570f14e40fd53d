//! What a node counts, in as many numbers for every node and site.

use super::numbers;
use weir_protocol::stats::{LATENCY_BUCKETS, RESULTS, STATUS_CLASSES, SiteStats, Stats};

/// A counter's place; statuses, results and latencies follow.
pub(super) const REQUESTS: usize = 0;
pub(super) const HITS: usize = 1;
pub(super) const COLLAPSED: usize = 2;
pub(super) const ERRORS: usize = 3;
pub(super) const BYTES: usize = 4;
pub(super) const UPSTREAM: usize = 5;
pub(super) const UPSTREAM_ERRORS: usize = 6;
pub(super) const BYTES_SAVED: usize = 7;
pub(super) const ORIGIN: usize = 8;
pub(super) const STATUS: usize = 9;
pub(super) const BY_RESULT: usize = STATUS + STATUS_CLASSES;
pub(super) const LATENCY: usize = BY_RESULT + RESULTS.len();
pub(super) const COUNTERS: usize = LATENCY + LATENCY_BUCKETS;

/// A bit says of each counter whether it is written.
const _: () = assert!(COUNTERS <= u64::BITS as usize);

/// Counters, by place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counters(pub(super) [u64; COUNTERS]);

impl Default for Counters {
    fn default() -> Self {
        Self([0; COUNTERS])
    }
}

/// Counters as [`Counters::write`] writes them, since there are many of them; nothing where nothing was
/// counted, as by most nodes in most seconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Packed(Box<[u8]>);

impl From<&Counters> for Packed {
    fn from(counters: &Counters) -> Self {
        if counters.is_zero() {
            return Self::default();
        }
        let mut bytes = Vec::with_capacity(48);
        counters.write(&mut bytes);
        Self(bytes.into())
    }
}

impl From<&Packed> for Counters {
    fn from(Packed(bytes): &Packed) -> Self {
        // None only where nothing was counted.
        Self::read(&mut &**bytes).unwrap_or_default()
    }
}

impl Packed {
    /// Writes them as [`Counters::write`] does.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self.0.is_empty() {
            true => Counters::default().write(out),
            false => out.extend_from_slice(&self.0),
        }
    }
}

impl Counters {
    /// What a node told. A result that this version does not know is part of the requests only.
    pub(super) fn of(stats: &Stats) -> Self {
        // What is not told as a whole is 0 here.
        Self::of_site(&SiteStats {
            requests: stats.requests,
            hits: stats.hits,
            results: stats.results.clone(),
            collapsed: stats.collapsed,
            errors: stats.errors,
            bytes: stats.bytes,
            upstream_requests: stats.upstream_requests,
            upstream_errors: stats.upstream_errors,
            latency: stats.latency.clone(),
            ..SiteStats::default()
        })
    }

    /// What a node told of a site, likewise.
    pub(super) fn of_site(stats: &SiteStats) -> Self {
        let mut counters = Self::default();
        let Self(places) = &mut counters;
        places[REQUESTS] = stats.requests;
        places[HITS] = stats.hits;
        places[COLLAPSED] = stats.collapsed;
        places[ERRORS] = stats.errors;
        places[BYTES] = stats.bytes;
        places[UPSTREAM] = stats.upstream_requests;
        places[UPSTREAM_ERRORS] = stats.upstream_errors;
        places[BYTES_SAVED] = stats.bytes_saved;
        places[ORIGIN] = stats.origin_requests;
        for (place, count) in places[STATUS..BY_RESULT].iter_mut().zip(&stats.statuses) {
            *place = *count;
        }
        for (place, word) in places[BY_RESULT..LATENCY].iter_mut().zip(RESULTS) {
            *place = stats.results.get(word).copied().unwrap_or(0);
        }
        for (place, count) in places[LATENCY..].iter_mut().zip(&stats.latency) {
            *place = *count;
        }
        counters
    }

    /// Whether nothing was counted.
    pub(super) fn is_zero(&self) -> bool {
        self.0.iter().all(|count| *count == 0)
    }

    /// Writes them in few bytes: which of them are more than 0, and these ([`numbers`]).
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let counts = || self.0.iter().enumerate().filter(|(_, count)| **count > 0);
        numbers::write(counts().fold(0, |met, (at, _)| met | 1 << at), out);
        counts().for_each(|(_, count)| numbers::write(*count, out));
    }

    /// Reads what [`Counters::write`] wrote; `None` where that is not what it is.
    pub(super) fn read(bytes: &mut &[u8]) -> Option<Self> {
        let met = numbers::read(bytes)?;
        if met >> COUNTERS != 0 {
            return None;
        }
        let mut counters = Self::default();
        for (at, count) in counters.0.iter_mut().enumerate() {
            if met >> at & 1 == 1 {
                *count = numbers::read(bytes)?;
            }
        }
        Some(counters)
    }

    /// The larger of each.
    pub(super) fn most(&self, other: &Self) -> Self {
        self.each(other, u64::max)
    }

    /// What was counted since `before`. Where a counter went back all of them began again: then
    /// what they show now.
    pub(super) fn since(&self, before: &Self) -> Self {
        let went_back = self.0.iter().zip(&before.0).any(|(now, before)| now < before);
        if went_back { *self } else { self.less(before) }
    }

    pub(super) fn plus(&self, more: &Self) -> Self {
        self.each(more, u64::saturating_add)
    }

    pub(super) fn less(&self, less: &Self) -> Self {
        self.each(less, u64::saturating_sub)
    }

    /// So many parts of all, each rounded down.
    pub(super) fn part(&self, part: u64, all: u64) -> Self {
        let share =
            |count: u64| u128::from(count) * u128::from(part.min(all)) / u128::from(all.max(1));
        Self(self.0.map(|count| share(count) as u64))
    }

    fn each(&self, other: &Self, of: fn(u64, u64) -> u64) -> Self {
        Self(std::array::from_fn(|at| of(self.0[at], other.0[at])))
    }
}
