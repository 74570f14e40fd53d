//! The paths that a rule matches, in the grammar of purges: an absolute path, percent-normalised (RFC 3986 §6.2.2),
//! with `*` for any characters. Beyond that, a rule knows the ways in which servers read one path as another.

use super::path_index::Ends;
use crate::access::spellings::EverySpelling;
use crate::invalidation::{Target, normalised};
use crate::plain::{is_ambiguous, is_plain};
use crate::wildcard::{captures, matches};
use std::borrow::Cow;
use std::cell::OnceCell;

/// What a pattern may be, for messages.
pub const PATH_FORM: &str = "an absolute path such as /a, with * for any characters (/static/*, *.css), and with ? \
                             if the query is meant too";

/// A pattern of paths. Without `?` it says nothing of the query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    exact: Spellings,
    /// In lower case, for [`PathPattern::may_take`].
    folded: Spellings,
    has_query: bool,
    /// Whether it begins with a star, which may stand for nothing: `*/x` takes `/x`, too.
    is_open: bool,
    /// What it demands of the ends of a path, for [`PathIndex`](super::path_index::PathIndex).
    ends: Ends,
}

/// One pattern as it is compared with a path as sent, and with one that is resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Spellings {
    as_sent: Box<str>,
    resolved: Box<str>,
}

impl Spellings {
    fn of(text: &str) -> Self {
        let (path, query) = match text.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (text, None),
        };
        let resolved = with_query(&resolved(path), query).into_owned();
        Self { as_sent: text.into(), resolved: resolved.into() }
    }
}

impl PathPattern {
    /// Reads a pattern. One that begins with `*` matches whatever comes before.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let is_open = text.starts_with('*');
        let whole = match is_open {
            true => Cow::Owned(format!("/{text}")),
            false => Cow::Borrowed(text),
        };
        Target::parse_path(&whole).map_err(|told| {
            // The form is told with the key.
            told.split("; accepted").next().unwrap_or(&told).to_owned()
        })?;
        let text = normalised(&whole);
        let path = text.split('?').next().unwrap_or(&text);
        if path.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err("has a segment . or .., which no path has once it is resolved".into());
        }
        let folded = text.to_ascii_lowercase();
        let has_query = text.contains('?');
        let ends = match path.split_once('*') {
            // A star before `?` may stand for that, too.
            Some((head, _)) if has_query => Ends::of(head, ""),
            Some((head, rest)) => Ends::of(head, rest.rsplit('*').next().unwrap_or(rest)),
            None => Ends::of_whole(path),
        };
        Ok(Self {
            exact: Spellings::of(&text),
            folded: Spellings {
                as_sent: folded[usize::from(is_open)..].into(),
                resolved: Spellings::of(&folded).resolved,
            },
            has_query,
            is_open,
            ends,
        })
    }

    /// The pattern, normalised.
    pub fn text(&self) -> &str {
        &self.exact.as_sent
    }

    /// Whether it says something of the query.
    pub fn has_query(&self) -> bool {
        self.has_query
    }

    /// What it demands of the ends of a path as sent.
    pub(super) fn ends(&self) -> Ends {
        self.ends
    }

    /// Whether it takes every reading of a path.
    pub(super) fn takes_all(&self, path: &Readings<'_>) -> bool {
        let query = self.has_query.then(|| path.query()).flatten();
        let takes = |pattern: &str, path: &str| {
            let path = with_query(path, query);
            matches(pattern, &path) || self.open(pattern).is_some_and(|open| matches(open, &path))
        };
        takes(&self.exact.as_sent, &path.as_sent)
            && path.resolved.as_ref().is_none_or(|path| takes(&self.exact.resolved, path))
    }

    /// Whether it certainly takes all paths, with their queries, that `other` does. Wherever `other` has a star, this
    /// one has, too: nothing else takes a star.
    pub(super) fn takes_all_of(&self, other: &Self) -> bool {
        let takes = |own: &str, others: &str| {
            matches(own, others) || self.open(own).is_some_and(|open| matches(open, others))
        };
        let takes_both = |own: &str, others: &str| {
            let others = match other.has_query && !self.has_query {
                true => without_query(others),
                false => Cow::Borrowed(others),
            };
            // What may come before the slash in `*/x` is a path of its own, or nothing.
            let bare = other.open(&others).map(|open| open.trim_start_matches('*'));
            let bare = bare.filter(|bare| bare.starts_with('/'));
            takes(own, &others) && bare.is_none_or(|bare| takes(own, bare))
        };
        (other.has_query || !self.has_query)
            && takes_both(&self.exact.as_sent, &other.exact.as_sent)
            && takes_both(&self.exact.resolved, &other.exact.resolved)
    }

    /// What its stars stand for in a path as sent, if it takes that.
    pub(super) fn captures(&self, path: &Readings<'_>) -> Option<Vec<String>> {
        if !self.takes_all(path) {
            return None;
        }
        let query = self.has_query.then(|| path.query()).flatten();
        let (pattern, path) = (&*self.exact.as_sent, with_query(&path.as_sent, query));
        captures(pattern, &path).or_else(|| captures(self.open(pattern)?, &path))
    }

    /// The same in both readings of the path; the second is empty where there is none.
    pub(super) fn captures_of_both(&self, path: &Readings<'_>) -> Option<BothCaptures> {
        let as_sent = self.captures(path)?;
        let (pattern, resolved) = (&*self.exact.resolved, path.resolved());
        let of_resolved =
            |path: &str| captures(pattern, path).or_else(|| captures(self.open(pattern)?, path));
        Some(BothCaptures { as_sent, resolved: resolved.and_then(of_resolved).unwrap_or_default() })
    }

    /// A pattern without the slash that was put before its first star.
    fn open<'a>(&self, pattern: &'a str) -> Option<&'a str> {
        pattern.strip_prefix('/').filter(|_| self.is_open)
    }

    /// How many stars it has.
    pub fn stars(&self) -> usize {
        self.exact.as_sent.matches('*').count()
    }

    /// Whether it takes any spelling of a path, in any case of its letters.
    pub(crate) fn may_take(&self, path: &EverySpelling) -> bool {
        let Spellings { as_sent, resolved } = &self.folded;
        path.any(self.has_query, |path| matches(as_sent, path) || matches(resolved, path))
    }
}

