//! The adapter to http-cache-semantics: asked at store time, once for each question, over canonical fields.
//!
//! The library judges well what it judges: which of the explicit lifetimes counts, what Expires
//! leaves, which status is cacheable by default, what no-store, private and Authorization forbid.
//! It reads fields naively, so it never sees any that came over the wire: it is asked about a
//! synthetic GET and a response with a handful of fields written by us. Its answer is used for a
//! decision and a lifetime only, never its header maps.

mod memo;
mod overruled;

pub use overruled::Overruled;

use crate::cache_control::{Qualified, ResponseDirectives};
use crate::freshness::State;
use crate::storability::facts::{Expires, Facts};
use crate::storability::rules::{self, Judged};
use crate::storability::{Exchange, Reason, SitePolicy};
use crate::time::Time;
use crate::vary::Vary;
use http::header::{
    AGE, AUTHORIZATION, CACHE_CONTROL, DATE, EXPIRES, LAST_MODIFIED, SET_COOKIE, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_cache_semantics::{CacheOptions, CachePolicy};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What http-cache-semantics makes of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opinion {
    /// `is_storable()`.
    pub storable: bool,
    /// `time_to_live()` when the response arrived, in seconds, at most 2^31.
    pub time_to_live: u32,
}

/// How our own decision stands to that opinion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// Both store or both do not, and for the same time.
    Same,
    /// They differ for this listed reason.
    Overruled(Overruled),
    /// They differ and nothing listed explains it. The more careful one counts.
    Unlisted,
}

/// Both decisions about one exchange, side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Review {
    /// What the library says.
    pub opinion: Opinion,
    /// How ours stands to it.
    pub agreement: Agreement,
}

/// Reviews one exchange; [`crate::storability::storability`] does the same and acts on it.
pub fn review(exchange: &Exchange<'_>, policy: &SitePolicy) -> Review {
    let facts = Facts::of(exchange);
    review_of(&facts, &rules::judge(&facts, policy), policy)
}

pub(crate) fn review_of(
    facts: &Facts<'_>,
    own: &Result<Judged, Reason>,
    policy: &SitePolicy,
) -> Review {
    let opinion = match memo::Question::of(facts) {
        Some(question) => memo::remembered(question, || opinion(facts)),
        None => opinion(facts),
    };
    let same = match own {
        Err(_) => !opinion.storable,
        Ok(judged) => opinion.storable && left(facts, judged) == opinion.time_to_live,
    };
    let agreement = if same {
        Agreement::Same
    } else {
        overruled::find(facts, own, opinion, policy)
            .map_or(Agreement::Unlisted, Agreement::Overruled)
    };
    Review { opinion, agreement }
}

/// Seconds of freshness that our own decision leaves on arrival.
fn left(facts: &Facts<'_>, judged: &Judged) -> u32 {
    match judged.freshness.state(facts.exchange.received) {
        State::Fresh { left } => left,
        State::Refreshable { .. } | State::Stale { .. } => 0,
    }
}

/// Asks the library.
fn opinion(facts: &Facts<'_>) -> Opinion {
    let received = system_time(facts.exchange.response_time);
    let policy = CachePolicy::new_options(
        &canonical_request(facts),
        &canonical_response(facts),
        received,
        CacheOptions { shared: true, ..CacheOptions::default() },
    );
    let time_to_live = policy.time_to_live(received).as_secs();
    Opinion {
        storable: policy.is_storable(),
        time_to_live: u32::try_from(time_to_live).unwrap_or(u32::MAX).min(1 << 31),
    }
}

/// A GET, with the mark of an Authorization if the client sent any. A POST's response that may be stored
/// answers later GETs, so it is judged as one. The URL has no part in the library's answer.
fn canonical_request(facts: &Facts<'_>) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = Method::GET;
    if facts.authorization {
        insert(request.headers_mut(), AUTHORIZATION, "present");
    }
    request
}

/// The response as we have read it: the directives that govern, each once; dates rewritten; the
/// whole corrected age in Age.
fn canonical_response(facts: &Facts<'_>) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = facts.exchange.status;
    let headers = response.headers_mut();
    let cache_control = canonical_directives(&facts.governing.directives).to_string();
    if !cache_control.is_empty() {
        insert(headers, CACHE_CONTROL, &cache_control);
    }
    let generated = facts.generated();
    insert(headers, DATE, &generated.to_http_date());
    if !facts.governing.source.is_targeted() {
        match facts.expires {
            Expires::Absent => {}
            Expires::Invalid => insert(headers, EXPIRES, "0"),
            Expires::At(time) => {
                let time = time.min(generated.plus_millis(MAX_SECONDS * 1000));
                insert(headers, EXPIRES, &time.to_http_date());
            }
        }
    }
    if let Some(time) = facts.last_modified {
        insert(headers, LAST_MODIFIED, &time.to_http_date());
    }
    insert(headers, AGE, &facts.initial_age.div_ceil(1000).min(MAX_SECONDS).to_string());
    if facts.set_cookie {
        insert(headers, SET_COOKIE, "present");
    }
    if facts.vary == Vary::Any {
        insert(headers, VARY, "*");
    }
    response
}

/// RFC 9111 §1.2.2.
const MAX_SECONDS: u64 = 1 << 31;

/// The library takes qualified directives for plain ones, and would split their field names.
fn canonical_directives(directives: &ResponseDirectives) -> ResponseDirectives {
    let plain = |qualified: &Qualified| match qualified {
        Qualified::Absent => Qualified::Absent,
        Qualified::Whole | Qualified::Fields(_) => Qualified::Whole,
    };
    ResponseDirectives {
        private: plain(&directives.private),
        no_cache: plain(&directives.no_cache),
        ..directives.clone()
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Saturates where the system's clock ends.
fn system_time(time: Time) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_millis(time.as_millis())).unwrap_or(UNIX_EPOCH)
}
