//! The URL of a stored response in one spelling, as invalidation by unsafe requests compares it
//! (RFC 9111 §4.4).

use super::percent::normalised;
use std::fmt::Write;

/// Host, path and query of a URL, percent-normalised (RFC 3986 §6.2.2). The scheme does not count:
/// a site answers for a URL in both. `host` is in lower case and without its scheme's default port,
/// `query` as keyed, without `?`.
pub fn url_name(host: &str, path: &str, query: Option<&str>) -> String {
    let mut name = String::with_capacity(host.len() + path.len() + query.map_or(0, str::len) + 1);
    name.push_str(host);
    name.push_str(&normalised(path));
    if let Some(query) = query {
        // Writing to a String does not fail.
        let _ = write!(name, "?{}", normalised(query));
    }
    name
}

#[cfg(test)]
mod tests {
    use super::url_name;

    #[test]
    fn every_spelling_of_a_url_has_one_name() {
        let name = url_name("example.com", "/at", Some("b=c"));
        assert_eq!(name, "example.com/at?b=c");
        assert_eq!(url_name("example.com", "/a%74", Some("%62=c")), name);
        assert_eq!(url_name("h", "/a%2fb", None), url_name("h", "/a%2Fb", None));
        for other in [
            url_name("example.com", "/at", None),
            url_name("example.com", "/at", Some("")),
            url_name("example.com:8080", "/at", Some("b=c")),
            url_name("example.com", "/a%2Ft", Some("b=c")),
        ] {
            assert_ne!(other, name);
        }
    }
}
