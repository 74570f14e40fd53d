//! What rules have weir ignore of a response.

use crate::cache_control::parse::elements;
use crate::fields::SURROGATE_CONTROL;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CACHE_CONTROL, COOKIE, VARY};
use http::{HeaderMap, HeaderName, HeaderValue};
use strum::{IntoStaticStr, VariantArray};

static CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// What a rule may have ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Ignored {
    /// Set-Cookie: it is removed, and neither stored nor sent.
    SetCookie,
    /// `no-store`.
    NoStore,
    /// `private` for the whole response.
    Private,
    /// `no-cache` for the whole response.
    NoCache,
    /// `must-revalidate` and `proxy-revalidate`.
    MustRevalidate,
    /// That the request had Authorization (RFC 9111 §3.5).
    Authorization,
    /// Names in Vary, so that one response is for all requests with one key. Those stay that say who asks (Cookie,
    /// Authorization) or what the client can read (Accept-Encoding), and `*`.
    Vary,
}

impl Ignored {
    /// Whether it is this directive. One for some fields only stays: it says what is not for all.
    fn is(self, directive: &[u8]) -> bool {
        let named = |name: &str| directive.eq_ignore_ascii_case(name.as_bytes());
        match self {
            Self::SetCookie | Self::Authorization | Self::Vary => false,
            Self::NoStore => named("no-store"),
            Self::Private => named("private"),
            Self::NoCache => named("no-cache"),
            Self::MustRevalidate => named("must-revalidate") || named("proxy-revalidate"),
        }
    }
}

/// Takes what is ignored out of the fields by which it is judged whether a response to this `request` may be stored.
/// Clients still get it. Where the request has Authorization nothing is ignored: the response may be owed to that.
pub fn ignore(ignored: &[Ignored], request: &HeaderMap, judged: &mut HeaderMap) {
    if ignored.is_empty() || request.contains_key(AUTHORIZATION) {
        return;
    }
    if ignored.contains(&Ignored::Vary) {
        ignore_vary(judged);
    }
    for name in [&CACHE_CONTROL, &CDN_CACHE_CONTROL, &SURROGATE_CONTROL] {
        if !judged.contains_key(name) {
            continue;
        }
        let lines = judged.get_all(name).iter().map(|line| left(ignored, line));
        let lines: Vec<HeaderValue> = lines.filter(|line| !line.is_empty()).collect();
        judged.remove(name);
        for line in lines {
            judged.append(name, line);
        }
    }
}

/// Leaves in Vary what selects however little an origin meant it. What is no name stays, and counts as `*`.
fn ignore_vary(judged: &mut HeaderMap) {
    let stays = |member: &&[u8]| {
        let member = member.trim_ascii();
        let name = HeaderName::from_bytes(member).ok().filter(|_| member != b"*");
        match name {
            Some(name) => [COOKIE, AUTHORIZATION, ACCEPT_ENCODING].contains(&name),
            None => !member.is_empty(),
        }
    };
    let lines = judged.get_all(VARY).iter().map(|line| {
        let left: Vec<&[u8]> = line.as_bytes().split(|&b| b == b',').filter(stays).collect();
        // It is made of parts of a valid value.
        HeaderValue::from_bytes(&left.join(&b","[..])).unwrap_or_else(|_| line.clone())
    });
    let lines: Vec<HeaderValue> = lines.filter(|line| !line.is_empty()).collect();
    judged.remove(VARY);
    for line in lines {
        judged.append(VARY, line);
    }
}

/// A line without what is ignored.
fn left(ignored: &[Ignored], line: &HeaderValue) -> HeaderValue {
    let elements = elements(line.as_bytes()).map(<[u8]>::trim_ascii);
    let left: Vec<&[u8]> =
        elements.filter(|element| !ignored.iter().any(|ignored| ignored.is(element))).collect();
    // It is made of parts of a valid value.
    HeaderValue::from_bytes(&left.join(&b", "[..])).unwrap_or_else(|_| line.clone())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn named_directives_are_taken_out_and_nothing_else() {
        use Ignored::{MustRevalidate, NoCache, NoStore, Private, SetCookie};
        for (ignored, line, expected) in [
            (&[NoStore][..], "no-store, max-age=5", Some("max-age=5")),
            (&[Private, NoCache], "Private , NO-CACHE", None),
            (
                &[Private],
                "private=\"set-cookie\", max-age=5",
                Some("private=\"set-cookie\", max-age=5"),
            ),
            (&[NoCache], "no-cache=\"a, no-cache\"", Some("no-cache=\"a, no-cache\"")),
            (&[MustRevalidate], "must-revalidate, proxy-revalidate, public", Some("public")),
            (&[SetCookie], "no-store, private", Some("no-store, private")),
            (&[NoStore], "x-no-store, no-storex", Some("x-no-store, no-storex")),
            (&[], "no-store,private", Some("no-store,private")),
        ] {
            for name in ["cache-control", "cdn-cache-control", "surrogate-control"] {
                let value = HeaderValue::from_static(line);
                let mut judged = HeaderMap::from_iter([(name.parse().unwrap(), value)]);
                ignore(ignored, &HeaderMap::new(), &mut judged);
                let left = judged.get(name).map(|line| line.to_str().unwrap());
                assert_eq!(left, expected, "{name}: {line}");
            }
        }
    }

    #[test]
    fn of_vary_what_says_who_asks_or_what_a_client_can_read_is_left() {
        use crate::vary::Vary;
        for (line, expected) in [
            ("User-Agent, Origin", None),
            ("User-Agent, COOKIE,accept-encoding", Some("accept-encoding cookie")),
            ("Authorization", Some("authorization")),
            ("User-Agent, *", Some("*")),
            ("User-Agent, a b", Some("*")),
            ("", None),
        ] {
            let value = HeaderValue::from_static(line);
            let mut judged = HeaderMap::from_iter([(VARY, value.clone()), (VARY, value)]);
            ignore(&[Ignored::Vary], &HeaderMap::new(), &mut judged);
            let left = match Vary::from_headers(&judged) {
                Vary::Nothing => None,
                Vary::Any => Some("*".to_owned()),
                Vary::Fields(names) => {
                    Some(names.iter().map(HeaderName::as_str).collect::<Vec<_>>().join(" "))
                }
            };
            assert_eq!(left.as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn nothing_is_ignored_for_who_shows_credentials() {
        let value = HeaderValue::from_static("no-store");
        let mut judged = HeaderMap::from_iter([(CACHE_CONTROL, value)]);
        let request =
            HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static("Basic eA=="))]);
        ignore(&[Ignored::NoStore], &request, &mut judged);
        assert_eq!(judged[CACHE_CONTROL], "no-store");
    }
}
