//! What the rules ask of one exchange, read from its fields once.

use super::Exchange;
use crate::cache_control::Qualified;
use crate::freshness::{age, date};
use crate::targeted::{self, Governing};
use crate::time::Time;
use crate::vary::Vary;
use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, COOKIE, DATE,
    ETAG, EXPIRES, LAST_MODIFIED, SET_COOKIE, TRANSFER_ENCODING, VARY,
};
use http::{HeaderMap, HeaderName};

/// One exchange, read.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) exchange: &'a Exchange<'a>,
    /// The field that governs, and what it says.
    pub(crate) governing: Governing,
    pub(crate) vary: Vary,
    /// The request had Authorization.
    pub(crate) authorization: bool,
    /// The request had Cookie.
    pub(crate) cookie: bool,
    /// The response has Set-Cookie and nothing keeps that out of the store.
    pub(crate) set_cookie: bool,
    /// `no-cache` for the whole response.
    pub(crate) no_cache: bool,
    /// `private` for the whole response.
    pub(crate) private: bool,
    /// Fields that qualified `private` and `no-cache` keep out of the store.
    pub(crate) omit: Vec<HeaderName>,
    pub(crate) date: Option<Time>,
    pub(crate) expires: Expires,
    pub(crate) last_modified: Option<Time>,
    /// The response can be validated: it has an ETag, or a Last-Modified that is a date.
    pub(crate) validator: bool,
    /// corrected_initial_age in milliseconds (RFC 9111 §4.2.3).
    pub(crate) initial_age: u64,
}

/// The `Expires` field (RFC 9111 §5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expires {
    /// Not there.
    Absent,
    /// Not a date, or more than one: already over (§4.2.1, §5.3).
    Invalid,
    /// A date.
    At(Time),
}

impl<'a> Facts<'a> {
    pub(crate) fn of(exchange: &'a Exchange<'a>) -> Self {
        let (request, response) = (exchange.request, exchange.response);
        let received = exchange.response_time;
        let governing = targeted::governing(response);
        let (private, mut omit) = split(&governing.directives.private);
        let (no_cache, also) = split(&governing.directives.no_cache);
        for name in also {
            if !omit.contains(&name) {
                omit.push(name);
            }
        }
        let date = first_date(response, &DATE, received);
        let last_modified = first_date(response, &LAST_MODIFIED, received);
        Self {
            exchange,
            vary: Vary::from_headers(response),
            authorization: request.contains_key(AUTHORIZATION),
            cookie: request.contains_key(COOKIE),
            set_cookie: response.contains_key(SET_COOKIE) && !omit.contains(&SET_COOKIE),
            no_cache,
            private,
            date,
            expires: expires(response, received),
            last_modified,
            validator: last_modified.is_some() && !omit.contains(&LAST_MODIFIED)
                || has_etag(response) && !omit.contains(&ETAG),
            initial_age: age::corrected_initial_age(
                age::age_value(response),
                date,
                exchange.request_time,
                received,
            ),
            governing,
            omit,
        }
    }

    /// When the response was generated: its Date, else the Date that whoever stores it adds, the
    /// second in which it arrived (RFC 9110 §6.6.1).
    pub(crate) fn generated(&self) -> Time {
        self.date.unwrap_or(Time::from_secs(self.exchange.response_time.as_secs()))
    }
}

/// Fields without which what is stored would be read, selected or framed wrongly. A directive that
/// keeps one of them out of the store keeps the response out.
static INDISPENSABLE: [HeaderName; 6] =
    [CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, TRANSFER_ENCODING, VARY];

/// Whether a directive speaks of the whole response, and else which fields it names.
fn split(directive: &Qualified) -> (bool, Vec<HeaderName>) {
    match directive {
        Qualified::Absent => (false, Vec::new()),
        Qualified::Whole => (true, Vec::new()),
        Qualified::Fields(names) if names.iter().any(|name| INDISPENSABLE.contains(name)) => {
            (true, Vec::new())
        }
        Qualified::Fields(names) => (false, names.clone()),
    }
}

fn expires(response: &HeaderMap, received: Time) -> Expires {
    let mut lines = response.get_all(EXPIRES).iter();
    match (lines.next(), lines.next()) {
        (None, _) => Expires::Absent,
        (Some(line), None) => {
            date::parse(line.as_bytes(), Some(received)).map_or(Expires::Invalid, Expires::At)
        }
        // RFC 9111 §4.2.1: more than one value is as good as stale.
        (Some(_), Some(_)) => Expires::Invalid,
    }
}

fn first_date(headers: &HeaderMap, name: &HeaderName, received: Time) -> Option<Time> {
    date::parse(headers.get(name)?.as_bytes(), Some(received))
}

fn has_etag(headers: &HeaderMap) -> bool {
    headers.get(ETAG).is_some_and(|value| !value.as_bytes().trim_ascii().is_empty())
}
