//! Reasons in words: one for machines, one for people.

use super::Reason;
use crate::targeted::Source;

impl Reason {
    /// Every word that [`Reason::word`] gives.
    pub const WORDS: [&'static str; 15] = [
        "method",
        "status",
        "no-store",
        "private",
        "authorization",
        "set-cookie",
        "cookie-without-freshness",
        "vary-any",
        "nothing-to-go-by",
        "not-understood",
        "partial-content",
        "already-stale",
        "no-cache",
        "second-opinion",
        "too-many-tags",
    ];

    /// A stable word for logs, metrics and JSON, in kebab-case.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Status(_) => "status",
            Self::NoStore(_) => "no-store",
            Self::Private(_) => "private",
            Self::Authorization => "authorization",
            Self::SetCookie => "set-cookie",
            Self::CookieWithoutFreshness => "cookie-without-freshness",
            Self::VaryAny => "vary-any",
            Self::NothingToGoBy => "nothing-to-go-by",
            Self::NotUnderstood(_) => "not-understood",
            Self::PartialContent(_) => "partial-content",
            Self::AlreadyStale => "already-stale",
            Self::NoCache(_) => "no-cache",
            Self::SecondOpinion => "second-opinion",
            Self::TooManyTags(_) => "too-many-tags",
        }
    }

    /// One sentence that names the header or rule and its value, for people.
    pub fn sentence(&self) -> String {
        match self {
            Self::Method => "Only responses to GET are stored, and those to POST that have \
                explicit freshness and a Content-Location equal to the request's own URL."
                .to_owned(),
            Self::Status(status) => format!(
                "Status {} may not be stored, or not without explicit freshness (max-age, \
                 s-maxage, Expires) or public.",
                status.as_u16()
            ),
            Self::NoStore(source) => said(*source, "no-store"),
            Self::Private(source) => said(*source, "private"),
            Self::Authorization => "The request has Authorization and the response does not say \
                public, must-revalidate or s-maxage."
                .to_owned(),
            Self::SetCookie => "The response has Set-Cookie and neither public, s-maxage nor a \
                targeted field (CDN-Cache-Control, Surrogate-Control)."
                .to_owned(),
            Self::CookieWithoutFreshness => "The request has Cookie and the response no explicit \
                freshness (max-age, s-maxage, Expires)."
                .to_owned(),
            Self::VaryAny => "The response has Vary: *, so no request can select it.".to_owned(),
            Self::NothingToGoBy => "The response has neither freshness (max-age, s-maxage, \
                Expires) nor a validator (ETag, Last-Modified)."
                .to_owned(),
            Self::NotUnderstood(status) => format!(
                "The response says must-understand and status {} is not one whose caching rules \
                 are known here.",
                status.as_u16()
            ),
            Self::PartialContent(why) => format!("The response is a 206, and {why}."),
            Self::AlreadyStale => "The response was stale on arrival (its max-age, s-maxage or \
                Expires against its Age and Date) and has no validator (ETag, Last-Modified)."
                .to_owned(),
            Self::NoCache(Source::CacheControl) => "Cache-Control says no-cache, or Pragma does \
                in its place, and there is no validator (ETag, Last-Modified)."
                .to_owned(),
            Self::NoCache(source) => format!(
                "{} says no-cache and there is no validator (ETag, Last-Modified).",
                source.field()
            ),
            Self::TooManyTags(most) => format!(
                "The response has more than {most} cache tags (limits.tags), or one longer than \
                 1024 bytes; a purge by a tag that was left out would miss it."
            ),
            Self::SecondOpinion => "The library http-cache-semantics does not allow storing it, \
                and no listed exception applies."
                .to_owned(),
        }
    }
}

fn said(source: Source, directive: &str) -> String {
    format!("{} says {directive}.", source.field())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;
    use std::collections::HashSet;

    fn all() -> Vec<Reason> {
        vec![
            Reason::Method,
            Reason::Status(StatusCode::IM_A_TEAPOT),
            Reason::NoStore(Source::CdnCacheControl),
            Reason::Private(Source::SurrogateControl),
            Reason::Authorization,
            Reason::SetCookie,
            Reason::CookieWithoutFreshness,
            Reason::VaryAny,
            Reason::NothingToGoBy,
            Reason::NotUnderstood(StatusCode::IM_A_TEAPOT),
            Reason::PartialContent("its Content-Range is not valid"),
            Reason::AlreadyStale,
            Reason::NoCache(Source::CacheControl),
            Reason::SecondOpinion,
            Reason::TooManyTags(1024),
        ]
    }

    #[test]
    fn words_differ_and_are_kebab_case() {
        let words: HashSet<_> = all().iter().map(Reason::word).collect();
        assert_eq!(words.len(), all().len());
        let kebab = |word: &str| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        assert!(words.iter().all(|word| kebab(word)));
        assert_eq!(words, HashSet::from(Reason::WORDS), "all of them are listed");
    }

    #[test]
    fn sentences_name_field_and_value() {
        assert_eq!(
            Reason::NoStore(Source::CdnCacheControl).sentence(),
            "CDN-Cache-Control says no-store."
        );
        assert!(Reason::Status(StatusCode::IM_A_TEAPOT).sentence().contains("418"));
        for reason in all() {
            let sentence = reason.sentence();
            assert!(sentence.ends_with('.') && !sentence.contains("  "), "{sentence}");
        }
    }
}
