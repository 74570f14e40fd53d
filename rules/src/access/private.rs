//! Responses to clients that had to show who they are: no cache between weir and the client may store them
//! (RFC 9111 §5.2.2.7).

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Whether a field tells other caches on the way to store a response, whatever Cache-Control says: targeted fields, of
/// which networks have their own (RFC 9213 §2.1), Akamai's, the one before them all, and nginx's.
fn is_for_caches(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.ends_with("-cache-control")
        || matches!(name, "surrogate-control" | "edge-control" | "x-accel-expires")
}

/// Directives that make no sense beside an unqualified `private`.
const DROPPED: [&str; 4] = ["public", "private", "s-maxage", "proxy-revalidate"];

/// Makes the fields of a response say `private`: everything else that they say to the client's own cache stays.
pub fn make_private(fields: &mut HeaderMap) {
    let for_caches = fields.keys().filter(|name| is_for_caches(name));
    for name in for_caches.cloned().collect::<Vec<_>>() {
        fields.remove(name);
    }
    let mut directives = vec!["private".to_owned()];
    for line in fields.get_all(header::CACHE_CONTROL) {
        let line = String::from_utf8_lossy(line.as_bytes()).into_owned();
        for directive in split(&line) {
            let name = directive.split('=').next().unwrap_or_default().trim();
            if !name.is_empty() && !DROPPED.iter().any(|dropped| name.eq_ignore_ascii_case(dropped))
            {
                directives.push(directive.to_owned());
            }
        }
    }
    let value = HeaderValue::from_str(&directives.join(", "));
    let value = value.unwrap_or(HeaderValue::from_static("private, no-store"));
    fields.insert(header::CACHE_CONTROL, value);
}

/// The members of a list, at commas that are not quoted (RFC 9110 §5.6.1, §5.6.4).
fn split(line: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    let members = line.split(move |character| {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' => return !quoted,
            _ => {}
        }
        false
    });
    members.map(str::trim)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::cache_control::ResponseDirectives;

    #[test]
    fn what_others_could_store_becomes_private() {
        for (lines, made) in [
            (&[][..], "private"),
            (&["public, max-age=60"], "private, max-age=60"),
            (
                &["max-age=60", "s-maxage=600, must-revalidate"],
                "private, max-age=60, must-revalidate",
            ),
            (&["Private=\"set-cookie, x\", max-age=1"], "private, max-age=1"),
            (&["no-cache=\"a, b\" , PUBLIC"], "private, no-cache=\"a, b\""),
            (&["x=\"a\\\", public\", no-store"], "private, x=\"a\\\", public\", no-store"),
            (&["private"], "private"),
            (&[",,"], "private"),
        ] {
            let line = |line: &&str| (header::CACHE_CONTROL, line.parse().unwrap());
            let mut fields: HeaderMap = lines.iter().map(line).collect();
            let for_caches = [
                "cdn-cache-control",
                "cloudflare-cdn-cache-control",
                "x-litespeed-cache-control",
                "surrogate-control",
                "edge-control",
                "x-accel-expires",
            ];
            for name in for_caches {
                fields.insert(name, HeaderValue::from_static("max-age=600"));
            }
            fields.insert("x-dns-prefetch-control", HeaderValue::from_static("on"));
            make_private(&mut fields);
            assert_eq!(fields.get_all(header::CACHE_CONTROL).iter().collect::<Vec<_>>(), [made]);
            let names: Vec<_> = fields.keys().map(HeaderName::as_str).collect();
            assert_eq!(names.len(), 2, "{names:?}");
            assert!(fields.contains_key("x-dns-prefetch-control"), "{names:?}");
            let directives = ResponseDirectives::from_headers(&fields);
            assert!(
                matches!(directives.private, crate::cache_control::Qualified::Whole),
                "{lines:?}: {directives:?}"
            );
        }
    }
}
