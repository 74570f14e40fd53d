use super::*;
use http::{HeaderName, HeaderValue};

fn of(lines: &[(&'static str, &str)]) -> Governing {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let value = HeaderValue::from_str(value).expect("a field value");
        headers.append(HeaderName::from_static(name), value);
    }
    governing(&headers)
}

fn cdn(value: &str) -> Governing {
    of(&[("cdn-cache-control", value), ("cache-control", "no-store")])
}

#[test]
fn cdn_cache_control_comes_first() {
    let chosen = of(&[
        ("cache-control", "no-store"),
        ("surrogate-control", "max-age=5"),
        ("cdn-cache-control", "max-age=10000"),
    ]);
    assert_eq!(chosen.source, Source::CdnCacheControl);
    assert_eq!(chosen.directives.max_age, Some(10_000));
    assert!(!chosen.directives.no_store);
}

#[test]
fn a_dictionary_that_is_wrong_anywhere_is_ignored() {
    for value in [
        "max-age=10000, &&&&&",
        "max-age=\"10000\"",
        "max-age=10000.5",
        "max-age=x",
        "max-age",
        "max-age=(1 2)",
        "MaX-aGe=3600",
        "max-age =100",
        "max-age= 100",
        "max-age=9999999999999999",
        "max-age=5,",
        "",
    ] {
        assert_eq!(cdn(value).source, Source::CacheControl, "{value}");
        assert!(cdn(value).directives.no_store, "{value}");
    }
}

#[test]
fn members_are_read_by_type() {
    let said =
        cdn("max-age=99999999999, s-maxage=-1, foo, private=\"a, b\", no-cache=c").directives;
    assert_eq!((said.max_age, said.s_maxage), (Some(1 << 31), Some(0)));
    let names = |list: &[&'static str]| {
        Qualified::Fields(list.iter().map(|name| HeaderName::from_static(name)).collect())
    };
    assert_eq!(said.private, names(&["a", "b"]));
    assert_eq!(said.no_cache, names(&["c"]));
}

#[test]
fn booleans_may_be_denied_and_restrictions_hold_otherwise() {
    let said = cdn("no-store=?0, private=?0, public=?0, must-revalidate=1").directives;
    assert!(!said.no_store && !said.public && said.must_revalidate);
    assert_eq!(said.private, Qualified::Absent);
    assert!(cdn("no-store;x=1").directives.no_store);
    assert_eq!(cdn("private=(a b)").directives.private, Qualified::Whole);
}

#[test]
fn the_last_of_equal_keys_counts_over_lines() {
    let chosen =
        of(&[("cdn-cache-control", "max-age=5, max-age=6"), ("cdn-cache-control", "max-age=7")]);
    assert_eq!(chosen.directives.max_age, Some(7));
}

#[test]
fn surrogate_control_has_an_extension() {
    let chosen = of(&[
        ("surrogate-control", "Max-Age=3600+600, content=\"ESI/1.0\""),
        ("cache-control", "private"),
    ]);
    assert_eq!(chosen.source, Source::SurrogateControl);
    assert_eq!(chosen.directives.max_age, Some(3600));
    assert_eq!(chosen.directives.stale_while_revalidate, Some(600));
    assert_eq!(chosen.directives.private, Qualified::Absent);
}

#[test]
fn surrogate_control_without_a_word_on_caching_does_not_govern() {
    for value in ["content=\"ESI/1.0\"", "no-store;other", "max-age=5;other", "", "x=y"] {
        let chosen = of(&[("surrogate-control", value), ("cache-control", "max-age=9")]);
        assert_eq!(chosen.source, Source::CacheControl, "{value}");
        assert_eq!(chosen.directives.max_age, Some(9), "{value}");
    }
}

#[test]
fn odd_surrogate_directives_are_read_carefully() {
    let read = |value| of(&[("surrogate-control", value)]).directives;
    assert!(read("no-store-remote").no_store);
    assert!(read("no-store").no_store);
    assert_eq!(read("max-age=x+5").max_age, Some(0));
    assert_eq!(read("max-age = 5").max_age, Some(0));
    assert_eq!(read("max-age=5+x").stale_while_revalidate, Some(0));
    assert_eq!(read("private=\"\"").private, Qualified::Whole);
}

#[test]
fn pragma_stands_in_for_cache_control_only() {
    assert_eq!(of(&[("pragma", "no-cache")]).directives.no_cache, Qualified::Whole);
    let both = of(&[("pragma", "no-cache"), ("cache-control", "max-age=5")]);
    assert_eq!(both.directives.no_cache, Qualified::Absent);
    let targeted = of(&[("pragma", "no-cache"), ("cdn-cache-control", "max-age=5")]);
    assert_eq!(targeted.directives.no_cache, Qualified::Absent);
}
