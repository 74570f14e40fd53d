//! Selection among variants that purges removed or that are too old for the request.

use super::*;
use crate::store::{Digest, DigestSecret};
use http::header;
use weir_config::Memory;
use weir_rules::invalidation::{Bounds, KeyedPurge, Purge, Target};

const DIGEST: Digest = 1;

/// A response with this tag, fetched at `filled_at`; `language` is what it varies on.
fn response(tag: &str, language: Option<&str>, filled_at: Seq) -> Arc<Stored> {
    let tags: Box<[Box<str>]> = [Box::from(tag)].into();
    let selecting = language.map(|language| {
        let fields = Box::from([header::ACCEPT_LANGUAGE]);
        let values = vary::selecting_values(&fields, &request(language));
        Box::new(Selecting { fields, values })
    });
    let valid_at = filled_at.into();
    Arc::new(Stored { tags: tags.into(), selecting, filled_at, valid_at, ..Stored::example() })
}

fn request(language: &str) -> HeaderMap {
    HeaderMap::from_iter([(header::ACCEPT_LANGUAGE, HeaderValue::from_str(language).unwrap())])
}

fn purged(tags: &[&str]) -> Purges {
    let purges = Purges::new(Bounds::default());
    for (tag, seq) in tags.iter().zip(10..) {
        let targets = vec![Target::parse_tag(tag).unwrap()];
        let purge = Purge { seq, targets, site: None, soft: false, versions: false };
        purges.apply(&KeyedPurge::as_sent(purge));
    }
    purges
}

/// The tag of the response that a request for German gets, with `stored` in the order of storing.
fn found(stored: &[Arc<Stored>], purges: &Purges, least: Seq) -> Option<String> {
    let memory = Memory { size: 1 << 20, max_object: 1 << 10, connections: None };
    let store = Store::new(&memory, 4, &DigestSecret::from([0; 16]), None);
    let example = Stored::example();
    for stored in stored {
        assert!(store.insert_over(DIGEST, stored.key(), |_| Some(Arc::clone(stored))).is_stored());
    }
    let query = Query {
        digest: DIGEST,
        key: example.key(),
        request: &request("de"),
        now: example.freshness.born,
        client: None,
        when_unreachable: 0,
        fresh_only: false,
        least,
        validate: false,
    };
    lookup(&store, purges, &query).stored().map(|stored| stored.tags[0].to_string())
}

#[test]
fn a_matching_vary_comes_first_unless_it_must_not_be_used() {
    let german = || response("german", Some("de"), 5);
    let plain = || response("plain", None, 6);
    for (is_plain_newer, purges, least, expected) in [
        (true, &[][..], 0, Some("german")),
        (false, &[], 0, Some("german")),
        (true, &["german"], 0, Some("plain")),
        (true, &["plain"], 0, Some("german")),
        (true, &["german", "plain"], 0, None),
        (true, &[], 6, Some("plain")),
        (true, &[], 7, None),
        // What is older than a purged response was superseded by it.
        (false, &["german"], 0, None),
        (false, &[], 6, None),
    ] {
        let stored = if is_plain_newer { [german(), plain()] } else { [plain(), german()] };
        let found = found(&stored, &purged(purges), least);
        assert_eq!(found.as_deref(), expected, "{is_plain_newer} {purges:?} {least}");
    }
}

#[test]
fn without_a_matching_vary_the_response_without_vary_is_used() {
    let (english, plain) = (response("english", Some("en"), 5), response("plain", None, 6));
    let purges = purged(&[]);
    for stored in [[Arc::clone(&english), Arc::clone(&plain)], [plain, Arc::clone(&english)]] {
        assert_eq!(found(&stored, &purges, 0).as_deref(), Some("plain"));
    }
    assert_eq!(found(&[english], &purges, 0), None);
}
