//! What was recently not stored, for operators: how often for which reason, and the last URLs.
//! Bounded by the closed set of reasons, by the places of sites, and in URLs.

use super::{Decision, Why};
use crate::metrics::{SiteSlot, UPSTREAM_ERRORS, upstream_error_index};
use crate::store::{ByDigest, Digest, url_in};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use weir_protocol::question::{NotStored, NotStoredReason, NotStoredUrl};
use weir_protocol::search::Search;
use weir_rules::storability::Reason;
use weir_rules::time::Time;

/// URLs remembered; of more the one that was noted longest ago is forgotten.
const MOST_URLS: usize = 500;

/// What [`Why`] adds to the rules' reasons and the failures of fetches.
const OWN: [&str; 7] = [
    "too-large",
    "no-room",
    "field-too-long",
    "overtaken",
    "not-for-everyone",
    "not-admitted",
    "no-room-for-client",
];

/// Every reason that is counted: the words of [`Why::word`], but that the failures that are the
/// client's own share one.
pub(super) fn words() -> impl Iterator<Item = &'static str> {
    Reason::WORDS.into_iter().chain(OWN).chain(UPSTREAM_ERRORS)
}

/// The place of a reason among [`words`].
fn place(why: &Why) -> usize {
    let rules = Reason::WORDS.len();
    match why {
        // Its words are all listed; a test of theirs sees to it.
        Why::Rule(reason) => {
            Reason::WORDS.iter().position(|word| *word == reason.word()).unwrap_or_default()
        }
        Why::TooLarge(_) => rules,
        Why::NoRoom | Why::NoRoomOnDisk => rules + 1,
        Why::FieldTooLong => rules + 2,
        Why::Overtaken => rules + 3,
        Why::NotForEveryone(_) => rules + 4,
        Why::NotAdmitted => rules + 5,
        Why::NoRoomForClient => rules + 6,
        Why::Failed(error) => rules + OWN.len() + upstream_error_index(error),
    }
}

/// Of what a decision is.
pub(crate) struct About<'a> {
    /// The resource.
    pub(crate) digest: Digest,
    /// Its key.
    pub(crate) key: &'a [u8],
    /// Its site.
    pub(crate) site: &'a Arc<str>,
    /// Where that is counted.
    pub(crate) slot: SiteSlot,
}

/// What was noted.
#[derive(Default)]
pub(super) struct Recent {
    reasons: BTreeMap<(SiteSlot, usize), Counted>,
    urls: HashMap<Digest, Noted, ByDigest>,
    /// The URLs in the order in which they were noted last.
    order: BTreeMap<u64, Digest>,
    last: u64,
}

struct Counted {
    count: u64,
    last: Why,
}

struct Noted {
    url: Box<str>,
    site: Arc<str>,
    at: u64,
    decision: Arc<Decision>,
}

impl Recent {
    pub(super) fn note(&mut self, about: &About<'_>, decision: &Arc<Decision>) {
        let place = (about.slot, place(&decision.why));
        let counted = self
            .reasons
            .entry(place)
            .or_insert_with(|| Counted { count: 0, last: decision.why.clone() });
        counted.count += 1;
        counted.last.clone_from(&decision.why);
        self.last += 1;
        let at = self.last;
        if let Some(noted) = self.urls.get_mut(&about.digest) {
            self.order.remove(&noted.at);
            (noted.at, noted.decision) = (at, Arc::clone(decision));
        } else {
            let Some(url) = url_in(about.key) else { return };
            if self.urls.len() >= MOST_URLS
                && let Some((_, oldest)) = self.order.pop_first()
            {
                self.urls.remove(&oldest);
            }
            let (site, decision) = (Arc::clone(about.site), Arc::clone(decision));
            self.urls.insert(about.digest, Noted { url: url.into(), site, at, decision });
        }
        self.order.insert(at, about.digest);
    }

    /// It was stored after all; what was counted stays.
    pub(super) fn forget(&mut self, digest: Digest) {
        if let Some(noted) = self.urls.remove(&digest) {
            self.order.remove(&noted.at);
        }
    }

    /// How often for which reason, each of [`words`].
    pub(super) fn counts(&self) -> Vec<(&'static str, u64)> {
        let mut counts: Vec<_> = words().map(|word| (word, 0)).collect();
        for ((_, place), counted) in &self.reasons {
            counts[*place].1 += counted.count;
        }
        counts
    }

    /// At most `most` URLs that `search` finds, and all reasons, of the sites that are counted and named so.
    pub(super) fn told(
        &self,
        most: usize,
        search: &Search,
        now: Time,
        is_counted: impl Fn(SiteSlot) -> bool,
        is_named: impl Fn(&str) -> bool,
    ) -> NotStored {
        let mut by_reason: BTreeMap<usize, NotStoredReason> = BTreeMap::new();
        for ((slot, place), counted) in &self.reasons {
            if !is_counted(*slot) {
                continue;
            }
            let told = by_reason.entry(*place).or_insert_with(|| NotStoredReason {
                reason: counted.last.word().to_owned(),
                sentence: counted.last.sentence(),
                count: 0,
            });
            told.count += counted.count;
        }
        let mut reasons: Vec<_> = by_reason.into_values().collect();
        reasons.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.reason.cmp(&b.reason)));
        let noted = self.order.values().rev().filter_map(|digest| self.urls.get(digest));
        let urls = noted.filter(|noted| is_named(&noted.site) && search.finds([&*noted.url]));
        let urls = urls.take(most);
        NotStored { reasons, urls: urls.map(|noted| noted.told(now)).collect() }
    }
}

