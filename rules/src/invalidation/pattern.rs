//! Patterns with `*`, which stands for any characters, `/` and `?` among them.

use super::spelled::Spelled;
use crate::wildcard::matches;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invalidation::Subject;

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
