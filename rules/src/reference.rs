//! URI references in Location and Content-Location (RFC 3986 §5.2), resolved as text so that the
//! result names a resource byte for byte as a client would ask for it.

/// Resolves `reference` against an absolute `base` URL. `None` where either is not of the form
/// `scheme://authority…`, or the reference has a scheme without an authority (`mailto:`). A
/// fragment is dropped.
pub fn resolve(base: &str, reference: &str) -> Option<String> {
    let reference = reference.split('#').next().unwrap_or_default();
    let (scheme, rest) = base.split_once("://")?;
    let authority = &rest[..rest.find(['/', '?']).unwrap_or(rest.len())];
    let target = &rest[authority.len()..];
    if let Some((named, rest)) = reference.split_once("://")
        && is_scheme(named)
    {
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        return Some(format!("{named}://{}{}", &rest[..end], normal(&rest[end..])));
    }
    if let Some((named, _)) = reference.split_once(':')
        && is_scheme(named)
    {
        return None;
    }
    if let Some(rest) = reference.strip_prefix("//") {
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        return Some(format!("{scheme}://{}{}", &rest[..end], normal(&rest[end..])));
    }
    let (path, _) = split(target);
    let target = if reference.is_empty() {
        target.to_owned()
    } else if reference.starts_with('/') {
        normal(reference)
    } else if reference.starts_with('?') {
        format!("{path}{reference}")
    } else {
        // §5.2.3: the reference takes the place of the last segment.
        let folder = &path[..path.rfind('/').map_or(0, |slash| slash + 1)];
        normal(&format!("{}{reference}", if folder.is_empty() { "/" } else { folder }))
    };
    Some(format!("{scheme}://{authority}{target}"))
}

/// Path and query of a target, the query with its `?`.
fn split(target: &str) -> (&str, &str) {
    target.split_at(target.find('?').unwrap_or(target.len()))
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// §5.2.4, remove_dot_segments, on the path of a target.
fn normal(target: &str) -> String {
    let (path, query) = split(target);
    let mut segments: Vec<&str> = Vec::new();
    let mut rest = path.split('/').peekable();
    // What precedes the first slash is empty: the path is absolute.
    rest.next();
    while let Some(segment) = rest.next() {
        let last = rest.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    segments.pop();
                }
                if last {
                    segments.push("");
                }
            }
            _ => segments.push(segment),
        }
    }
    format!("/{}{query}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::resolve;

    /// The examples of RFC 3986 §5.4.1 and §5.4.2 that concern paths and queries.
    #[test]
    fn references_resolve_as_the_rfc_says() {
        let base = "http://a/b/c/d;p?q";
        let table = [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q"),
            ("g#s", "http://a/b/c/g"),
            (";x", "http://a/b/c/;x"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            ("./g/.", "http://a/b/c/g/"),
            ("g/../h", "http://a/b/c/h"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("https://h/x/../y", "https://h/y"),
        ];
        for (reference, expected) in table {
            assert_eq!(resolve(base, reference).as_deref(), Some(expected), "{reference:?}");
        }
    }

    #[test]
    fn what_names_no_place_resolves_to_nothing() {
        assert_eq!(resolve("http://a/b", "mailto:someone"), None);
        assert_eq!(resolve("not a url", "/b"), None);
    }
}
