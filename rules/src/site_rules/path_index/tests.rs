#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

/// An index of these patterns, each of a rule of its own.
fn index(patterns: &[impl AsRef<str>]) -> PathIndex {
    let patterns = patterns.iter().map(|text| PathPattern::parse(text.as_ref()).unwrap());
    PathIndex::of(patterns.zip(0..))
}

/// The patterns that are compared as a whole with this path.
fn compared(index: &PathIndex, path: &str) -> Vec<String> {
    let path = Readings::of(path, None);
    index.candidates(&path).map(|filed| filed.pattern.text().to_owned()).collect()
}

#[test]
fn a_word_has_the_outermost_bytes_of_a_text_whatever_its_length() {
    let text: Vec<u8> = (1..=40).collect();
    for length in 0..=text.len() {
        let bytes = &text[..length];
        let byte = |at: Option<usize>| at.and_then(|at| bytes.get(at)).copied().unwrap_or(0);
        let head: Vec<u8> = (0..WORD).map(|n| byte(Some(n))).collect();
        let tail: Vec<u8> = (0..WORD).map(|n| byte(length.checked_sub(n + 1))).collect();
        assert_eq!(word_of_head(bytes).to_be_bytes(), *head, "{length}");
        assert_eq!(word_of_tail(bytes).to_be_bytes(), *tail, "{length}");
    }
}

/// What 50 rules cost a hit is decided here: not by their number, but by the literals that the path has.
#[test]
fn a_path_is_compared_with_the_patterns_that_both_its_ends_fit() {
    let folders = (0..50).map(|n| format!("/section-{n}/*"));
    let types = ["*.css", "*.js", "*.png", "*.tar.gz", "/images/*.png", "/images/*.webp"];
    let pages = ["/", "/about", "/about/", "/images/", "/search?*", "/search", "*/feed/", "*"];
    let fixed = types.iter().chain(&pages).map(|text| (*text).to_owned());
    let all: Vec<String> = folders.chain(fixed).collect();
    let index = index(&all);
    for (path, fitting) in [
        ("/index.html", &["/*"][..]),
        ("/section-7/a", &["/section-7/*", "/*"]),
        ("/section-77/a", &["/*"]),
        ("/section-1", &["/*"]),
        ("/", &["/", "/*"]),
        ("/about", &["/about", "/*"]),
        ("/about/us", &["/*"]),
        ("/images/", &["/images/", "/*"]),
        ("/images/a.png", &["/images/*.png", "/*", "/*.png"]),
        ("/section-3/site.css", &["/section-3/*", "/*", "/*.css"]),
        ("/a.tar.gz", &["/*", "/*.tar.gz"]),
        ("/b.gz", &["/*"]),
        ("/search", &["/search?*", "/search", "/*"]),
        ("/news/feed/", &["/*", "/*/feed/"]),
    ] {
        assert_eq!(compared(&index, path), fitting, "{path}");
    }
}

#[test]
fn long_literals_are_compared_as_far_as_a_word_goes() {
    let index =
        index(&["/wp-content/plugins/a/*", "/wp-content/plugins/b/*", "/wp-content/themes"]);
    assert_eq!(compared(&index, "/wp-content/plugins/b/x").len(), 2);
    assert_eq!(compared(&index, "/wp-content/themes"), ["/wp-content/themes"]);
    assert!(compared(&index, "/wp-content/uploads/x").is_empty());
    assert!(compared(&index, "/wp-content").is_empty());
}

#[test]
fn a_rule_has_as_many_patterns_as_it_likes() {
    let many: Vec<String> = (0..30_000).map(|n| format!("/{n}/*")).collect();
    let patterns = many.iter().map(|text| (PathPattern::parse(text).unwrap(), 127));
    let index = PathIndex::of(patterns);
    assert_eq!(compared(&index, "/29999/a"), ["/29999/*"]);
    assert!(index.rules(&Readings::of("/29999/a", None)).has(127));
    assert!(index.rules(&Readings::of("/30000/a", None)).is_empty());
}

proptest! {
    /// The index only saves time.
    #[test]
    fn the_index_changes_nothing(
        patterns in proptest::collection::vec("[/*][ab*]{0,3}([ab/*]{0,20}(\\?[ab*]{0,3})?)?", 0..12),
        path in "/[ab/]{0,24}",
        query in proptest::option::of("[ab?]{0,4}"),
    ) {
        let patterns: Vec<PathPattern> =
            patterns.iter().filter_map(|text| PathPattern::parse(text).ok()).collect();
        let path = Readings::of(&path, query.as_deref());
        let mut taking = RuleSet::default();
        for (pattern, n) in patterns.iter().zip(0..) {
            if pattern.takes_all(&path) {
                taking.add(n);
            }
        }
        let index = PathIndex::of(patterns.into_iter().zip(0..));
        prop_assert_eq!(index.rules(&path), taking);
    }
}