/// What the stars of a pattern stand for in both readings of a path.
#[derive(Debug, Default)]
pub(super) struct BothCaptures {
    pub(super) as_sent: Vec<String>,
    pub(super) resolved: Vec<String>,
}

/// A path as rules compare it. Servers may read some paths as others: they resolve `.` and `..`, merge slashes, take
/// `%2F` and `\` for a slash, and leave out what follows `;` in a segment. Such a path has two readings, as sent and
/// resolved.
pub struct Readings<'a> {
    /// Percent-normalised.
    as_sent: Cow<'a, str>,
    /// If it reads otherwise.
    resolved: Option<String>,
    raw_query: Option<&'a str>,
    query: OnceCell<Cow<'a, str>>,
}

impl<'a> Readings<'a> {
    /// Those of a path and a query as sent.
    pub fn of(path: &'a str, query: Option<&'a str>) -> Self {
        let (as_sent, resolved) = match is_plain(path) {
            true => (Cow::Borrowed(path), None),
            false => {
                let as_sent = normalised(path);
                let resolved = is_ambiguous(&as_sent).then(|| resolved(&as_sent));
                (as_sent, resolved)
            }
        };
        Self { as_sent, resolved, raw_query: query, query: OnceCell::new() }
    }

    /// The reading as sent.
    pub(super) fn as_sent(&self) -> &str {
        &self.as_sent
    }

    /// Whether servers may read it in another way.
    pub(super) fn are_two(&self) -> bool {
        self.resolved.is_some()
    }

    /// All that some server may read it as.
    pub(super) fn every(&self) -> EverySpelling {
        EverySpelling::of(&self.as_sent, self.raw_query)
    }

    /// The other reading, if there is one.
    pub(super) fn resolved(&self) -> Option<&str> {
        self.resolved.as_deref()
    }

    fn query(&self) -> Option<&str> {
        let query = self.raw_query?;
        Some(self.query.get_or_init(|| normalised(query)))
    }
}

/// Whether a normalised path has a segment `.` or `..`, as some server may read it.
pub(super) fn has_dots(path: &str) -> bool {
    let path = path.replace("%2F", "/").replace("%5C", "/");
    let mut names = path.split('/').map(|segment| segment.split(';').next().unwrap_or(segment));
    names.any(|name| matches!(name, "." | ".."))
}