impl Noted {
    fn told(&self, now: Time) -> NotStoredUrl {
        let Decision { why, status, at } = &*self.decision;
        NotStoredUrl {
            url: self.url.to_string(),
            site: self.site.to_string(),
            reason: why.word().to_owned(),
            sentence: why.sentence(),
            status: status.map(|status| status.as_u16()),
            seconds_ago: now.millis_since(*at) / 1000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::UpstreamError;
    use std::collections::HashSet;
    use weir_rules::targeted::Source;

    const SHOP: &str = "shop";

    fn note(recent: &mut Recent, n: u128, slots: (&str, SiteSlot), why: Why, at: Time) {
        let (key, site) = (format!("http://h/{n}\nx: y"), Arc::from(slots.0));
        let about = About { digest: n, key: key.as_bytes(), site: &site, slot: slots.1 };
        recent.note(&about, &Arc::new(Decision { why, status: None, at }));
    }

    fn all(recent: &Recent, most: usize, now: Time) -> NotStored {
        recent.told(most, &Search::default(), now, |_| true, |_| true)
    }

    fn urls(told: &NotStored) -> Vec<&str> {
        told.urls.iter().map(|told| &*told.url).collect()
    }

    #[test]
    fn reasons_are_counted_and_the_last_urls_told_first() {
        let (mut recent, slots) = (Recent::default(), crate::metrics::SiteSlots::default());
        let (shop, blog) = ((SHOP, slots.slot(SHOP)), ("blog", slots.slot("blog")));
        let no_store = || Why::Rule(Reason::NoStore(Source::CacheControl));
        let (t0, t9) = (Time::from_millis(0), Time::from_millis(9_500));
        note(&mut recent, 1, shop, no_store(), t0);
        note(&mut recent, 2, blog, no_store(), t0);
        note(&mut recent, 3, blog, Why::Failed(UpstreamError::Busy), t0);
        note(&mut recent, 1, shop, no_store(), t9);
        let told = all(&recent, 9, t9);
        assert_eq!(urls(&told), ["http://h/1", "http://h/3", "http://h/2"]);
        assert_eq!((told.urls[0].seconds_ago, told.urls[1].seconds_ago), (0, 9));
        let counts: Vec<_> = told.reasons.iter().map(|told| (&*told.reason, told.count)).collect();
        assert_eq!(counts, [("no-store", 3), ("origin-busy", 1)]);
        assert_eq!(told.reasons[0].sentence, "Cache-Control says no-store.");
        assert_eq!(urls(&all(&recent, 1, t9)), ["http://h/1"]);
        let found = recent.told(9, &Search::new("H/2"), t9, |_| true, |_| true);
        assert_eq!((urls(&found), found.reasons.len()), (vec!["http://h/2"], 2));
        let of_shop =
            recent.told(9, &Search::default(), t9, |slot| slot == shop.1, |site| site == SHOP);
        assert_eq!((urls(&of_shop), of_shop.reasons.len()), (vec!["http://h/1"], 1));
        assert_eq!(of_shop.reasons[0].count, 2);
        recent.forget(1);
        assert_eq!(urls(&all(&recent, 9, t9)), ["http://h/3", "http://h/2"]);
        let counts = recent.counts();
        assert!(counts.contains(&("no-store", 3)) && counts.contains(&("private", 0)));
    }

    #[test]
    fn as_many_urls_as_the_bound_are_remembered_and_none_that_are_too_long() {
        let (mut recent, now) = (Recent::default(), Time::from_millis(0));
        let nobody = ("", SiteSlot::NONE);
        for n in 0..2 * MOST_URLS as u128 {
            note(&mut recent, n, nobody, Why::NoRoom, now);
        }
        let told = all(&recent, usize::MAX, now);
        assert_eq!((told.urls.len(), recent.order.len()), (MOST_URLS, MOST_URLS));
        assert_eq!(told.urls[0].url, format!("http://h/{}", 2 * MOST_URLS - 1));
        let (key, site) = (format!("http://h/{}", "a".repeat(4096)), Arc::from(""));
        let long =
            About { digest: u128::MAX, key: key.as_bytes(), site: &site, slot: SiteSlot::NONE };
        recent.note(&long, &Arc::new(Decision { why: Why::NoRoom, status: None, at: now }));
        assert!(!recent.urls.contains_key(&u128::MAX));
        assert_eq!(all(&recent, 0, now).reasons[0].count, 2 * MOST_URLS as u64 + 1);
    }

    #[test]
    fn every_word_has_one_place() {
        let words: Vec<_> = words().collect();
        assert_eq!(words.iter().collect::<HashSet<_>>().len(), words.len());
        let docs = include_str!("../../../docs/not-cached.md");
        for word in &words {
            assert!(weir_rules::remedy::remedy(word).is_some(), "what to do about {word}?");
            let row = if word.starts_with("origin-") { "origin-..." } else { word };
            assert!(
                docs.contains(&format!("`{row}`")),
                "docs/not-cached.md says nothing of {word}"
            );
        }
        for why in [
            Why::Rule(Reason::Method),
            Why::Rule(Reason::TooManyTags(1)),
            Why::TooLarge(1),
            Why::NoRoom,
            Why::NoRoomOnDisk,
            Why::NoRoomForClient,
            Why::FieldTooLong,
            Why::Overtaken,
            Why::NotAdmitted,
            Why::Failed(UpstreamError::ConnectTimeout),
            Why::Failed(UpstreamError::TotalTimeout),
        ] {
            assert_eq!(words[place(&why)], why.word());
        }
    }
}
