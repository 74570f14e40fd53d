//! Opinions that were asked for a moment ago. What an origin says about caching is the same for many of its
//! responses, and to ask the library costs as much as all of our own rules.
//!
//! The library's answer follows from the canonical request and response alone, and of the dates in them only from
//! how far they lie apart. A development build asks each time, and fails if that were not so.

use super::{MAX_SECONDS, Opinion, canonical_directives};
use crate::cache_control::ResponseDirectives;
use crate::storability::facts::{Expires, Facts};
use crate::time::Time;
use crate::vary::Vary;
use http::StatusCode;
use std::cell::RefCell;

/// Opinions that each thread keeps.
const KEPT: usize = 16;

/// The end of the year 9999: dates have four digits for the year.
const LAST: u64 = 253_402_300_799;

/// All that an opinion depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    status: StatusCode,
    authorization: bool,
    set_cookie: bool,
    any: bool,
    age: u64,
    /// Seconds from Date on; `Err` of an Expires that is no date.
    expires: Option<Result<u64, ()>>,
    /// Whether Expires lies before Date, and by how much.
    expired: u64,
    /// Seconds from Last-Modified to Date, and from Date to Last-Modified.
    modified: Option<(u64, u64)>,
    directives: ResponseDirectives,
}

impl Question {
    /// The question about an exchange; `None` if its dates cannot be written.
    pub(super) fn of(facts: &Facts<'_>) -> Option<Self> {
        let generated = facts.generated().as_secs();
        let writable = |time: Time| time.as_secs() <= LAST;
        let (mut expires, mut expired) = (None, 0);
        if !facts.governing.source.is_targeted() {
            match facts.expires {
                Expires::Absent => {}
                Expires::Invalid => expires = Some(Err(())),
                Expires::At(time) if writable(time) => {
                    let after = time.as_secs().saturating_sub(generated).min(MAX_SECONDS);
                    expires = Some(Ok(after));
                    expired = generated.saturating_sub(time.as_secs());
                }
                Expires::At(_) => return None,
            }
        }
        let modified = facts.last_modified.map(|time| {
            let time = time.as_secs();
            (generated.saturating_sub(time), time.saturating_sub(generated))
        });
        let fits = generated + MAX_SECONDS <= LAST && facts.last_modified.is_none_or(writable);
        fits.then(|| Self {
            status: facts.exchange.status,
            authorization: facts.authorization,
            set_cookie: facts.set_cookie,
            any: facts.vary == Vary::Any,
            age: facts.initial_age.div_ceil(1000).min(MAX_SECONDS),
            expires,
            expired,
            modified,
            directives: canonical_directives(&facts.governing.directives),
        })
    }
}

/// The opinions that a thread keeps, and the place of the next.
struct Memo {
    kept: Vec<(Question, Opinion)>,
    next: usize,
}

thread_local! {
    static MEMO: RefCell<Memo> = const { RefCell::new(Memo { kept: Vec::new(), next: 0 }) };
}

/// The opinion about a question: the one that is kept, or what `ask` says.
pub(super) fn remembered(question: Question, ask: impl FnOnce() -> Opinion) -> Opinion {
    MEMO.with_borrow_mut(|memo| {
        if let Some((_, opinion)) = memo.kept.iter().find(|(kept, _)| *kept == question) {
            debug_assert_eq!(ask(), *opinion, "two answers to the same question: {question:?}");
            return *opinion;
        }
        let opinion = ask();
        match memo.kept.len() < KEPT {
            true => memo.kept.push((question, opinion)),
            false => memo.kept[memo.next] = (question, opinion),
        }
        memo.next = (memo.next + 1) % KEPT;
        opinion
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opinion_is_asked_for_once_as_long_as_it_is_kept() {
        let question = |age| Question {
            status: StatusCode::OK,
            authorization: false,
            set_cookie: false,
            any: false,
            age,
            expires: None,
            expired: 0,
            modified: None,
            directives: ResponseDirectives::default(),
        };
        let mut asked = Vec::new();
        let mut ask = |age: u64| {
            let opinion = Opinion { storable: true, time_to_live: age as u32 };
            let mut came = false;
            let answer = remembered(question(age), || {
                came = true;
                opinion
            });
            assert_eq!(answer, opinion);
            // A development build asks each time, to compare.
            asked.push(came);
        };
        (0..KEPT as u64 + 1).for_each(&mut ask);
        ask(1);
        assert!(asked[..=KEPT].iter().all(|came| *came));
        assert_eq!(MEMO.with_borrow(|memo| memo.kept.len()), KEPT, "no more are kept");
        let kept = |age| MEMO.with_borrow(|memo| memo.kept.iter().any(|(q, _)| q.age == age));
        assert!(kept(KEPT as u64) && kept(1) && !kept(0), "the oldest makes room");
    }
}
