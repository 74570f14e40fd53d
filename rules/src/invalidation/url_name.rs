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

/// Whether a path and a query stand in the name of their URL as they are spelled here.
pub fn is_as_named(path: &str, query: Option<&str>) -> bool {
    normalised(path) == path && query.is_none_or(|query| normalised(query) == query)
}

#[cfg(test)]
mod tests {
    use super::{is_as_named, url_name};

    #[test]
    fn only_one_spelling_of_a_url_is_that_of_its_name() {
        for (path, query, is_it) in [
            ("/at", Some("b=c"), true),
            ("/at", None, true),
            ("/a%2Fb", None, true),
            ("/a%2fb", None, false),
            ("/a%74", None, false),
            ("/at", Some("%62=c"), false),
        ] {
            let same = url_name("h", path, query)
                == url_name("h", "", None)
                    + path
                    + &query.map(|query| format!("?{query}")).unwrap_or_default();
            assert_eq!((is_as_named(path, query), same), (is_it, is_it), "{path} {query:?}");
        }
    }

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