/// The path that servers may take it for.
pub(super) fn resolved(path: &str) -> String {
    let path = path.replace("%2F", "/").replace("%5C", "/");
    let mut segments: Vec<&str> = Vec::new();
    let mut is_folder = true;
    for segment in path.split('/') {
        let name = segment.split(';').next().unwrap_or(segment);
        is_folder = matches!(name, "" | "." | "..");
        match name {
            "" | "." => {}
            ".." => drop(segments.pop()),
            name => segments.push(name),
        }
    }
    let mut whole = format!("/{}", segments.join("/"));
    if is_folder && !whole.ends_with('/') {
        whole.push('/');
    }
    whole
}

/// A pattern of at least the paths of one with a query. A star before `?` may stand for the end of the path, too.
fn without_query(pattern: &str) -> Cow<'_, str> {
    let path = pattern.split('?').next().unwrap_or(pattern);
    match path.split_once('*') {
        Some((head, _)) => Cow::Owned(format!("{head}*")),
        None => Cow::Borrowed(path),
    }
}

fn with_query<'a>(path: &'a str, query: Option<&str>) -> Cow<'a, str> {
    match query {
        None => Cow::Borrowed(path),
        Some(query) => Cow::Owned(format!("{path}?{query}")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn takes(pattern: &str, path: &str, query: Option<&str>) -> (bool, bool) {
        let pattern = PathPattern::parse(pattern).unwrap();
        let every = EverySpelling::of(path, query);
        (pattern.takes_all(&Readings::of(path, query)), pattern.may_take(&every))
    }

    #[test]
    fn paths_are_compared_as_in_purges() {
        for (pattern, path, query, expected) in [
            ("/a", "/a", None, true),
            ("/a", "/a", Some("x=1"), true),
            ("/a", "/a/", None, false),
            ("/a", "/%61", None, true),
            ("/%61", "/a", None, true),
            ("/caf\u{e9}", "/caf%c3%a9", None, true),
            ("/static/*", "/static/", None, true),
            ("/static/*", "/static/a/b", None, true),
            ("/static/*", "/static", None, false),
            ("*.css", "/a/b.css", None, true),
            ("*.css", "/.css", None, true),
            ("*.css", "/a/b.css/x", None, false),
            ("*", "/", None, true),
            ("*/.git*", "/.git/config", None, true),
            ("*/.git*", "/a/.git/config", None, true),
            ("*/.git*", "/a.git", None, false),
            ("/a*z", "/az", None, true),
            ("/a?x=1", "/a", Some("x=1"), true),
            ("/a?x=1", "/a", Some("%78=1"), true),
            ("/a?x=1", "/a", Some("x=2"), false),
            ("/a?x=1", "/a", None, false),
            ("/a?*", "/a", Some(""), true),
            ("/a/*?x=*", "/a/b", Some("x=1"), true),
        ] {
            let (takes, may_take) = takes(pattern, path, query);
            assert_eq!(takes, expected, "{pattern} {path} {query:?}");
            assert!(may_take || !takes, "{pattern} {path} {query:?}");
        }
    }

    /// In a purge `*` runs on into the query: it may take more than is meant, a rule may not.
    #[test]
    fn a_pattern_without_a_question_mark_does_not_look_at_the_query() {
        assert_eq!(takes("*.css", "/account", Some("x=.css")), (false, false));
        assert_eq!(takes("/a*z", "/a", Some("z")), (false, false));
    }

    #[test]
    fn a_path_that_servers_read_in_two_ways_must_match_in_both_and_may_match_in_either() {
        for (pattern, path) in [
            ("/static/*", "/static/../account"),
            ("/static/*", "/static/%2e%2e/account"),
            ("/static/*", "/static/..%2faccount"),
            ("/static/*", "/static/..%5Caccount"),
            ("/static/*", "/static/..;/account"),
            ("*.css", "/account;.css"),
            ("/static/*", "/account/..%2fstatic/a"),
            ("/admin/*", "//admin/a"),
            ("/admin/*", "/./admin/a"),
            ("/admin/*", "/admin%2fa"),
            ("/admin/*", "/x/../admin/a"),
            ("/admin/*", "/admin;x/a"),
            ("/admin", "/admin;x"),
            ("/admin", "/x/..;/admin"),
            ("/admin/*", "/ADMIN/a"),
            ("/Admin/*", "/admin/a"),
        ] {
            assert_eq!(takes(pattern, path, None), (false, true), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("/static/*", "/static/a/../b"),
            ("/static/*", "/static//a"),
            ("/a;v=1/b", "/a;v=1/b"),
            ("/proxy/http://*", "/proxy/http://a.example/b"),
            ("/.well-known/*", "/.well-known/a"),
            ("/static/*", "/static/100%25"),
        ] {
            assert_eq!(takes(pattern, path, None), (true, true), "{pattern} {path}");
        }
        assert_eq!(takes("/static/*", "/other", None), (false, false));
    }

    #[test]
    fn what_is_no_pattern_is_told() {
        for (text, part) in [
            ("", "empty"),
            ("a", "does not start with /"),
            ("/a#b", "fragment"),
            ("/a/../b", "segment . or .."),
            ("/a/%2e%2E", "segment . or .."),
            ("/a\u{7f}", "control character"),
        ] {
            let told = PathPattern::parse(text).unwrap_err();
            assert!(told.contains(part) && !told.contains("accepted"), "{text:?}: {told}");
        }
    }

    fn takes_all_of(wide: &str, narrow: &str) -> bool {
        let [wide, narrow] = [wide, narrow].map(|text| PathPattern::parse(text).unwrap());
        wide.takes_all_of(&narrow)
    }

    #[test]
    fn a_pattern_takes_all_that_a_narrower_one_does() {
        for (wide, narrow) in [
            ("*", "/a"),
            ("/*", "*.css"),
            ("/*", "*/.git*"),
            ("/static/*", "/static/css/*"),
            ("/static/*", "/static/*.css"),
            ("*.css", "/static/*.css"),
            ("*.css", "*.min.css"),
            ("/a", "/%61"),
            ("/a", "/a?x=1"),
            ("/a*", "/ab*?x=*"),
            ("/a?x=*", "/a?x=1"),
        ] {
            assert!(takes_all_of(wide, narrow), "{wide} {narrow}");
            assert_eq!(takes_all_of(narrow, wide), narrow == "/%61", "{narrow} {wide}");
        }
        for (one, other) in [
            ("/a/*", "/b/*"),
            ("*.css", "/static/*"),
            ("/*/.git*", "*/.git*"),
            ("/a?x=1", "/a"),
            ("/ab", "/a*b?c"),
        ] {
            assert!(!takes_all_of(one, other), "{one} {other}");
        }
    }

    proptest! {
        #[test]
        fn who_takes_all_of_another_takes_what_it_takes(
            patterns in proptest::collection::vec("[/*][ab/*.;]{0,4}(\\?[ab*]{0,2})?", 2),
            path in "/[ab/.;]{0,6}",
            query in proptest::option::of("[ab?]{0,3}"),
        ) {
            let parsed: Vec<PathPattern> =
                patterns.iter().filter_map(|text| PathPattern::parse(text).ok()).collect();
            let path = Readings::of(&path, query.as_deref());
            if let [wide, narrow] = &parsed[..] && wide.takes_all_of(narrow) {
                prop_assert!(wide.takes_all(&path) || !narrow.takes_all(&path));
            }
        }

        /// Access is never less strict than what other settings see.
        #[test]
        fn what_is_taken_may_be_taken(pattern in "[/*][abA/*.;]{0,9}", path in "/([abA/.;]|%2[fFeE]){0,9}") {
            if let Ok(pattern) = PathPattern::parse(&pattern) {
                let every = EverySpelling::of(&path, None);
                prop_assert!(!pattern.takes_all(&Readings::of(&path, None)) || pattern.may_take(&every));
            }
        }

        /// No spelling of a path gets around a rule of access.
        #[test]
        fn no_spelling_gets_around_access(choices in proptest::collection::vec(0..8usize, 4)) {
            let mut path = String::new();
            for (segment, choice) in ["admin", "users", "list", "all"].iter().zip(choices) {
                let spelled = match choice {
                    0 => format!("/{segment}"),
                    1 => format!("//{segment}"),
                    2 => format!("/./{segment}"),
                    3 => format!("/x/%2e%2E/{segment}"),
                    4 => format!("/{}", segment.to_uppercase()),
                    5 => format!("/{segment};v=1"),
                    6 => format!("/%{:02x}{}", segment.as_bytes()[0], &segment[1..]),
                    _ => format!("/..;/{segment}"),
                };
                // Only the first may climb: what it climbs out of is the root.
                path.push_str(if choice == 7 && !path.is_empty() { "/./x/.." } else { "" });
                path.push_str(match choice { 7 => format!("/{segment}"), _ => spelled }.as_str());
            }
            let pattern = PathPattern::parse("/admin/*").unwrap();
            prop_assert!(pattern.may_take(&EverySpelling::of(&path, None)), "{path}");
        }
    }
}
