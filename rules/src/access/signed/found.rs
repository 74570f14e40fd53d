//! Where a request has its tokens, and the request without them.

use super::NAME;
use crate::cookies;
use crate::key::decoded;
use http::{HeaderMap, HeaderValue, header};
use std::borrow::Cow;

/// Most cookies that are looked at: paths of a site may each have a cookie of their own.
const MOST_COOKIES: usize = 8;

/// The tokens of a request: that of its query or, if there is none, those of its cookies. `None` if its query
/// has several.
pub fn tokens(query: Option<&str>, request: &HeaderMap) -> Option<Vec<String>> {
    let mut in_query = parameters(query).filter(|parameter| is_token(parameter));
    if let Some(first) = in_query.next() {
        return in_query.next().is_none().then(|| vec![value(first)]);
    }
    let Some(line) = cookies::combined(request) else { return Some(Vec::new()) };
    let pairs = line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let named = pairs.filter(|pair| is_cookie(pair));
    let values = named.map(|pair| value(&String::from_utf8_lossy(pair)));
    Some(values.take(MOST_COOKIES).collect())
}

/// The query without tokens; `None` if nothing is left.
pub fn remaining_query(query: &str) -> Option<Cow<'_, str>> {
    if !parameters(Some(query)).any(is_token) {
        return Some(Cow::Borrowed(query));
    }
    let left: Vec<&str> =
        parameters(Some(query)).filter(|parameter| !is_token(parameter)).collect();
    (!left.is_empty()).then(|| Cow::Owned(left.join("&")))
}

/// Removes the cookies that are tokens from a request.
pub fn remove_cookies(request: &mut HeaderMap) {
    let Some(line) = cookies::combined(request) else { return };
    let pairs = || line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    if !pairs().any(is_cookie) {
        return;
    }
    let left: Vec<&[u8]> = pairs().filter(|pair| !is_cookie(pair)).collect();
    let is_sensitive = request.get_all(header::COOKIE).iter().any(HeaderValue::is_sensitive);
    let left = left.join(&b"; "[..]);
    match HeaderValue::from_bytes(&left) {
        Ok(mut line) if !left.is_empty() => {
            line.set_sensitive(is_sensitive);
            request.insert(header::COOKIE, line);
        }
        _ => drop(request.remove(header::COOKIE)),
    }
}

fn parameters(query: Option<&str>) -> impl Iterator<Item = &str> {
    query.into_iter().flat_map(|query| query.split('&'))
}

/// Whether a parameter has the name, however it is written.
fn is_token(parameter: &str) -> bool {
    let name = parameter.split_once('=').map_or(parameter, |(name, _)| name);
    decoded(name).eq(NAME.bytes())
}

fn is_cookie(pair: &[u8]) -> bool {
    let end = memchr::memchr(b'=', pair).unwrap_or(pair.len());
    pair[..end].trim_ascii_end() == NAME.as_bytes()
}

/// The value of a parameter or a cookie, percent-decoded: programs encode `/` and `:` or do not.
fn value(pair: &str) -> String {
    let value = pair.split_once('=').map_or("", |(_, value)| value.trim());
    String::from_utf8_lossy(&decoded(value).collect::<Vec<_>>()).into_owned()
}
