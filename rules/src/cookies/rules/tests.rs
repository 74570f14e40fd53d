use super::*;
use crate::cookies::ANALYTICS;
use crate::key::{KeyParts, write_key};
use crate::vary::selecting_values;
use proptest::prelude::*;

fn rules(ignore: &[&str], bypass: &[&str]) -> CookieRules {
    CookieRules { ignore: CookieNames::new(ignore), bypass: CookieNames::in_any_spelling(bypass) }
}

fn key(cookies: &[&str]) -> KeyRules {
    let cookies = cookies.iter().map(|name| (*name).to_owned()).collect();
    KeyRules { cookies, ..KeyRules::default() }
}

fn request(lines: &[&str]) -> HeaderMap {
    lines.iter().map(|line| (COOKIE, HeaderValue::from_str(line).unwrap())).collect()
}

/// Whether a request with these lines skips the store, and the lines that are left of it.
fn judged(rules: &CookieRules, key: &KeyRules, lines: &[&str]) -> (bool, Vec<String>) {
    let mut request = request(lines);
    let judged = rules.judge(key, &request);
    judged.remaining.put(&mut request);
    let left = request.get_all(COOKIE).iter().map(|line| line.to_str().unwrap().to_owned());
    (judged.bypass, left.collect())
}

#[test]
fn what_is_left_is_what_was_sent_without_the_ignored_ones() {
    let rules = rules(&["_ga", "lang*"], &[]);
    for (sent, left) in [
        ("_ga=1", None),
        ("_ga=1; language=de", None),
        (" ; ;", None),
        ("", None),
        ("_ga", None),
        ("a=1", Some("a=1")),
        ("a=1; _ga=2", Some("a=1")),
        ("_ga=2; a=1", Some("a=1")),
        ("a=1;_ga=2;b=3", Some("a=1;b=3")),
        ("a=1; _ga=2; b=3; lang=de; _ga=4", Some("a=1; b=3")),
        ("_ga_X=1; _GA=1", Some("_ga_X=1; _GA=1")),
        ("a=1;; b=_ga=2", Some("a=1;; b=_ga=2")),
    ] {
        let expected = left.map(str::to_owned).into_iter().collect::<Vec<_>>();
        assert_eq!(judged(&rules, &KeyRules::default(), &[sent]), (false, expected), "{sent}");
    }
}

#[test]
fn what_nothing_is_ignored_of_stays_as_it_is() {
    let unchanged = Judged { bypass: false, remaining: Remaining::AsSent };
    let key = KeyRules::default();
    for request in [request(&[]), request(&["a=1"]), request(&["a=1", "b=2"])] {
        assert_eq!(rules(&["_ga"], &["sid"]).judge(&key, &request), unchanged);
    }
    assert_eq!(rules(&[], &["sid"]).judge(&key, &request(&[""])), unchanged);
}

#[test]
fn all_lines_are_one_and_every_cookie_of_a_name_counts() {
    let rules = rules(&["_ga"], &["sid"]);
    let none = KeyRules::default();
    let (bypass, left) = judged(&rules, &none, &["_ga=1", "a=1; _ga=2", "a=2"]);
    assert_eq!((bypass, left), (false, vec!["a=1; a=2".to_owned()]));
    assert!(judged(&rules, &none, &["a=1", "b=2; sid=", "sid=x"]).0);
}

#[test]
fn a_line_that_compression_must_not_remember_stays_so() {
    let mut request = request(&["_ga=1; a=1"]);
    request.get_mut(COOKIE).unwrap().set_sensitive(true);
    rules(&["_ga"], &[]).judge(&KeyRules::default(), &request).remaining.put(&mut request);
    assert!(request[COOKIE].is_sensitive() && request[COOKIE] == "a=1");
}

