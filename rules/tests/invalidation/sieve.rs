//! What the sieve lets pass, no purge took.

use crate::model::{Response, log, model, responses};
use proptest::prelude::*;
use weir_rules::invalidation::{Purge, Sieve, Sieved, Target, Validity};

fn passes(sieve: &Sieve, response: &Response, since: u64) -> bool {
    let Response { host, path, query, tags, .. } = response;
    sieve.passes(&Sieved { host, path, query: *query }, tags.iter().copied(), since)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_passes_was_not_taken(log in log(40), responses in responses(), since in 0..42_u64) {
        let sieve = Sieve::default();
        log.iter().for_each(|purge| sieve.raise(purge));
        let later: Vec<Purge> = log.iter().filter(|purge| purge.seq > since).cloned().collect();
        for response in &responses {
            if passes(&sieve, response, since) {
                let from_the_start = Response { filled_at: 0, ..response.clone() };
                prop_assert_eq!(model(&later, &from_the_start), Validity::Valid, "{:?}", response);
            }
        }
    }
}

#[test]
fn what_others_were_purged_of_passes() {
    let sieve = Sieve::default();
    let page = Response {
        site: "s1",
        host: "h1",
        path: "/a/b",
        query: Some("x=1"),
        tags: vec!["t1"],
        filled_at: 0,
    };
    let targets = [
        Target::Path("/b".into()),
        Target::Path("/a/b?x=2".into()),
        Target::Url("http://h1/b".into()),
        Target::Tag("t2".into()),
        Target::Tag("T1".into()),
        Target::AnyCaseTag("T2".into()),
        Target::Host("h2".into()),
        Target::Prefix("/b".into()),
        Target::Prefix("h2/a".into()),
    ];
    let purge = |seq, targets| Purge { seq, targets, site: None, soft: false, versions: false };
    sieve.raise(&purge(1, targets.to_vec()));
    assert!(passes(&sieve, &page, 0));
    let own = [
        Target::Path("/a/b".into()),
        Target::Path("/a/b?x=1".into()),
        Target::Url("https://h1/a/b?x=1".into()),
        Target::Tag("t1".into()),
        Target::AnyCaseTag("T1".into()),
        Target::Host("h1".into()),
        Target::Prefix("/a".into()),
        Target::Prefix("h1/a/b".into()),
        Target::Pattern("/z*".into()),
        Target::All,
    ];
    for (seq, target) in (2..).zip(own) {
        sieve.raise(&purge(seq, vec![target.clone()]));
        assert!(!passes(&sieve, &page, seq - 1), "{target:?}");
        assert!(passes(&sieve, &page, seq), "{target:?} was seen");
    }
    sieve.raise_all(100);
    assert!(!passes(&sieve, &page, 99) && passes(&sieve, &page, 100));
}
