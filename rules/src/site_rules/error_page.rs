//! Error pages: what stands in place of the body of an error.
//!
//! The status stays, and so does every field that is not about the body. A page is chosen once there is a response, at
//! the first node; the store has the error as the origin sent it.

use super::page::PageFile;
use super::{MatchedRules, RuleSet, Setting, SiteRules};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, StatusCode, header};
use std::fmt;

/// What a status that has an error page may be, for messages.
pub const ERROR_STATUS_FORM: &str =
    "a status from 400 to 599, or \"4xx\" or \"5xx\" for all that begin so";

/// A page for errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorPage {
    /// Of which statuses.
    pub status: Vec<ErrorStatus>,
    /// Where it is from.
    pub source: PageSource,
}

/// One status of errors, or all of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorStatus {
    /// This one.
    One(StatusCode),
    /// 400 to 499.
    Client,
    /// 500 to 599.
    Server,
}

/// Where a page is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageSource {
    /// A file of this node.
    File(PageFile),
    /// A URL of the same host, which is fetched and stored like any other.
    Url(PathAndQuery),
}

impl ErrorStatus {
    /// Reads `4xx` or `5xx`.
    ///
    /// # Errors
    /// It is neither.
    pub fn parse_class(text: &str) -> Result<Self, String> {
        match text {
            "4xx" => Ok(Self::Client),
            "5xx" => Ok(Self::Server),
            _ => Err("not a class of errors".into()),
        }
    }

    /// The status of this number.
    ///
    /// # Errors
    /// It is not one of an error.
    pub fn of_number(number: i64) -> Result<Self, String> {
        let status = u16::try_from(number).ok().filter(|number| (400..600).contains(number));
        let status = status.and_then(|number| StatusCode::from_u16(number).ok());
        status.map(Self::One).ok_or_else(|| "not a status of an error".into())
    }

    fn takes(self, status: StatusCode) -> bool {
        match self {
            Self::One(one) => one == status,
            Self::Client => status.is_client_error(),
            Self::Server => status.is_server_error(),
        }
    }
}

impl fmt::Display for ErrorStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(status) => write!(f, "{}", status.as_u16()),
            Self::Client => f.write_str("4xx"),
            Self::Server => f.write_str("5xx"),
        }
    }
}

impl SiteRules {
    /// Whether any of these rules has an error page.
    #[inline]
    pub fn have_error_pages(&self, matching: RuleSet) -> bool {
        !matching.and(self.setters_of(Setting::ErrorPage)).is_empty()
    }

    /// The page for errors of this status, of the rules that [apply](SiteRules::applied_to): the last that is for it.
    pub fn error_page(&self, applied: RuleSet, status: StatusCode) -> Option<&ErrorPage> {
        let having = applied.and(self.setters_of(Setting::ErrorPage));
        let pages = self.those(having).flat_map(|rule| &rule.settings.error_page);
        pages.filter(|page| page.status.iter().any(|wanted| wanted.takes(status))).last()
    }
}

impl MatchedRules {
    /// The page in place of the body of a response of this status and these fields, if it is an error that has one.
    pub fn error_page(&self, status: StatusCode, fields: &HeaderMap) -> Option<&ErrorPage> {
        let response = super::RuleResponse { status, headers: fields };
        self.rules.error_page(self.rules.applied_to(self.set, &response), status)
    }
}

/// Fields that describe a body and have other names than `Content-…`.
static OF_THE_BODY: [HeaderName; 6] = [
    header::ETAG,
    header::LAST_MODIFIED,
    header::ACCEPT_RANGES,
    header::TRAILER,
    HeaderName::from_static("digest"),
    HeaderName::from_static("repr-digest"),
];

/// Has the fields of an error describe a page in place of the error's body: those that describe the body are the
/// page's, and all others, such as Retry-After and WWW-Authenticate, stay.
pub fn describe_page(status: StatusCode, error: &mut HeaderMap, page: &HeaderMap) {
    let of_error: Vec<HeaderName> = error
        .keys()
        .filter(|name| is_content(name) || OF_THE_BODY.contains(name))
        // RFC 9110 §14.4: with 416 it has the length of what was asked for.
        .filter(|name| {
            *name != header::CONTENT_RANGE || status != StatusCode::RANGE_NOT_SATISFIABLE
        })
        .cloned()
        .collect();
    for name in of_error {
        error.remove(name);
    }
    for (name, value) in page.iter().filter(|(name, _)| is_content(name)) {
        if *name != header::CONTENT_RANGE {
            error.append(name.clone(), value.clone());
        }
    }
    // Which page it is depends on both.
    for value in page.get_all(header::VARY) {
        if !error.get_all(header::VARY).iter().any(|known| known == value) {
            error.append(header::VARY, value.clone());
        }
    }
}

