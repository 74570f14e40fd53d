//! What a site does with the cookies of a request, besides having some of them in its key.
//!
//! INVARIANT: a cookie that is ignored is in neither the key nor what selects a stored response, and the
//! origin does not get it; one that is not is there as the client sent it. Otherwise what is stored for all
//! could depend on what one client sent.

use super::{Cookie, CookieNames, combined, cookies};
use crate::key::{KeyRules, cookie_is_named};
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

/// What a site does with cookies.
///
/// A cookie has one use, the first of: it makes requests skip the store, it is part of the key, it is ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CookieRules {
    /// Cookies that say nothing to the origin.
    pub ignore: CookieNames,
    /// Cookies that make a request skip the store in both directions.
    pub bypass: CookieNames,
}

/// What a cookie of a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieUse {
    /// It makes the request skip the store.
    Bypass,
    /// It is part of the key.
    Key,
    /// The origin does not get it.
    Ignored,
    /// The origin gets it, and `Vary: Cookie` selects by it.
    Other,
}

/// What the cookies of a request mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Whether one of them makes the request skip the store.
    pub bypass: bool,
    /// What is left of the Cookie field.
    pub remaining: Remaining,
}

/// What is left of the Cookie field of a request without those that are ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remaining {
    /// All of it, as it was sent.
    AsSent,
    /// No cookie.
    Nothing,
    /// These cookies.
    Line(HeaderValue),
}

impl Remaining {
    /// Whether the field is to be changed.
    pub fn differs(&self) -> bool {
        *self != Self::AsSent
    }

    /// Changes the Cookie field of a request into this.
    pub fn put(self, request: &mut HeaderMap) {
        match self {
            Self::AsSent => {}
            Self::Nothing => drop(request.remove(COOKIE)),
            Self::Line(line) => drop(request.insert(COOKIE, line)),
        }
    }
}

impl CookieRules {
    /// Judges the cookies of a request, all lines of them. `key` has those of the key.
    ///
    /// What is left is what the client would have sent without the cookies that are ignored, byte for byte.
    pub fn judge(&self, key: &KeyRules, request: &HeaderMap) -> Judged {
        match combined(request) {
            None => Judged { bypass: false, remaining: Remaining::AsSent },
            Some(line) => Judged {
                bypass: cookies(&line).any(|cookie| self.bypasses(&cookie)),
                remaining: self.remaining(key, request, &line),
            },
        }
    }

    /// Whether a request has a cookie that makes it skip the store.
    pub fn make_skip(&self, request: &HeaderMap) -> bool {
        combined(request).is_some_and(|line| cookies(&line).any(|cookie| self.bypasses(&cookie)))
    }

    /// What a cookie is for.
    fn use_of(&self, key: &KeyRules, cookie: &Cookie<'_>) -> CookieUse {
        if self.bypasses(cookie) {
            CookieUse::Bypass
        } else if key.cookies.iter().any(|name| cookie_is_named(name, cookie.name)) {
            CookieUse::Key
        } else if self.ignore.has(cookie.name) {
            CookieUse::Ignored
        } else {
            CookieUse::Other
        }
    }

    fn is_ignored(&self, key: &KeyRules, cookie: &Cookie<'_>) -> bool {
        // Looked up first: most cookies are not in the list, and most of those that are have no other use.
        self.ignore.has(cookie.name) && self.use_of(key, cookie) == CookieUse::Ignored
    }

    /// Whether a pair has a cookie that makes the request skip the store. Origins differ in how they read
    /// what is malformed: some take white space or a comma for the end of a cookie (RFC 2109 §4.3.4). A name
    /// counts wherever one of them may find it.
    fn bypasses(&self, cookie: &Cookie<'_>) -> bool {
        let further = || {
            let words = cookie.pair.split(|b| b" \t,".contains(b)).skip(1);
            words.filter_map(|word| memchr::memchr(b'=', word).map(|end| &word[..end]))
        };
        !self.bypass.is_empty()
            && (self.bypass.has(cookie.name) || further().any(|name| self.bypass.has(name)))
    }

    fn remaining(&self, key: &KeyRules, request: &HeaderMap, line: &[u8]) -> Remaining {
        if self.ignore.is_empty() {
            return Remaining::AsSent;
        }
        if cookies(line).all(|cookie| self.is_ignored(key, &cookie)) {
            return Remaining::Nothing;
        }
        if !cookies(line).any(|cookie| self.is_ignored(key, &cookie)) {
            return Remaining::AsSent;
        }
        let stays = |part: &&[u8]| !cookies(part).any(|cookie| self.is_ignored(key, &cookie));
        let left: Vec<&[u8]> = line.split(|&b| b == b';').filter(stays).collect();
        let left = left.join(&b';');
        // Parts of a valid value, joined as they were, are valid.
        let Ok(mut line) = HeaderValue::from_bytes(left.trim_ascii()) else {
            return Remaining::Nothing;
        };
        line.set_sensitive(request.get_all(COOKIE).iter().any(HeaderValue::is_sensitive));
        Remaining::Line(line)
    }
}

/// The names of a request's cookies, each with its use, in the client's order. A site may have no rules.
pub fn uses(
    rules: Option<&CookieRules>,
    key: &KeyRules,
    request: &HeaderMap,
) -> Vec<(String, CookieUse)> {
    let none = CookieRules::default();
    let rules = rules.unwrap_or(&none);
    let line = combined(request).unwrap_or_default();
    let uses = cookies(&line).map(|cookie| {
        let name = String::from_utf8_lossy(cookie.name).into_owned();
        (name, rules.use_of(key, &cookie))
    });
    uses.collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
