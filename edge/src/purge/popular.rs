//! Which of the URLs that a purge took were popular, for purges whose caller wants those fetched
//! again. Remembered for a few purges, some minutes, and for as many URLs as are ever asked for.

use crate::store::LONGEST_URL;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use weir_protocol::question::PurgedUrl;
use weir_rules::invalidation::{KeyedPurge, Seq, Subject, Tally, Validity};

/// Purges remembered; of more the first is forgotten.
const MOST_PURGES: usize = 32;

/// URLs remembered of each: the most popular ones.
const MOST_URLS: usize = 200;

/// How long a purge is remembered.
const LIFE: Duration = Duration::from_secs(300);

/// What purges took that was popular.
#[derive(Debug, Default)]
pub(crate) struct Popular {
    /// Purges remembered: while there are none, what is taken is not looked at.
    open: AtomicUsize,
    purges: Mutex<Purges>,
}

#[derive(Debug, Default)]
struct Purges {
    /// The one that comes next is to be remembered, if it has this seq.
    expected: Option<Seq>,
    remembered: VecDeque<Remembered>,
}

/// What one purge took.
#[derive(Debug)]
struct Remembered {
    seq: Seq,
    since: Instant,
    judge: Tally,
    hits: HashMap<Address, u64>,
    /// With as many URLs as are remembered, those with no more hits than this are not.
    least: u64,
}

/// A URL, and what else is needed to ask for it as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    site: Box<str>,
    url: Box<str>,
    release: Option<Box<str>>,
}

impl Address {
    /// Reads it from a key; `None` where a plain request would not have that key, or the URL is too
    /// long to be remembered.
    fn of(site: &str, key: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(key).ok()?.split('\n');
        let url = lines.next().filter(|url| url.len() <= LONGEST_URL)?;
        let release = match lines.next() {
            None => None,
            Some(extra) => Some(extra.strip_prefix("release=")?.into()),
        };
        lines.next().is_none().then(|| Self { site: site.into(), url: url.into(), release })
    }
}

impl Popular {
    /// The next purge is to be remembered, if its seq is this one.
    pub(crate) fn expect(&self, seq: Seq) {
        self.lock().expected = Some(seq);
    }

    /// A purge is about to be applied.
    pub(crate) fn begin(&self, purge: &KeyedPurge, now: Instant) {
        let mut purges = self.lock();
        if purges.expected != Some(purge.seq) {
            return;
        }
        purges.expected = None;
        if purges.remembered.len() == MOST_PURGES {
            purges.remembered.pop_front();
        }
        let mut judge = Tally::default();
        judge.add(purge);
        let (hits, least) = (HashMap::new(), 0);
        let remembered = Remembered { seq: purge.seq, since: now, judge, hits, least };
        purges.remembered.push_back(remembered);
        self.open.store(purges.remembered.len(), Ordering::Release);
    }

