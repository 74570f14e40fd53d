//! Patterns with `*`, which stands for any characters, `/` and `?` among them.

use super::spelled::Spelled;

/// A compiled pattern over percent-normalised text.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    text: Box<str>,
    /// Without a `?` of its own it says nothing of the query.
    any_query: bool,
}

impl Pattern {
    pub(super) fn new(normalised: &str) -> Self {
        Self { text: normalised.into(), any_query: !normalised.contains('?') }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it takes a path, alone or with its query.
    pub(super) fn takes(&self, spelled: &Spelled<'_>) -> bool {
        (self.any_query && matches(&self.text, &spelled.path))
            || ((spelled.has_query() || !self.any_query) && matches(&self.text, spelled.full()))
    }
}

/// First and last literal are anchored; those between are found leftmost first, which never spoils
/// a match. Linear in the subject for each literal.
fn matches(pattern: &str, subject: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == subject };
    let Some(mut subject) = subject.as_bytes().strip_prefix(first.as_bytes()) else { return false };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for literal in middle.split('*').filter(|literal| !literal.is_empty()) {
        let Some(at) = memchr::memmem::find(subject, literal.as_bytes()) else { return false };
        subject = &subject[at + literal.len()..];
    }
    subject.ends_with(last.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invalidation::Subject;

    #[test]
    fn a_star_crosses_everything() {
        for (pattern, subject, expected) in [
            ("/img/*", "/img/", true),
            ("/img/*", "/img/a/b?c", true),
            ("/img/*", "/img", false),
            ("/img*", "/images", false),
            ("/img*", "/imgs", true),
            ("*", "/x", true),
            ("/*.jpg", "/a/b.jpg", true),
            ("/*.jpg", "/a.jpg/b", false),
            ("/a*b*c", "/abc", true),
            ("/a*b*c", "/abcbc", true),
            ("/a*b*c", "/ac", false),
            ("/a*bb", "/ab", false),
            ("/a*aa", "/aaa", true),
            ("/a**c", "/ac", true),
            ("/a*ab*ab", "/aab", false),
            ("/a*ab*ab", "/aabab", true),
            ("/a*?x=*", "/a/b?x=1", true),
            ("/a*?x=*", "/a/b", false),
            ("/a", "/a", true),
            ("/a", "/ab", false),
        ] {
            assert_eq!(matches(pattern, subject), expected, "{pattern} {subject}");
        }
    }

    #[test]
    fn without_a_question_mark_every_query_is_taken() {
        let subject = Subject {
            site: "",
            host: "",
            path: "/a.jpg",
            query: Some("w=1"),
            tags: &[],
            filled_at: 0,
        };
        let spelled = Spelled::new(&subject);
        assert!(Pattern::new("/*.jpg").takes(&spelled));
        assert!(!Pattern::new("/*.jpg?").takes(&spelled));
        assert!(Pattern::new("/*?w=1").takes(&spelled));
    }
}
