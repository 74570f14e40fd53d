//! Releases: a site that carries a release name shows one state of all its resources at a time, and
//! the states before stay stored. The name is part of the key; the origin learns it by its path or
//! by a request field.

use http::HeaderName;
use http::uri::PathAndQuery;
use std::borrow::Cow;

/// Longest name of a release, bytes.
pub const LONGEST_NAME: usize = 64;

/// What a release's name looks like, for messages.
pub const NAME_FORM: &str =
    "1 to 64 letters, digits, '-', '_' and '.', beginning with a letter or digit";

/// Where a path template takes the name.
const PLACE: &str = "{release}";

/// How a site's releases are told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseRules {
    /// The release shown before the first switch; `None` shows the origin's own paths.
    pub initial: Option<String>,
    /// What the origin's path begins with.
    pub path: Option<PathTemplate>,
    /// The request field that tells the origin.
    pub field: Option<HeaderName>,
}

/// A prefix of the origin's path that holds the release's name, such as `/releases/{release}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate {
    before: String,
    after: String,
}

/// Judges a release's name.
///
/// # Errors
/// It is not of [`NAME_FORM`]; in words.
pub fn check_name(name: &str) -> Result<(), String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    match name {
        "" => Err("empty".into()),
        _ if name.len() > LONGEST_NAME => Err("too long".into()),
        _ if !name.bytes().all(allowed) => Err("has other characters".into()),
        // `..` as a segment would lead out of the releases.
        _ if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) => {
            Err("does not begin with a letter or digit".into())
        }
        _ => Ok(()),
    }
}

impl PathTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// It is no path, or has not exactly one `{release}`; in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (before, after) = text.split_once(PLACE).ok_or("has no {release}")?;
        if after.contains(PLACE) {
            return Err("has {release} twice".into());
        }
        if !before.starts_with('/') {
            return Err("does not begin with /".into());
        }
        if after.ends_with('/') || after == "/" {
            return Err("ends with /, which the request's own path begins with".into());
        }
        // Judged with a name in its place, for braces are no characters of a path.
        let path = format!("{before}r{after}");
        let plain = path.parse::<PathAndQuery>().is_ok_and(|parsed| parsed.query().is_none());
        if !plain || path.contains('#') || text.len() > 1024 {
            return Err("not a path".into());
        }
        Ok(Self { before: before.to_owned(), after: after.to_owned() })
    }

    /// The origin's target for a request's target in a release whose name was checked.
    pub fn apply(&self, release: &str, target: &PathAndQuery) -> PathAndQuery {
        let Self { before, after } = self;
        let query = target.query().map(|query| format!("?{query}")).unwrap_or_default();
        // `*` (of OPTIONS) has no place below a path.
        if !target.path().starts_with('/') {
            return target.clone();
        }
        let path = within(target.path());
        let text = format!("{before}{release}{after}{path}{query}");
        // All parts are those of targets already.
        PathAndQuery::try_from(text).unwrap_or_else(|_| target.clone())
    }
}

/// A path as it is, but that no segment leads out of what it is put below: `.` and `..`, in
/// whatever spelling, are followed here (RFC 3986 §5.2.4).
fn within(path: &str) -> Cow<'_, str> {
    let dots = |segment: &str| match segment.replace("%2e", ".").replace("%2E", ".").as_str() {
        "." => Some(1),
        ".." => Some(2),
        _ => None,
    };
    if !path.split('/').any(|segment| dots(segment).is_some()) {
        return Cow::Borrowed(path);
    }
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match dots(segment) {
            None => kept.push(segment),
            Some(dots) => {
                if dots == 2 {
                    kept.pop();
                }
                if segments.peek().is_none() {
                    kept.push("");
                }
            }
        }
    }
    Cow::Owned(format!("/{}", kept.join("/")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_judged() {
        for good in ["a", "v2", "2026-01-02.1", "A_b", &"x".repeat(64)] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "..", "-a", "_", "a/b", "a b", "a\n", "ä", "a%2f", &"x".repeat(65)] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_name_is_put_before_the_path() {
        let template = PathTemplate::parse("/releases/{release}").unwrap();
        for (target, expected) in [
            ("/", "/releases/v2/"),
            ("/a//b?x=/y", "/releases/v2/a//b?x=/y"),
            ("/a?", "/releases/v2/a?"),
            ("/a/../b", "/releases/v2/b"),
            ("/../../b?..", "/releases/v2/b?.."),
            ("/%2e%2E/a/.%2e/./%2e", "/releases/v2/"),
            ("/a/..b/...", "/releases/v2/a/..b/..."),
        ] {
            assert_eq!(template.apply("v2", &target.parse().unwrap()), expected);
        }
        let inner = PathTemplate::parse("/r-{release}.d/www").unwrap();
        assert_eq!(inner.apply("1", &"/a".parse().unwrap()), "/r-1.d/www/a");
        assert_eq!(inner.apply("1", &"*".parse().unwrap()), "*");
    }

    #[test]
    fn templates_are_judged() {
        for bad in [
            "",
            "/",
            "/a",
            "{release}",
            "a/{release}",
            "/{release}/",
            "/{release}/{release}",
            "/{release}?a",
            "/a b/{release}",
            "/{release}#a",
            "/{release}/a?b=c",
        ] {
            assert!(PathTemplate::parse(bad).is_err(), "{bad:?}");
        }
    }

    fn spelled_dots(path: &str) -> bool {
        let path = path.to_ascii_lowercase().replace("%2e", ".");
        path.split('/').any(|segment| segment == "." || segment == "..")
    }

    proptest! {
        #[test]
        fn a_target_stays_below_its_release(path in "/[!-~]{0,40}", name in "[a-z0-9][a-z0-9.-]{0,9}") {
            if let Ok(target) = path.parse::<PathAndQuery>() {
                let template = PathTemplate::parse("/r/{release}").unwrap();
                let sent = template.apply(&name, &target);
                let rest = sent.path().strip_prefix(&format!("/r/{name}/")).expect("below it");
                let spelled = rest.to_ascii_lowercase().replace("%2e", ".");
                prop_assert!(spelled.split('/').all(|segment| segment != ".." && segment != "."));
                prop_assert_eq!(sent.query(), target.query());
                if !spelled_dots(target.path()) {
                    prop_assert_eq!(sent.as_str(), format!("/r/{name}{target}"));
                }
            }
        }
    }
}