    /// Whether what purges take is of interest.
    fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire) > 0
    }

    /// Something that was answered so often is taken.
    pub(crate) fn note(&self, subject: &Subject<'_>, key: &[u8], hits: u32) {
        if hits == 0 || !self.is_open() {
            return;
        }
        let Some(address) = Address::of(subject.site, key) else { return };
        for remembered in &mut self.lock().remembered {
            if remembered.judge.validity(subject) != Validity::Valid {
                remembered.note(&address, hits.into());
            }
        }
    }

    /// The URLs that a purge took, most popular first, of those that `is_plain` finds to be asked
    /// for plainly now; `None` where it is not remembered.
    pub(crate) fn of(
        &self,
        seq: Seq,
        most: usize,
        is_shown: impl Fn(&str, &str, Option<&str>) -> bool,
    ) -> Option<Vec<PurgedUrl>> {
        let purges = self.lock();
        let remembered = purges.remembered.iter().find(|remembered| remembered.seq == seq)?;
        let shown = remembered.hits.iter().filter(|(address, _)| {
            is_shown(&address.site, &address.url, address.release.as_deref())
        });
        let mut urls: Vec<_> = shown
            .map(|(address, hits)| PurgedUrl { url: address.url.to_string(), hits: *hits })
            .collect();
        urls.sort_by(|a, b| b.hits.cmp(&a.hits).then_with(|| a.url.cmp(&b.url)));
        urls.truncate(most);
        Some(urls)
    }

    /// Forgets what is old.
    pub(crate) fn tidy(&self, now: Instant) {
        if self.is_open() {
            let mut purges = self.lock();
            let old = |since: Instant| now.saturating_duration_since(since) > LIFE;
            purges.remembered.retain(|remembered| !old(remembered.since));
            self.open.store(purges.remembered.len(), Ordering::Release);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Purges> {
        self.purges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remembered {
    fn note(&mut self, address: &Address, hits: u64) {
        if let Some(known) = self.hits.get_mut(address) {
            *known += hits;
            return;
        }
        if self.hits.len() >= MOST_URLS {
            if hits <= self.least {
                return;
            }
            let fewest = self.hits.iter().min_by_key(|(_, hits)| **hits);
            let Some((address, fewest)) = fewest.map(|(address, hits)| (address.clone(), *hits))
            else {
                return;
            };
            self.least = fewest;
            if hits <= fewest {
                return;
            }
            self.hits.remove(&address);
        }
        self.hits.insert(address.clone(), hits);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use weir_rules::invalidation::{Purge, Target};

    fn purge(seq: Seq) -> KeyedPurge {
        let targets = vec![Target::Prefix("/p".into())];
        KeyedPurge::as_sent(Purge { seq, targets, site: None, soft: false, versions: false })
    }

    fn note(popular: &Popular, path: &str, extras: &str, hits: u32) {
        let key = format!("http://h{path}{extras}");
        let subject = Subject { site: "s", host: "h", path, query: None, tags: &[], filled_at: 0 };
        popular.note(&subject, key.as_bytes(), hits);
    }

    fn urls(popular: &Popular, seq: Seq, most: usize) -> Option<Vec<(String, u64)>> {
        let told = popular.of(seq, most, |site, _, release| {
            site == "s" && release.is_none_or(|release| release == "now")
        })?;
        Some(told.into_iter().map(|told| (told.url, told.hits)).collect())
    }

    fn remembering(seq: Seq) -> Popular {
        let popular = Popular::default();
        popular.expect(seq);
        popular.begin(&purge(seq), Instant::now());
        popular
    }

    #[test]
    fn the_most_answered_of_what_was_taken_come_first() {
        let popular = remembering(3);
        note(&popular, "/p/a", "", 2);
        note(&popular, "/p/b", "", 7);
        note(&popular, "/p/a", "", 6);
        note(&popular, "/p/never", "", 0);
        note(&popular, "/q", "", 99);
        let told = [("http://h/p/a".into(), 8), ("http://h/p/b".into(), 7)];
        assert_eq!(urls(&popular, 3, 9).unwrap(), told);
        assert_eq!(urls(&popular, 3, 1).unwrap(), told[..1]);
        assert_eq!(urls(&popular, 4, 1), None);
    }

    #[test]
    fn what_a_plain_request_would_not_get_is_left_out() {
        let popular = remembering(1);
        note(&popular, "/p/lang", "\nx-lang: de", 9);
        note(&popular, "/p/both", "\nrelease=now\nx-lang: de", 9);
        note(&popular, "/p/old", "\nrelease=old", 9);
        note(&popular, "/p/now", "\nrelease=now", 9);
        assert_eq!(urls(&popular, 1, 9).unwrap(), [("http://h/p/now".into(), 9)]);
    }

    #[test]
    fn only_purges_that_were_announced_are_remembered_and_few_of_them_for_a_while() {
        let popular = Popular::default();
        popular.begin(&purge(1), Instant::now());
        popular.expect(3);
        popular.begin(&purge(2), Instant::now());
        assert!(!popular.is_open());
        let now = Instant::now();
        for seq in 3..3 + 2 * MOST_PURGES as u64 {
            popular.expect(seq);
            popular.begin(&purge(seq), now);
        }
        assert_eq!(popular.lock().remembered.len(), MOST_PURGES);
        assert_eq!(urls(&popular, 3, 1), None);
        popular.tidy(now + LIFE);
        assert!(popular.is_open());
        popular.tidy(now + LIFE + Duration::from_millis(1));
        assert!(!popular.is_open());
    }

    #[test]
    fn of_many_urls_the_popular_ones_are_kept() {
        let popular = remembering(1);
        for n in 0..10 * MOST_URLS as u32 {
            // In no order.
            note(&popular, &format!("/p/{n}"), "", 1 + n * 7919 % 2000);
        }
        let told = urls(&popular, 1, MOST_URLS).unwrap();
        assert_eq!(told.len(), MOST_URLS);
        assert!(told.iter().all(|(_, hits)| *hits > 2000 - MOST_URLS as u64), "{told:?}");
    }
}
