#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};
use strum::VariantArray;

/// Members as a test has them.
#[derive(Clone, Debug)]
struct Members {
    out: Vec<bool>,
    running: Vec<usize>,
    again: bool,
}

impl Members {
    fn healthy(count: usize) -> Self {
        Self { out: vec![false; count], running: vec![0; count], again: false }
    }

    fn without(mut self, member: usize) -> Self {
        self.out[member] = true;
        self
    }
}

impl Choices for Members {
    fn count(&self) -> usize {
        self.out.len()
    }

    fn eligible(&self, member: usize) -> bool {
        !self.out[member]
    }

    fn again(&self) -> bool {
        self.again
    }

    fn running(&self, member: usize) -> usize {
        self.running[member]
    }
}

fn share(name: &str, weight: u32) -> Share {
    Share { name: digest(name.as_bytes()), weight }
}

fn shares(weights: &[u32]) -> Vec<Share> {
    let named = weights.iter().enumerate();
    named.map(|(n, weight)| share(&format!("http://10.0.0.{n}:3000"), *weight)).collect()
}

/// The `n`th of many requests, each for another key by another client.
fn request(n: u32) -> For {
    For { hash: digest(&n.to_be_bytes()), client: Ipv4Addr::from(0x0a00_0000 + n * 7).into() }
}

/// How often each member was chosen for so many requests.
fn picks(balance: &dyn Balance, members: &Members, count: u32) -> Vec<u32> {
    let mut picks = vec![0; members.count()];
    for n in 0..count {
        picks[balance.choose(request(n), members).unwrap()] += 1;
    }
    picks
}

/// The choice for each of so many requests.
fn choices(balance: &dyn Balance, members: &Members, count: u32) -> Vec<usize> {
    (0..count).map(|n| balance.choose(request(n), members).unwrap()).collect()
}

/// One of each; the ring with few points, as it is made for each case.
fn every(shares: &[Share]) -> impl Iterator<Item = Box<dyn Balance>> {
    config::Balance::VARIANTS.iter().map(|balance| of(*balance, shares, 4))
}

/// Whether each part of `picks` is that of `weights` within a hundredth of all picks.
fn within_one_percent(picks: &[u32], weights: &[u32]) -> bool {
    let (all, weight): (u32, u32) = (picks.iter().sum(), weights.iter().sum());
    picks.iter().zip(weights).all(|(part, own)| {
        let wanted = f64::from(all) * f64::from(*own) / f64::from(weight);
        (f64::from(*part) - wanted).abs() <= f64::from(all) / 100.0
    })
}

#[test]
fn round_robin_is_even_also_while_one_is_out() {
    let members = Members::healthy(3).without(1);
    assert_eq!(picks(&RoundRobin::default(), &Members::healthy(3), 300), [100, 100, 100]);
    assert_eq!(picks(&RoundRobin::default(), &members, 300), [150, 0, 150]);
}

#[test]
fn who_chooses_again_takes_nobodys_turn() {
    let balance = RoundRobin::default();
    let again = Members { again: true, ..Members::healthy(2).without(0) };
    for first in [0, 1, 0, 1] {
        assert_eq!(balance.choose(request(0), &Members::healthy(2)), Some(first));
        assert_eq!(balance.choose(request(0), &again), Some(1));
        assert_eq!(balance.choose(request(0), &Members::healthy(1).without(0)), None);
    }
}

