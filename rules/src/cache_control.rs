//! The `Cache-Control` field (RFC 9111 §5.2), parsed once into what the rules ask of it.

pub(crate) mod parse;

use http::header::{CACHE_CONTROL, PRAGMA};
use http::{HeaderMap, HeaderName, HeaderValue};
use parse::{Argument, Directive};
use std::fmt;

/// Response directives (RFC 9111 §5.2.2, RFC 5861, RFC 8246), from `Cache-Control` or from a
/// targeted field. Delta-seconds are clamped to 2^31 (§1.2.2). Unknown directives are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseDirectives {
    /// `max-age`.
    pub max_age: Option<DeltaSeconds>,
    /// `s-maxage`.
    pub s_maxage: Option<DeltaSeconds>,
    /// `no-store`.
    pub no_store: bool,
    /// `no-cache`, plain or qualified by field names.
    pub no_cache: Qualified,
    /// `private`, plain or qualified by field names.
    pub private: Qualified,
    /// `public`.
    pub public: bool,
    /// `must-revalidate`.
    pub must_revalidate: bool,
    /// `proxy-revalidate`.
    pub proxy_revalidate: bool,
    /// `must-understand`.
    pub must_understand: bool,
    /// `no-transform`.
    pub no_transform: bool,
    /// `immutable` (RFC 8246).
    pub immutable: bool,
    /// `stale-while-revalidate` (RFC 5861 §3).
    pub stale_while_revalidate: Option<DeltaSeconds>,
    /// `stale-if-error` (RFC 5861 §4).
    pub stale_if_error: Option<DeltaSeconds>,
}

/// Seconds, at most 2^31.
pub type DeltaSeconds = u32;

/// A directive that may be limited to named fields (RFC 9111 §5.2.2.4, §5.2.2.7).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Qualified {
    /// Not present.
    #[default]
    Absent,
    /// Present for the whole response.
    Whole,
    /// Present for these fields only.
    Fields(Vec<HeaderName>),
}

/// Request directives (RFC 9111 §5.2.1), `Pragma: no-cache` folded in (§5.4) where there is no
/// `Cache-Control`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    /// `no-cache`.
    pub no_cache: bool,
    /// `no-store`.
    pub no_store: bool,
    /// `only-if-cached`.
    pub only_if_cached: bool,
    /// `max-age`.
    pub max_age: Option<DeltaSeconds>,
    /// `min-fresh`.
    pub min_fresh: Option<DeltaSeconds>,
    /// `max-stale`; without a value it is `u32::MAX`.
    pub max_stale: Option<DeltaSeconds>,
}

impl Qualified {
    /// Whether it is for the whole response.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self, Self::Whole)
    }
}

impl ResponseDirectives {
    /// What all `Cache-Control` lines of a response say together.
    pub fn from_headers(headers: &HeaderMap) -> Self {
        Self::from_lines(headers.get_all(CACHE_CONTROL).iter().map(HeaderValue::as_bytes))
    }

    /// What these field lines say together.
    ///
    /// Of a directive that comes more than once the smallest value counts, and one that is not a
    /// number counts as 0 (RFC 9111 §4.2.1: such a response is best taken for stale).
    pub(crate) fn from_lines<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut all = Self::default();
        for line in lines {
            for directive in parse::directives(line) {
                all.add(&directive);
            }
        }
        all
    }

    /// Whether a lifetime is given: `s-maxage` or `max-age` (RFC 9111 §4.2.1).
    pub fn gives_lifetime(&self) -> bool {
        self.s_maxage.is_some() || self.max_age.is_some()
    }

    /// A directive that restricts keeps its effect with an argument it does not define; one that
    /// permits loses it.
    fn add(&mut self, directive: &Directive<'_>) {
        let argument = &directive.argument;
        let bare = *argument == Argument::Absent;
        if directive.is("max-age") {
            least(&mut self.max_age, argument);
        } else if directive.is("s-maxage") {
            least(&mut self.s_maxage, argument);
        } else if directive.is("no-store") {
            self.no_store = true;
        } else if directive.is("no-cache") {
            self.no_cache.add(argument);
        } else if directive.is("private") {
            self.private.add(argument);
        } else if directive.is("public") {
            self.public |= bare;
        } else if directive.is("must-revalidate") {
            self.must_revalidate = true;
        } else if directive.is("proxy-revalidate") {
            self.proxy_revalidate = true;
        } else if directive.is("must-understand") {
            self.must_understand |= bare;
        } else if directive.is("no-transform") {
            self.no_transform = true;
        } else if directive.is("immutable") {
            self.immutable |= bare;
        } else if directive.is("stale-while-revalidate") {
            least(&mut self.stale_while_revalidate, argument);
        } else if directive.is("stale-if-error") {
            least(&mut self.stale_if_error, argument);
        }
        // RFC 9111 §5.2.3: what is not known is ignored.
    }
}

