//! Keys, selecting values and versions: nothing that means something else may meet.

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use weir_rules::key::*;
use weir_rules::vary::{accept_encoding_bucket, selecting_values, selects};
use weir_rules::versions::{is_versioned, unversioned};

fn query() -> impl Strategy<Value = String> {
    proptest::collection::vec("(a|b|%61|utm_x|utm%5Fx|a b|[ab%6=]{0,3})(=[12]?)?", 0..6)
        .prop_map(|parameters| parameters.join("&").replace(' ', "+"))
}

fn rules() -> impl Strategy<Value = QueryRules> {
    let list = || {
        proptest::sample::subsequence(vec!["a", "b", "utm_*", "a b"], 0..3)
            .prop_map(|names| names.into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    let keep = prop_oneof![
        Just(QueryKeep::All),
        list().prop_map(QueryKeep::Except),
        list().prop_map(QueryKeep::Only),
        Just(QueryKeep::Nothing),
    ];
    (any::<bool>(), keep).prop_map(|(sort, keep)| QueryRules { sort, keep })
}

fn parameters(query: &str) -> Vec<&str> {
    let mut parameters: Vec<_> = query.split('&').collect();
    parameters.sort_unstable();
    parameters
}

fn request(lines: &[(HeaderName, String)]) -> HeaderMap {
    lines
        .iter()
        .map(|(name, value)| (name.clone(), HeaderValue::try_from(value).expect("visible ASCII")))
        .collect()
}

/// A list read the long way: members in order, white space around them gone, quoted strings whole.
fn members(lines: &[String]) -> Vec<String> {
    let mut members = vec![];
    for line in lines {
        let (mut quoted, mut escaped, mut member) = (false, false, String::new());
        for character in line.chars() {
            if character == ',' && !quoted {
                members.push(member.trim().to_owned());
                member.clear();
                continue;
            }
            (quoted, escaped) = match character {
                _ if escaped => (quoted, false),
                '\\' if quoted => (quoted, true),
                '"' => (!quoted, false),
                _ => (quoted, false),
            };
            member.push(character);
        }
        // What is inside an open string is not white space around a member; what precedes it is.
        let kept = if quoted { member.trim_start() } else { member.trim() };
        members.push(format!("{kept}{}", if quoted { "\0" } else { "" }));
    }
    members
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn the_key_and_the_origin_have_the_same_parameters(query in query(), rules in rules()) {
        let asked = origin_query(Some(&query), &rules);
        let keyed = keyed_query(Some(&query), &rules);
        prop_assert_eq!(
            asked.as_deref().map(parameters),
            keyed.as_deref().map(parameters)
        );
        if let Some(asked) = &asked {
            // The client's order and bytes: what is left is a subsequence of what was sent.
            let mut sent = query.split('&');
            prop_assert!(asked.split('&').all(|kept| sent.any(|parameter| parameter == kept)));
            // Dropping again drops nothing, and neither does sorting again.
            let again = origin_query(Some(asked), &rules);
            prop_assert_eq!(again.as_deref(), Some(&**asked));
        }
        if let Some(keyed) = &keyed {
            let again = keyed_query(Some(keyed), &rules);
            prop_assert_eq!(again.as_deref(), Some(&**keyed));
        }
    }

    #[test]
    fn default_keys_are_equal_only_for_equal_requests(
        a in ("/[a?]{0,2}", proptest::option::of("[a=&?/]{0,3}"), proptest::option::of("[r=]{0,2}")),
        b in ("/[a?]{0,2}", proptest::option::of("[a=&?/]{0,3}"), proptest::option::of("[r=]{0,2}")),
    ) {
        let key = |(path, query, release): &(String, Option<String>, Option<String>)| {
            let path = path.replace('?', "b");
            let parts = KeyParts {
                scheme: "http", host: "h", path: &path, query: query.as_deref(), release: release.as_deref(),
            };
            let mut out = vec![];
            write_key(&mut out, &parts, &KeyRules::default(), &HeaderMap::new());
            (out, path.clone())
        };
        let ((key_a, path_a), (key_b, path_b)) = (key(&a), key(&b));
        prop_assert_eq!(key_a == key_b, path_a == path_b && a.1 == b.1 && a.2 == b.2);
    }

    #[test]
    fn values_of_unknown_fields_meet_only_when_they_are_the_same_list(
        a in proptest::collection::vec("[aA\", \\\\]{0,6}", 1..3),
        b in proptest::collection::vec("[aA\", \\\\]{0,6}", 1..3),
    ) {
        let name = HeaderName::from_static("foo");
        let values = |lines: &[String]| {
            let lines: Vec<_> = lines.iter().map(|line| (name.clone(), line.clone())).collect();
            selecting_values(std::slice::from_ref(&name), &request(&lines))
        };
        if values(&a) == values(&b) {
            // A field value has no white space around it (RFC 9110 §5.5).
            let trimmed = |lines: &[String]| {
                lines.iter().map(|line| line.trim().to_owned()).collect::<Vec<_>>()
            };
            prop_assert_eq!(members(&trimmed(&a)), members(&trimmed(&b)));
        }
    }

    #[test]
    fn any_request_selects_what_was_stored_for_itself(
        lines in proptest::collection::vec(
            (proptest::sample::select(vec!["accept", "accept-encoding", "accept-language", "foo", "cookie"]),
             "[a-dq=;,.*/\"01 -]{0,16}"), 0..6),
    ) {
        let lines: Vec<_> = lines.into_iter().map(|(name, value)| (HeaderName::from_static(name), value)).collect();
        let request = request(&lines);
        let fields: Vec<_> = ["accept", "accept-encoding", "accept-language", "cookie", "foo"]
            .map(HeaderName::from_static).into();
        let stored = selecting_values(&fields, &request);
        prop_assert!(selects(&fields, &stored, None, &request));
        // The bucket is what the origin is asked with: it must fall into itself.
        if let Some(bucket) = accept_encoding_bucket(&request) {
            let asked = HeaderMap::from_iter([(http::header::ACCEPT_ENCODING, HeaderValue::from_static(bucket))]);
            prop_assert_eq!(accept_encoding_bucket(&asked), Some(bucket));
        }
    }

    #[test]
    fn a_name_without_its_version_is_shorter_and_of_the_same_kind(
        path in "(/[a-z]{0,3}){0,2}/[a-zA-F0-9._-]{0,20}\\.(js|css|png|html)",
        query in proptest::option::of("[a-z0-9=&]{0,8}"),
    ) {
        if let Some(plain) = unversioned(&path) {
            prop_assert!(plain.len() < path.len());
            prop_assert_eq!(plain.rsplit('.').next(), path.rsplit('.').next());
            prop_assert_eq!(plain.rsplit_once('/').map(|p| p.0), path.rsplit_once('/').map(|p| p.0));
        } else {
            prop_assert!(!is_versioned(&path, None), "freshness is never surer than purging");
        }
        if path.ends_with("html") {
            prop_assert!(!is_versioned(&path, query.as_deref()));
        }
    }

    #[test]
    fn no_path_is_too_odd(path in "\\PC{0,30}", query in proptest::option::of("\\PC{0,20}")) {
        is_versioned(&path, query.as_deref());
        unversioned(&path);
    }
}