#[test]
fn weights_are_spread_evenly() {
    let balance = WeightedRoundRobin::new(&shares(&[5, 1, 1]));
    assert_eq!(choices(&balance, &Members::healthy(3), 7), [0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn weighted_picks_are_within_one_percent() {
    let weights = [1, 2, 3, 10];
    let balance = WeightedRoundRobin::new(&shares(&weights));
    let picks = picks(&balance, &Members::healthy(4), 100_000);
    assert!(within_one_percent(&picks, &weights), "{picks:?}");
}

#[test]
fn least_connections_looks_at_load_for_weight() {
    let balance = LeastConnections::new(&shares(&[1, 1, 3]));
    let mut members = Members { running: vec![4, 2, 8], ..Members::healthy(3) };
    assert!([1, 2].contains(&balance.choose(request(0), &members).unwrap()));
    members.running = vec![4, 2, 7];
    assert_eq!(balance.choose(request(0), &members), Some(2), "8 of 3 are fewer than 3 of 1");
    members.out[2] = true;
    assert_eq!(balance.choose(request(0), &members), Some(1));
}

#[test]
fn equally_busy_members_take_turns() {
    let balance = LeastConnections::new(&shares(&[1, 1, 1]));
    assert_eq!(picks(&balance, &Members::healthy(3), 300), [100, 100, 100]);
}

#[test]
fn a_client_stays_with_its_member_until_that_is_out() {
    let balance = IpHash::new(&shares(&[1, 1, 1, 1]));
    let all = choices(&balance, &Members::healthy(4), 10_000);
    assert_eq!(all, choices(&balance, &Members::healthy(4), 10_000));
    let fewer = choices(&balance, &Members::healthy(4).without(2), 10_000);
    for (before, after) in all.iter().zip(&fewer) {
        assert!(before == after || *before == 2, "only the clients of member 2 move");
        assert_ne!(*after, 2);
    }
    let moved: Vec<u32> = (0..4u32)
        .map(|to| all.iter().zip(&fewer).filter(|(a, b)| **a == 2 && **b == to as usize).count())
        .map(|count| u32::try_from(count).unwrap())
        .collect();
    assert!([0, 1, 3].iter().all(|to| moved[*to] > 700), "they spread over the rest: {moved:?}");
}

#[test]
fn clients_are_spread_by_weight() {
    let weights = [1, 2, 5];
    let picks = picks(&IpHash::new(&shares(&weights)), &Members::healthy(3), 100_000);
    assert!(within_one_percent(&picks, &weights), "{picks:?}");
}

#[test]
fn an_ipv6_client_is_its_network() {
    let balance = IpHash::new(&shares(&[1; 50]));
    let at = |last: u16| {
        let client = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, last).into();
        balance.choose(For { hash: 0, client }, &Members::healthy(50))
    };
    assert!((1..100).all(|last| at(last) == at(0)));
    let mapped = |client: IpAddr| balance.choose(For { hash: 0, client }, &Members::healthy(50));
    let four = Ipv4Addr::new(192, 0, 2, 1);
    assert_eq!(mapped(four.into()), mapped(four.to_ipv6_mapped().into()));
}

/// Names of parents as users have them.
fn parents(count: usize) -> Vec<Share> {
    (1..=count).map(|n| share(&format!("http://parent-{n}.internal:8080"), 1)).collect()
}

fn ring(shares: &[Share]) -> ConsistentHash {
    ConsistentHash::new(shares, ConsistentHash::VIRTUAL_NODES)
}

#[test]
fn a_fifth_member_takes_a_fifth_of_the_keys() {
    let (four, five) = (parents(4), parents(5));
    let before = choices(&ring(&four), &Members::healthy(4), 100_000);
    let after = choices(&ring(&five), &Members::healthy(5), 100_000);
    let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
    assert!((17_000..=23_000).contains(&moved), "{moved} of 100000 keys moved");
    let to_others = before.iter().zip(&after).filter(|(b, a)| b != a && **a != 4).count();
    assert_eq!(to_others, 0, "keys move to the new member only");
}

#[test]
fn a_member_that_goes_takes_only_its_own_keys_along() {
    let members = parents(5);
    let ring = ring(&members);
    let before = choices(&ring, &Members::healthy(5), 100_000);
    let after = choices(&ring, &Members::healthy(5).without(3), 100_000);
    for (before, after) in before.iter().zip(&after) {
        assert!(before == after || *before == 3);
    }
    // A ring made without it has the same order, whatever the order of the others in the file.
    let mut fewer: Vec<Share> = members.clone();
    fewer.remove(3);
    fewer.reverse();
    let alone = choices(
        &super::ConsistentHash::new(&fewer, ConsistentHash::VIRTUAL_NODES),
        &Members::healthy(4),
        100_000,
    );
    let names = |choice: usize, of: &[Share]| of[choice].name;
    for (after, alone) in after.iter().zip(&alone) {
        assert_eq!(names(*after, &members), names(*alone, &fewer));
    }
}

#[test]
fn keys_are_spread_by_weight_within_a_few_points() {
    let weighted = [share("http://a", 1), share("http://b", 3)];
    let picks = picks(&ring(&weighted), &Members::healthy(2), 100_000);
    assert!((22_000..=28_000).contains(&picks[0]), "{picks:?}");
}

#[test]
fn a_ring_is_bounded_and_everybody_has_a_point() {
    let many = shares(&[1000; 256]);
    let ring = ring(&many);
    assert_eq!(ring.choose(request(1), &Members::healthy(256)).map(|_| ()), Some(()));
    let last = (0..255).fold(Members::healthy(256), Members::without);
    assert_eq!(ring.choose(request(1), &last), Some(255));
}

#[test]
fn digests_are_the_same_in_every_process() {
    // Known values: a change of the digest would move every key of every node.
    assert_eq!(digest(b""), 0xd1fb_a762_150c_532c);
    assert_eq!(digest(b"http://example.com/"), digest(b"http://example.com/"));
    assert_ne!(digest(b"a"), digest(b"b"));
}

fn members() -> impl Strategy<Value = (Members, Vec<u32>)> {
    let member = (any::<bool>(), 0usize..50, 1u32..=100);
    prop::collection::vec(member, 0..20).prop_map(|members| {
        let out = members.iter().map(|member| member.0).collect();
        let running = members.iter().map(|member| member.1).collect();
        (Members { out, running, again: false }, members.iter().map(|member| member.2).collect())
    })
}

proptest! {
    #[test]
    fn only_who_is_eligible_is_chosen_and_somebody_is(
        (members, weights) in members(),
        hash: u64,
        client: u32,
    ) {
        let request = For { hash, client: Ipv4Addr::from(client).into() };
        for balance in every(&shares(&weights)) {
            for _ in 0..3 {
                match balance.choose(request, &members) {
                    Some(chosen) => prop_assert!(members.eligible(chosen)),
                    None => prop_assert!(members.out.iter().all(|out| *out)),
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn any_weights_are_met_within_one_percent(weights in prop::collection::vec(1u32..=100, 1..8)) {
        let balance = WeightedRoundRobin::new(&shares(&weights));
        let picks = picks(&balance, &Members::healthy(weights.len()), 100_000);
        prop_assert!(within_one_percent(&picks, &weights), "{picks:?}");
    }

    #[test]
    fn any_new_member_takes_keys_only_for_itself(names in prop::collection::hash_set("[a-z]{1,12}", 2..8)) {
        let all: Vec<Share> = names.iter().map(|name| share(name, 1)).collect();
        let count = all.len();
        let before = choices(&ring(&all[..count - 1]), &Members::healthy(count - 1), 5_000);
        let after = choices(&ring(&all), &Members::healthy(count), 5_000);
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after);
        let moved: Vec<usize> = moved.map(|(_, after)| *after).collect();
        prop_assert!(moved.iter().all(|to| *to == count - 1));
        let wanted = 5_000.0 / count as f64;
        prop_assert!((moved.len() as f64 - wanted).abs() < 5_000.0 * 0.06, "{} of {wanted}", moved.len());
    }
}