#[test]
fn skipping_the_store_comes_before_the_key_and_the_key_before_ignoring() {
    let rules = rules(&["*"], &["wp_logged_in_*"]);
    let key = key(&["currency", "wp_*"]);
    let (bypass, left) = judged(&rules, &key, &["_ga=1; currency=EUR; wp_logged_in_1=x; wp_a=1"]);
    assert_eq!((bypass, left), (true, vec!["currency=EUR; wp_logged_in_1=x; wp_a=1".to_owned()]));
    let named = |name: &str, cookie_use| (name.to_owned(), cookie_use);
    assert_eq!(
        uses(Some(&rules), &key, &request(&["_ga=1; currency=EUR; wp_logged_in_1=x; wp_a"])),
        [
            named("_ga", CookieUse::Ignored),
            named("currency", CookieUse::Key),
            named("wp_logged_in_1", CookieUse::Bypass),
            named("wp_a", CookieUse::Key),
        ]
    );
    assert_eq!(uses(None, &key, &request(&["_ga=1"])), [named("_ga", CookieUse::Other)]);
}

#[test]
fn no_spelling_hides_a_cookie_that_skips_the_store() {
    let rules = rules(&["*"], &["wordpress_logged_in_*", "sid"]);
    let none = KeyRules::default();
    for sent in [
        "sid=1",
        "sid",
        " sid = 1",
        "a=1;sid=1",
        // PHP
        "wordpress.logged.in.1=x",
        "wordpress logged[in_1=x",
        // Python's http.cookies, and what follows RFC 2109
        "a=1 sid=2",
        "a=1\tsid=2",
        "a=1,sid=2",
        "$Version=1, sid=2",
        "a=\"1; sid=2\"",
    ] {
        assert!(judged(&rules, &none, &[sent]).0, "{sent}");
    }
    for sent in
        ["asid=1", "a=sid", "a=sid=1", "SID=1", "sid2=1", "a=1 sid", "wordpress_logged-in_1=x"]
    {
        assert!(!judged(&rules, &none, &[sent]).0, "{sent}");
    }
}

#[test]
fn the_list_of_analytics_names_each_cookie_once() {
    let list = CookieNames::new(ANALYTICS);
    assert_eq!(list.names().count(), ANALYTICS.len());
    for sent in
        ["_ga", "_ga_ABC", "_gid", "_pk_id.1.1fff", "_pk_ses", "_fbp", "_hjSession_3", "_ym_d"]
    {
        assert!(list.has(sent.as_bytes()), "{sent}");
    }
    for sent in ["ga", "_gallery", "PHPSESSID", "sessionid", "csrftoken", "lang", "_pk", "s_id"] {
        assert!(!list.has(sent.as_bytes()), "{sent}");
    }
}

/// Headers of cookies that meet each other's names, with every kind of separator.
fn lines() -> impl Strategy<Value = Vec<String>> {
    let pair = "(sid|lang|la|cur|_ga|s\\.d| )(=[12]?)?";
    let line = proptest::collection::vec((pair, "(;|; | ;|;;)"), 0..5)
        .prop_map(|parts| parts.into_iter().map(|(pair, end)| pair + &end).collect::<String>());
    proptest::collection::vec(line, 0..3)
}

fn names() -> impl Strategy<Value = Vec<&'static str>> {
    let all = vec!["sid", "s_d", "lang", "la*", "cur", "_ga", "*"];
    proptest::sample::subsequence(all, 0..4)
}

