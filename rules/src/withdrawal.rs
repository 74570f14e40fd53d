//! What an origin withdraws with its answer to a GET: a full response means that no stored one is
//! suitable for the request (RFC 9111 §4.3.3), so a stored one must not come back.

use crate::cache_control::Qualified;
use crate::targeted;
use http::header::{AUTHORIZATION, SET_COOKIE, VARY};
use http::{HeaderMap, StatusCode};

/// The stored responses that an answer withdraws, among those stored before its request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawal {
    /// None.
    Nothing,
    /// The one that the request selected.
    Selected,
    /// All variants and parts of the resource.
    All,
}

impl Withdrawal {
    /// What an answer of the origin withdraws, whose `request` was a GET with these headers. A 206
    /// must be one that fits the range that was asked for.
    ///
    /// An error of the server (5xx) withdraws nothing, and neither does an answer that is about one
    /// request rather than its URL. A request with Authorization may be refused, redirected or
    /// answered privately for its own sake.
    pub fn of(status: StatusCode, request: &HeaderMap, response: &HeaderMap) -> Self {
        let all = || if response.contains_key(VARY) { Self::Selected } else { Self::All };
        let withdrawal = match status.as_u16() {
            206 | 304 => Self::Nothing,
            200..=399 | 401 | 403 | 451 => Self::Selected,
            404 | 410 => all(),
            _ => Self::Nothing,
        };
        match request.contains_key(AUTHORIZATION) && is_personal(status, response) {
            true => Self::Nothing,
            false => withdrawal,
        }
    }
}

/// Whether an answer may be owed to the credentials of its request.
fn is_personal(status: StatusCode, response: &HeaderMap) -> bool {
    matches!(status.as_u16(), 300..=399 | 401 | 403)
        || response.contains_key(SET_COOKIE)
        || targeted::governing(response).directives.private != Qualified::Absent
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        let name = http::HeaderName::from_static(name);
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    fn of(status: u16, request: &HeaderMap, response: &HeaderMap) -> Withdrawal {
        Withdrawal::of(StatusCode::from_u16(status).unwrap_or_default(), request, response)
    }

    #[test]
    fn the_status_decides() {
        let (none, vary) = (HeaderMap::new(), headers("vary", "accept"));
        for status in 100..=599 {
            let expected = match status {
                206 | 304 => Withdrawal::Nothing,
                200..=399 | 401 | 403 | 451 => Withdrawal::Selected,
                404 | 410 => Withdrawal::All,
                _ => Withdrawal::Nothing,
            };
            assert_eq!(of(status, &none, &none), expected, "{status}");
            let fewer = if expected == Withdrawal::All { Withdrawal::Selected } else { expected };
            assert_eq!(of(status, &none, &vary), fewer, "{status} with Vary");
        }
        // About one request, not about its URL.
        for status in [
            400, 405, 406, 407, 408, 412, 413, 414, 415, 416, 417, 421, 425, 426, 428, 429, 431,
            511,
        ] {
            assert_eq!(of(status, &none, &none), Withdrawal::Nothing, "{status}");
        }
    }

    #[test]
    fn what_credentials_bring_about_withdraws_nothing() {
        let (none, authorized) = (HeaderMap::new(), headers("authorization", "Basic YTpi"));
        let private = headers("cache-control", "private");
        let cookie = headers("set-cookie", "a=1");
        for (status, response, expected) in [
            (401, &none, Withdrawal::Nothing),
            (403, &none, Withdrawal::Nothing),
            (302, &none, Withdrawal::Nothing),
            (200, &private, Withdrawal::Nothing),
            (200, &cookie, Withdrawal::Nothing),
            (404, &cookie, Withdrawal::Nothing),
            (200, &none, Withdrawal::Selected),
            (404, &none, Withdrawal::All),
            (410, &none, Withdrawal::All),
        ] {
            assert_eq!(of(status, &authorized, response), expected, "{status} {response:?}");
        }
        // Most visitors have a cookie of some kind.
        let visitor = headers("cookie", "_ga=1");
        for response in [&none, &private, &cookie] {
            assert_eq!(of(302, &visitor, response), Withdrawal::Selected, "{response:?}");
        }
    }
}
