use super::*;
use crate::site_rules::PathPattern;
use proptest::prelude::*;

/// Whether a rule about this path takes a request.
fn takes(pattern: &str, path: &str, query: Option<&str>) -> bool {
    let pattern = PathPattern::parse(pattern).expect("a pattern");
    pattern.may_take(&EverySpelling::of(path, query))
}

#[test]
fn no_spelling_of_a_path_gets_past_a_rule() {
    for path in [
        "/admin/x",
        "/admin",
        "/admin/",
        "/Admin/x",
        "/%61dmin/x",
        "/%41DMIN/x",
        "//admin/x",
        "/./admin/x",
        "/a/../admin/x",
        "/a/%2e%2E/admin/x",
        "/a/..%2fadmin/x",
        "/a%2F../admin/x",
        "/a\\..\\admin\\x",
        "/a%5c..%5cadmin%5cx",
        "/a/..;v=1/admin/x",
        "/admin;v=1/x",
        "/a//../admin/x",
        "/%2561dmin/x",
        "/%252561dmin/x",
        "/a/%252e%252e/admin/x",
        "/../admin/x",
        "/admin%2fx",
        "/admin/../admin/x",
        "/a/b/../../admin/./x",
    ] {
        assert!(takes("/admin/*", path, None), "{path}");
        assert!(takes("/admin/*", path, Some("q=1")), "{path} with a query");
    }
    for path in ["/", "/administrator", "/a/admin/x", "/a;/admin%20/x", "/x?/admin/"] {
        assert!(!takes("/admin/*", path, None), "{path}");
    }
}

/// RFC 3986 keeps the empty segment, other servers drop it first: they find different paths.
#[test]
fn repeated_slashes_count_in_both_ways() {
    assert!(takes("/a/admin/*", "/a//../admin/x", None));
    assert!(takes("/admin/*", "/a//../admin/x", None));
}

#[test]
fn patterns_are_those_of_purges() {
    for (pattern, path, query, expected) in [
        ("/a", "/a", None, true),
        ("/a", "/a/", None, true),
        ("/a/", "/a", None, true),
        ("/a", "/ab", None, false),
        ("/a?x=1", "/a", Some("x=1"), true),
        ("/a?x=1", "/A", Some("x=%31"), true),
        ("/a?x=1", "/a", Some("x=2"), false),
        ("/a?x=1", "/a", None, false),
        ("*.css", "/account", Some("x=.css"), false),
        ("*/.git*", "/.git/config", None, true),
        ("*/.git*", "/a/.git/config", None, true),
        ("*/.git*", "/a/x.git", None, false),
        ("/*/.git*", "/.git/config", None, false),
        ("*.php", "/x.php", Some("y"), true),
        ("/a*", "/a/b", Some("c"), true),
        ("/*.php", "/x/y.php", Some("z"), true),
        ("/*.php", "/x.php;jsessionid=1", None, true),
        ("/*", "/", None, true),
        ("/caf%C3%A9", "/caf%c3%a9", None, true),
    ] {
        assert_eq!(takes(pattern, path, query), expected, "{pattern} {path} {query:?}");
    }
}

#[test]
fn a_plain_path_has_one_spelling() {
    for path in ["/", "/a/b.c", "/%61/b", "/a/b/"] {
        assert!(has_one_spelling(path), "{path}");
        assert_eq!(spellings(path), [normalised(path)], "{path}");
    }
    for path in ["//a", "/.", "/a/../b", "/a;b", "/a%2fb", "/a%5Cb", "/a\\b", "/%2561", "/%2e%2e/a"]
    {
        assert!(!has_one_spelling(path), "{path}");
    }
}

/// A path, and ways to write it that some server takes for it.
fn respelled() -> impl Strategy<Value = (String, String)> {
    let segment = "[a-z]{1,4}";
    let segments = prop::collection::vec(segment, 1..5);
    (segments, prop::collection::vec((0usize..8, any::<prop::sample::Index>()), 0..4)).prop_map(
        |(segments, ways)| {
            let path = format!("/{}", segments.join("/"));
            let mut spelled = path.clone();
            for (way, at) in ways {
                let slashes: Vec<usize> = spelled.match_indices('/').map(|(at, _)| at).collect();
                let Some(slash) = slashes.get(at.index(slashes.len().max(1))).copied() else {
                    continue;
                };
                let inserted = match way {
                    0 => "/",
                    1 => "/.",
                    2 => "/zz/..",
                    3 => "/zz/%2e%2e",
                    4 => "/%2E",
                    _ => "",
                };
                spelled.insert_str(slash, inserted);
                if way == 5 {
                    spelled = spelled.to_ascii_uppercase().replace("%2E", "%2e");
                }
                if way == 6 && slash > 0 {
                    spelled.replace_range(slash..=slash, "%2F");
                }
                if way == 7 {
                    let letter = spelled.find(|c: char| c.is_ascii_lowercase());
                    if let Some(letter) = letter {
                        let byte = spelled.as_bytes()[letter];
                        spelled.replace_range(letter..=letter, &format!("%{byte:02x}"));
                    }
                }
            }
            (path, spelled)
        },
    )
}

proptest! {
    #[test]
    fn what_takes_a_path_takes_its_spellings((path, spelled) in respelled()) {
        prop_assert!(takes(&path, &spelled, None), "{} {}", path, spelled);
        let (below, file) = (format!("{path}/*"), format!("{spelled}/x"));
        prop_assert!(takes(&below, &file, None), "{} {}", below, file);
    }

    #[test]
    fn nothing_panics(path in ".{0,60}", query in proptest::option::of(".{0,20}"), pattern in ".{0,20}") {
        if let Ok(pattern) = PathPattern::parse(&pattern) {
            let _ = pattern.may_take(&EverySpelling::of(&path, query.as_deref()));
        }
    }
}