impl Qualified {
    /// Adds one occurrence. An argument that does not name fields restricts the whole response.
    fn add(&mut self, argument: &Argument<'_>) {
        let named = match argument {
            Argument::Value(names) => field_names(names),
            Argument::Absent | Argument::Malformed => None,
        };
        match (&mut *self, named) {
            (Self::Whole, _) | (_, None) => *self = Self::Whole,
            (Self::Absent, Some(names)) => *self = Self::Fields(names),
            (Self::Fields(known), Some(names)) => {
                let new: Vec<_> = names.into_iter().filter(|name| !known.contains(name)).collect();
                known.extend(new);
            }
        }
    }

    /// The argument of a directive that a targeted field gives as a string or a token.
    pub(crate) fn from_names(names: &[u8]) -> Self {
        field_names(names).map_or(Self::Whole, Self::Fields)
    }
}

impl fmt::Display for ResponseDirectives {
    /// The canonical `Cache-Control`: lower case, fixed order, each directive once. Reading it gives
    /// an equal value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        qualified(&mut parts, "private", &self.private);
        qualified(&mut parts, "no-cache", &self.no_cache);
        for (name, said) in [
            ("no-store", self.no_store),
            ("public", self.public),
            ("must-revalidate", self.must_revalidate),
            ("proxy-revalidate", self.proxy_revalidate),
            ("must-understand", self.must_understand),
            ("no-transform", self.no_transform),
            ("immutable", self.immutable),
        ] {
            if said {
                parts.push(name.to_owned());
            }
        }
        for (name, seconds) in [
            ("max-age", self.max_age),
            ("s-maxage", self.s_maxage),
            ("stale-while-revalidate", self.stale_while_revalidate),
            ("stale-if-error", self.stale_if_error),
        ] {
            parts.extend(seconds.map(|seconds| format!("{name}={seconds}")));
        }
        f.write_str(&parts.join(", "))
    }
}

fn qualified(parts: &mut Vec<String>, name: &str, value: &Qualified) {
    match value {
        Qualified::Absent => {}
        Qualified::Whole => parts.push(name.to_owned()),
        Qualified::Fields(fields) => {
            let fields: Vec<_> = fields.iter().map(HeaderName::as_str).collect();
            parts.push(format!("{name}=\"{}\"", fields.join(", ")));
        }
    }
}

/// Field names separated by commas; `None` when there is none or one is not a name.
fn field_names(list: &[u8]) -> Option<Vec<HeaderName>> {
    let mut names = Vec::new();
    for member in list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
        if member.is_empty() {
            continue;
        }
        let name = HeaderName::from_bytes(member).ok()?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    (!names.is_empty()).then_some(names)
}

/// Keeps the smallest value seen; one that is not a number is 0.
fn least(slot: &mut Option<DeltaSeconds>, argument: &Argument<'_>) {
    let seconds = argument.seconds().unwrap_or(0);
    *slot = Some(slot.map_or(seconds, |known| known.min(seconds)));
}

impl RequestDirectives {
    /// What all `Cache-Control` lines (else `Pragma`) of a request say together. Where values
    /// conflict the most demanding counts; a `max-stale` or `min-fresh` that is not a number is
    /// ignored, such a `max-age` is 0.
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let mut all = Self::default();
        if !headers.contains_key(CACHE_CONTROL) {
            // RFC 9111 §5.4: only where there is no Cache-Control.
            all.no_cache = pragma_no_cache(headers);
            return all;
        }
        for line in headers.get_all(CACHE_CONTROL) {
            for directive in parse::directives(line.as_bytes()) {
                all.add(&directive);
            }
        }
        all
    }

    fn add(&mut self, directive: &Directive<'_>) {
        let argument = &directive.argument;
        if directive.is("no-cache") {
            self.no_cache = true;
        } else if directive.is("no-store") {
            self.no_store = true;
        } else if directive.is("only-if-cached") {
            self.only_if_cached = true;
        } else if directive.is("max-age") {
            least(&mut self.max_age, argument);
        } else if directive.is("min-fresh") {
            self.min_fresh = self.min_fresh.max(argument.seconds());
        } else if directive.is("max-stale") {
            // RFC 9111 §5.2.1.2: without a value, a response of any age.
            let seconds = match argument {
                Argument::Absent => Some(u32::MAX),
                given => given.seconds(),
            };
            if let Some(seconds) = seconds {
                self.max_stale = Some(self.max_stale.map_or(seconds, |known| known.min(seconds)));
            }
        }
    }
}

/// Whether `Pragma` says `no-cache` (RFC 9111 §5.4).
pub(crate) fn pragma_no_cache(headers: &HeaderMap) -> bool {
    headers
        .get_all(PRAGMA)
        .iter()
        .flat_map(|line| parse::directives(line.as_bytes()))
        .any(|directive| directive.is("no-cache"))
}

#[cfg(test)]
#[path = "cache_control/tests.rs"]
mod tests;
