//! What is kept of a request whose answer may be an error with a page of its site: by then the request itself is gone.

use crate::forward::compact;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, Method, Request, StatusCode, Uri, header};
use std::sync::Arc;
use weir_rules::site_rules::{ErrorPage, MatchedRules, RuleSet, SiteRules};

/// Fields that the request for a page has of the request that failed: those that say what the client can read, and
/// from where it came. A page is the same for everyone, so that nobody's cookies and credentials are among them.
static KEPT: [HeaderName; 8] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::USER_AGENT,
    header::VIA,
    HeaderName::from_static("cdn-loop"),
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-proto"),
];

/// What is kept of a request.
#[derive(Clone, Debug)]
pub(crate) struct Replacement {
    rules: MatchedRules,
    method: Method,
    host: Box<str>,
    fields: HeaderMap,
}

impl Replacement {
    /// What is kept of a request for this host that matches these rules; `None` if none of them has an error page.
    pub(crate) fn of(
        (rules, set): (&Arc<SiteRules>, RuleSet),
        method: &Method,
        host: &str,
        headers: &HeaderMap,
    ) -> Option<Box<Self>> {
        if !rules.have_error_pages(set) {
            return None;
        }
        let mut fields = HeaderMap::with_capacity(KEPT.len());
        for name in &KEPT {
            for value in headers.get_all(name) {
                fields.append(name.clone(), value.clone());
            }
        }
        let rules = MatchedRules { rules: Arc::clone(rules), set, edits: false, origin: None };
        // It waits as long as the request does, and is not to hold the buffer that this was read into.
        let fields = compact(&fields);
        Some(Box::new(Self { rules, method: method.clone(), host: host.into(), fields }))
    }

    /// The page for a response of this status and these fields, if it is an error that has one. What an upstream says
    /// of an unsafe request is about that request: only what weir says itself is replaced then.
    pub(crate) fn page(
        &self,
        status: StatusCode,
        fields: &HeaderMap,
        is_own: bool,
    ) -> Option<&ErrorPage> {
        let is_read = matches!(self.method, Method::GET | Method::HEAD);
        (is_read || is_own).then(|| self.rules.error_page(status, fields)).flatten()
    }

    /// Whether the answer has no body, whatever its head says.
    pub(crate) fn is_of_head(&self) -> bool {
        self.method == Method::HEAD
    }

    /// The request for the page with this path on the same host, with this body.
    pub(crate) fn request<B>(&self, target: &PathAndQuery, body: B) -> Option<Request<B>> {
        let mut request = Request::new(body);
        *request.method_mut() = if self.is_of_head() { Method::HEAD } else { Method::GET };
        *request.uri_mut() = Uri::from(target.clone());
        *request.headers_mut() = self.fields.clone();
        request.headers_mut().insert(header::HOST, self.host.parse().ok()?);
        Some(request)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use weir_config::Config;

    #[test]
    fn a_page_is_asked_for_without_what_names_the_client() {
        let text = "[[site]]\norigins = [\"http://10.0.0.5\"]\n[[site.rule]]\nname = \"a\"\n\
                    error_page = { status = [\"4xx\"], path = \"/errors?a\" }";
        let config = Config::from_toml(text).unwrap();
        let rules = &config.sites[0].rules;
        let set = rules.named("a").unwrap();
        let fields = [
            ("accept-encoding", "br"),
            ("cookie", "id=1"),
            ("authorization", "Basic eA=="),
            ("if-none-match", "\"a\""),
            ("range", "bytes=0-1"),
            ("cache-control", "only-if-cached"),
            ("content-length", "9"),
            ("connection", "close"),
        ];
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), value.parse().unwrap())
        };
        let headers: HeaderMap = fields.iter().map(field).collect();
        for (method, asked) in [(Method::GET, "GET"), (Method::HEAD, "HEAD"), (Method::POST, "GET")]
        {
            let kept = Replacement::of((rules, set), &method, "a.example:81", &headers).unwrap();
            let page = |is_own| kept.page(StatusCode::NOT_FOUND, &HeaderMap::new(), is_own);
            assert!(page(true).is_some());
            assert_eq!(page(false).is_some(), method != Method::POST, "{method}");
            assert!(kept.page(StatusCode::BAD_GATEWAY, &HeaderMap::new(), true).is_none());
            let request = kept.request(&"/errors?a".parse().unwrap(), ()).unwrap();
            assert_eq!(
                (request.method().as_str(), request.uri().to_string()),
                (asked, "/errors?a".into())
            );
            let sent = HeaderMap::from_iter(
                [("accept-encoding", "br"), ("host", "a.example:81")].iter().map(field),
            );
            assert_eq!(*request.headers(), sent);
        }
        let none = Replacement::of((rules, RuleSet::default()), &Method::GET, "a", &headers);
        assert!(none.is_none());
    }
}
