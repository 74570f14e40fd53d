//! Hotlink protection: which pages may include a resource, by the Referer field (RFC 9110 §10.1.3).

use http::{HeaderMap, Uri, header};

/// Which pages may include a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referers {
    /// Hosts of such pages, lower case, without a port; `*.example.com` are its subdomains. The host of the
    /// request itself is always one.
    pub hosts: Vec<String>,
    /// Whether requests without the field are accepted: privacy settings and downloads send none.
    pub missing: bool,
}

impl Referers {
    /// Whether a request for `host` (lower case, without a port) may be answered.
    pub fn accepts(&self, host: &str, request: &HeaderMap) -> bool {
        let mut lines = request.get_all(header::REFERER).iter();
        let line = match (lines.next(), lines.next()) {
            (None, _) => return self.missing,
            (Some(line), None) => line.as_bytes().trim_ascii(),
            (Some(_), Some(_)) => return false,
        };
        if line.is_empty() {
            return self.missing;
        }
        let Some(page) = host_of(line) else { return false };
        page == host || self.hosts.iter().any(|named| is_named(named, &page))
    }
}

/// The host of a page's URL, lower case, without a trailing dot; `None` if it is not one of http or https.
fn host_of(page: &[u8]) -> Option<String> {
    // A fragment is no part of the field, and what follows the authority says nothing of the host.
    let text = str::from_utf8(page).ok()?;
    let (scheme, rest) = text.split_once("://")?;
    if !(scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")) {
        return None;
    }
    let authority = &rest[..rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len())];
    // User information has no place in the field, and programs differ on where it ends.
    if authority.contains('@') {
        return None;
    }
    let uri: Uri = format!("http://{authority}/").parse().ok()?;
    let host = uri.host()?.to_ascii_lowercase();
    Some(host.strip_suffix('.').unwrap_or(&host).to_owned())
}

fn is_named(named: &str, page: &str) -> bool {
    match named.strip_prefix('*') {
        Some(suffix) => page.len() > suffix.len() && page.ends_with(suffix),
        None => named == page,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn accepts(missing: bool, lines: &[&str]) -> bool {
        let hosts = vec!["shop.example".to_owned(), "*.partner.example".to_owned()];
        let request = lines.iter().map(|line| (header::REFERER, line.parse().unwrap()));
        Referers { hosts, missing }.accepts("img.example", &request.collect())
    }

    #[test]
    fn pages_of_named_hosts_and_of_the_own_one_are_accepted() {
        for page in [
            "https://shop.example/",
            "https://shop.example",
            "HTTP://Shop.Example:8080/a?b",
            "https://shop.example./",
            "https://img.example/gallery",
            "https://a.partner.example/x",
            "https://a.b.partner.example/x",
        ] {
            assert!(accepts(false, &[page]), "{page}");
        }
    }

    #[test]
    fn whatever_else_a_page_calls_itself_is_refused() {
        for page in [
            "https://evil.example/",
            "https://evil.example/https://shop.example/",
            "https://evil.example?https://shop.example/",
            "https://evil.example#@shop.example/",
            "https://evil.example\\@shop.example/",
            "https://shop.example@evil.example/",
            "https://evil.example@shop.example/",
            "https://shop.example.evil.example/",
            "https://evilshop.example/",
            "https://partner.example/",
            "https://.partner.example/",
            "ftp://shop.example/",
            "shop.example",
            "//shop.example/",
            "-",
        ] {
            assert!(!accepts(true, &[page]), "{page}");
        }
        assert!(!accepts(true, &["https://shop.example/", "https://shop.example/"]));
    }

    #[test]
    fn a_missing_page_is_accepted_where_that_is_said() {
        for lines in [&[][..], &[""], &[" "]] {
            assert!(accepts(true, lines) && !accepts(false, lines), "{lines:?}");
        }
    }
}
