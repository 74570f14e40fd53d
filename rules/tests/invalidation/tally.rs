//! What each purge took, against a count by reading the list of all purges for each response.

use crate::model::{Response, log, model, responses, takes};
use crate::severity;
use proptest::prelude::*;
use std::collections::BTreeMap;
use weir_rules::invalidation::{KeyedPurge, Purge, Seq, Tally};

/// The first hard purge that takes a response and every soft one before it, of those after its
/// fill and within the bounds.
fn takers(log: &[Purge], response: &Response, since: Seq, until: Seq) -> Vec<Seq> {
    let later = log
        .iter()
        .filter(|purge| purge.seq > response.filled_at && purge.seq > since && purge.seq <= until);
    let mut found = Vec::new();
    for purge in later.filter(|purge| purge.targets.iter().any(|t| takes(purge, t, response))) {
        found.push(purge.seq);
        if !purge.soft {
            break;
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn each_purge_is_counted_what_it_took(
        log in log(40),
        responses in responses(),
        since in 0..20_u64,
        until in 20..60_u64,
    ) {
        let mut tally = Tally::default();
        log.iter().for_each(|purge| tally.add(&KeyedPurge::as_sent(purge.clone())));
        prop_assert_eq!(tally.last(), log.last().map_or(0, |purge| purge.seq));
        let mut expected: BTreeMap<Seq, u64> = log.iter().map(|purge| (purge.seq, 0)).collect();
        for response in &responses {
            let validity = tally.validity(&response.subject());
            prop_assert_eq!(severity(validity), severity(model(&log, response)));
            tally.count(&response.subject(), since, until);
            for seq in takers(&log, response, since, until) {
                *expected.entry(seq).or_default() += 1;
            }
        }
        prop_assert_eq!(tally.counts().into_iter().collect::<BTreeMap<_, _>>(), expected);
    }
}