fn is_content(name: &HeaderName) -> bool {
    name.as_str().starts_with("content-")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{Conditions, Rule, Settings};
    use super::*;
    use http::HeaderValue;

    fn page(status: &[ErrorStatus], path: &'static str) -> ErrorPage {
        let source = PageSource::Url(PathAndQuery::from_static(path));
        ErrorPage { status: status.to_vec(), source }
    }

    fn one(number: i64) -> ErrorStatus {
        ErrorStatus::of_number(number).unwrap()
    }

    #[test]
    fn the_last_page_for_a_status_counts() {
        let rule = |name: &str, error_page| Rule {
            name: name.into(),
            conditions: Conditions::default(),
            is_final: false,
            settings: Settings { error_page, ..Settings::default() },
        };
        let all = vec![
            page(&[ErrorStatus::Client, ErrorStatus::Server], "/all"),
            page(&[one(404), one(410)], "/gone"),
        ];
        let rules = SiteRules::new(
            vec![rule("all", all), rule("busy", vec![page(&[one(503)], "/busy")])],
            true,
        );
        let applied = RuleSet::of(rules.rules(), |_| true);
        let found = |number| {
            let page = rules.error_page(applied, StatusCode::from_u16(number).unwrap())?;
            match &page.source {
                PageSource::Url(url) => Some(url.as_str()),
                PageSource::File(_) => None,
            }
        };
        for (status, path) in [
            (200, None),
            (304, None),
            (403, Some("/all")),
            (404, Some("/gone")),
            (502, Some("/all")),
            (503, Some("/busy")),
        ] {
            assert_eq!(found(status), path, "{status}");
        }
        assert!(rules.have_error_pages(applied) && !rules.have_error_pages(RuleSet::default()));
        assert!(rules.names(applied).is_none(), "parents need not know");
        assert_eq!(rules.idle().count(), 0, "one page does not override another");
    }

    #[test]
    fn statuses_are_those_of_errors() {
        for (number, is_error) in
            [(400, true), (599, true), (399, false), (600, false), (-1, false)]
        {
            assert_eq!(ErrorStatus::of_number(number).is_ok(), is_error, "{number}");
        }
        for (text, is_class) in [("4xx", true), ("5xx", true), ("404", false), ("3xx", false)] {
            assert_eq!(ErrorStatus::parse_class(text).is_ok(), is_class, "{text}");
        }
    }

    #[test]
    fn what_describes_the_body_is_the_pages_and_all_else_is_the_errors() {
        let fields = |lines: &[(&'static str, &'static str)]| -> HeaderMap {
            let line = |(name, value): &(&'static str, &'static str)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            lines.iter().map(line).collect()
        };
        let sent = [
            ("retry-after", "9"),
            ("www-authenticate", "Basic realm=\"a\""),
            ("cache-control", "no-store"),
            ("content-type", "text/plain"),
            ("content-length", "3"),
            ("content-encoding", "gzip"),
            ("content-range", "bytes */9"),
            ("etag", "\"a\""),
            ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("accept-ranges", "bytes"),
            ("vary", "cookie"),
        ];
        let page = fields(&[
            ("content-type", "text/html"),
            ("content-length", "10"),
            ("etag", "\"page\""),
            ("cache-control", "max-age=60"),
            ("set-cookie", "a=b"),
            ("age", "7"),
            ("vary", "accept-encoding"),
        ]);
        let kept = [
            ("retry-after", "9"),
            ("www-authenticate", "Basic realm=\"a\""),
            ("cache-control", "no-store"),
            ("content-type", "text/html"),
            ("content-length", "10"),
        ];
        for (status, kept_range) in [(404, None), (416, Some("bytes */9"))] {
            let mut error = fields(&sent);
            describe_page(StatusCode::from_u16(status).unwrap(), &mut error, &page);
            let mut expected = fields(&kept);
            expected.append("vary", HeaderValue::from_static("cookie"));
            expected.append("vary", HeaderValue::from_static("accept-encoding"));
            expected
                .extend(kept_range.map(|range| (header::CONTENT_RANGE, range.parse().unwrap())));
            assert_eq!(error, expected, "{status}");
        }
        // Both vary by the same.
        let mut error = fields(&[("vary", "accept-encoding")]);
        describe_page(StatusCode::NOT_FOUND, &mut error, &fields(&[("vary", "accept-encoding")]));
        assert_eq!(error.get_all("vary").iter().count(), 1);
    }
}
