//! The links of a page, as far as a crawl of a static site needs them.

/// The targets on the same site that a page at `base` (an absolute path) refers to by `href` and
/// `src`: absolute paths, with their query, without fragment.
pub(crate) fn links(base: &str, html: &str) -> Vec<String> {
    let mut found = Vec::new();
    for attribute in ["href=", "src="] {
        let mut rest = html;
        while let Some(at) = rest.find(attribute) {
            rest = &rest[at + attribute.len()..];
            let value = match rest.chars().next() {
                Some(quote @ ('"' | '\'')) => rest[1..].split(quote).next(),
                _ => rest.split([' ', '>', '\n']).next(),
            };
            found.extend(value.and_then(|value| resolve(base, value)));
        }
    }
    found
}

/// RFC 3986 §5.2 for references within one site.
fn resolve(base: &str, reference: &str) -> Option<String> {
    let reference = reference.split('#').next().unwrap_or_default().replace("&amp;", "&");
    let elsewhere = reference.starts_with("//") || has_scheme(&reference);
    let plain = reference.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if reference.is_empty() || elsewhere || !plain {
        return None;
    }
    let (path, query) = match reference.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (&*reference, None),
    };
    let base = base.split('?').next().unwrap_or_default();
    let joined = match path {
        "" => base.to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        path => format!("{}{path}", &base[..base.rfind('/')? + 1]),
    };
    let path = without_dots(&joined);
    Some(query.map_or(path.clone(), |query| format!("{path}?{query}")))
}

fn has_scheme(reference: &str) -> bool {
    let scheme = reference.find([':', '/', '?']).filter(|at| reference[*at..].starts_with(':'));
    scheme.is_some_and(|at| reference[..at].bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// RFC 3986 §5.2.4
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut folder = false;
    for segment in path.split('/').skip(1) {
        folder = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    let end = if folder && !kept.is_empty() { "/" } else { "" };
    format!("/{}{end}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_resolved_within_the_site() {
        let html = r##"<a href="b.html#part">, <a href='../up/'>, <img src=/pic.png?x=1&amp;y=2>,
            <a href="https://elsewhere/">, <a href="//elsewhere/">, <a href="#here">,
            <a href="mailto:a@b">, <a href="struct.A.html?q=a:b">, <a href="..">"##;
        let expected = ["/a/b.html", "/up/", "/a/struct.A.html?q=a:b", "/", "/pic.png?x=1&y=2"];
        assert_eq!(links("/a/index.html", html), expected);
    }

    #[test]
    fn dots_never_lead_above_the_root() {
        assert_eq!(without_dots("/a/../../b/./c"), "/b/c");
        assert_eq!(without_dots("/a/b/.."), "/a/");
    }
}