/// What the origin gets of a request, its key, and what selects among the responses under `Vary: Cookie`.
fn met(rules: &CookieRules, key: &KeyRules, mut request: HeaderMap) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    rules.judge(key, &request).remaining.put(&mut request);
    let parts = KeyParts { scheme: "http", host: "h", path: "/", query: None, release: None };
    let mut keyed = Vec::new();
    write_key(&mut keyed, &parts, key, &request);
    let sent = combined(&request).unwrap_or_default().into_owned();
    (keyed, selecting_values(&[COOKIE], &request), sent)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    /// What is stored for one client is what any other with its key, and its cookies where Vary names them,
    /// would have been sent.
    #[test]
    fn who_meets_in_the_store_has_the_same_cookies_for_the_origin(
        (a, b) in (lines(), lines()),
        (ignore, keyed, bypass) in (names(), names(), names()),
    ) {
        let (rules, key) = (rules(&ignore, &bypass), key(&keyed));
        let of = |lines: &[String]| {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            met(&rules, &key, request(&lines))
        };
        let ((key_a, vary_a, sent_a), (key_b, vary_b, sent_b)) = (of(&a), of(&b));
        if key_a == key_b && vary_a == vary_b {
            prop_assert_eq!(&sent_a, &sent_b);
        }
        // With all cookies ignored that no list names, the key alone decides.
        if ignore.contains(&"*") && !bypass.iter().any(|name| rules.bypass.covers(name)) && key_a == key_b {
            let read = |sent: &[u8]| -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
                let read = |cookie: Cookie<'_>| (cookie.name.to_vec(), cookie.value().map(<[u8]>::to_vec));
                let mut read: Vec<_> = cookies(sent).map(read).collect();
                // Of one name, the client's order counts.
                read.sort_by(|(a, _), (b, _)| a.cmp(b));
                read
            };
            prop_assert_eq!(read(&sent_a), read(&sent_b));
        }
    }

    /// Putting an ignored cookie anywhere into a request changes nothing that anyone sees.
    #[test]
    fn an_ignored_cookie_changes_nothing(
        lines in lines(),
        (keyed, bypass) in (names(), names()),
        value in "[a-z]{0,3}",
        at in any::<proptest::sample::Index>(),
    ) {
        let without_all = |names: Vec<&'static str>| -> Vec<&'static str> {
            names.into_iter().filter(|name| *name != "*").collect()
        };
        let (keyed, bypass) = (without_all(keyed), without_all(bypass));
        let (rules, key) = (rules(&["_ga", "lang*", "ignored"], &bypass), key(&keyed));
        let line = lines.join("; ");
        let mut parts: Vec<&str> = line.split(';').collect();
        let ignored = format!(" ignored={value}");
        parts.insert(at.index(parts.len() + 1), &ignored);
        let (with, without) = (request(&[&parts.join(";")]), request(&[&line]));
        prop_assert_eq!(met(&rules, &key, with.clone()), met(&rules, &key, without.clone()));
        prop_assert_eq!(rules.judge(&key, &with).bypass, rules.judge(&key, &without).bypass);
    }

    /// Judging what is left once more leaves it: a parent with the same rules comes to the same.
    #[test]
    fn the_next_tier_comes_to_the_same(
        lines in lines(),
        (ignore, keyed, bypass) in (names(), names(), names()),
    ) {
        let (rules, key) = (rules(&ignore, &bypass), key(&keyed));
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let mut request = request(&lines);
        crate::cookies::combine(&mut request);
        let first = rules.judge(&key, &request);
        first.remaining.put(&mut request);
        let second = rules.judge(&key, &request);
        prop_assert_eq!(second, Judged { bypass: first.bypass, remaining: Remaining::AsSent });
    }

    /// Who sends a cookie that makes requests skip the store does, whatever else they send.
    #[test]
    fn whoever_is_logged_in_skips_the_store(
        lines in lines(),
        (ignore, keyed) in (names(), names()),
        spelling in "wp[_. \\[]logged_in[a-z]{0,3}",
        at in any::<proptest::sample::Index>(),
    ) {
        let (rules, key) = (rules(&ignore, &["wp_logged_in*"]), key(&keyed));
        let line = lines.join(";");
        let mut parts: Vec<&str> = line.split(';').collect();
        let session = format!("{spelling}=1");
        parts.insert(at.index(parts.len() + 1), &session);
        let request = request(&[&parts.join(";")]);
        prop_assert!(rules.judge(&key, &request).bypass);
        let (_, _, sent) = met(&rules, &key, request);
        prop_assert!(cookies(&sent).any(|cookie| cookie.name == spelling.as_bytes()), "the origin gets it");
    }
}
