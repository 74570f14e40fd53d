#![allow(clippy::unwrap_used)]

use super::*;
use crate::error::UpstreamError;
use crate::upstream::Role;
use crate::upstream::member::{At, Ways};
use http::StatusCode;
use http::uri::Scheme;
use std::net::Ipv4Addr;
use std::time::Duration;
use weir_config::{Balance::RoundRobin as Turns, Ejection, Protocol};

const EJECTION: Ejection = Ejection {
    failures: 1,
    error_percent: 0,
    requests: 1,
    window: Duration::from_secs(10),
    eject: Duration::from_millis(10),
    eject_max: Duration::from_millis(10),
};

const REQUEST: For = For { hash: 1, client: std::net::IpAddr::V4(Ipv4Addr::LOCALHOST) };

fn address(authority: &str, distance: u8) -> Address {
    Address {
        role: Role::Origin,
        scheme: Scheme::HTTP,
        authority: authority.parse().unwrap(),
        weight: 1,
        distance,
        protocol: Protocol::H1,
        visitors_host: false,
        at: At::Authority,
        prefix: "".into(),
    }
}

fn pool(balance: weir_config::Balance, members: &[(&str, u8)], known: Option<&Pool>) -> Pool {
    let addresses = members.iter().map(|(authority, distance)| address(authority, *distance));
    let choosing = Choosing { balance, virtual_nodes: 64, ejection: EJECTION, connections: 1 };
    let members = addresses.map(|address| {
        let standing = known.and_then(|known| known.standing(&address));
        Arc::new(Member::new(address, Ways::default(), EJECTION, 1, standing).unwrap())
    });
    Pool::new(members.collect(), &choosing)
}

/// The number of a candidate in its pool.
fn index(pool: &Pool, candidate: &Candidate<'_>) -> usize {
    pool.members().iter().position(|member| Arc::ptr_eq(member, candidate.member)).unwrap()
}

/// Whom a request tries in which order, and why.
fn order(pool: &Pool, may_try: bool) -> Vec<(usize, Attempt)> {
    // Trials last until the request has ended.
    let candidates: Vec<_> = pool.candidates(REQUEST, may_try).collect();
    candidates.iter().map(|candidate| (index(pool, candidate), candidate.attempt)).collect()
}

fn fail(pool: &Pool, member: usize) {
    pool.members()[member].failed(Attempt::Ordinary, &UpstreamError::FirstByteTimeout);
    assert!(!pool.members()[member].counts().healthy);
}

fn until_due(pool: &Pool, member: usize) {
    let health = &pool.members()[member].standing.health;
    while health.availability(Instant::now) != Availability::Due {
        std::thread::yield_now();
    }
}

use Attempt::{LastResort, Ordinary, Trial};

#[test]
fn everybody_is_tried_once_healthy_ones_first() {
    let pool = pool(Turns, &[("a", 0), ("b", 0), ("c", 0)], None);
    fail(&pool, 1);
    let order = order(&pool, false);
    assert_eq!(order.len(), 3);
    assert_eq!(order[2], (1, LastResort));
    assert!(order[..2].iter().all(|(_, attempt)| *attempt == Ordinary));
}

#[test]
fn near_ones_come_before_those_farther_off() {
    for balance in [Turns, weir_config::Balance::ConsistentHash] {
        let pool = pool(balance, &[("far", 1), ("near", 0), ("near2", 0), ("far2", 1)], None);
        let near_first = order(&pool, false);
        assert!(near_first[..2].iter().all(|(member, _)| [1, 2].contains(member)));
        fail(&pool, 1);
        fail(&pool, 2);
        let far_first: Vec<usize> = order(&pool, false).iter().map(|(m, _)| *m).collect();
        assert!([0, 3].contains(&far_first[0]) && [0, 3].contains(&far_first[1]), "{far_first:?}");
    }
}

#[test]
fn of_a_member_that_is_due_one_request_at_a_time_makes_trial() {
    let pool = pool(Turns, &[("a", 0)], None);
    fail(&pool, 0);
    until_due(&pool, 0);
    assert_eq!(order(&pool, false), [(0, LastResort)], "what cannot be tried elsewhere makes none");
    let first = pool.candidates(REQUEST, true).next().unwrap();
    assert_eq!(first.attempt, Trial);
    assert_eq!(order(&pool, true), [(0, LastResort)]);
    drop(first);
    assert_eq!(order(&pool, true), [(0, Trial)]);
    pool.members()[0].answered(Trial, StatusCode::OK, Instant::now(), Duration::ZERO);
    assert_eq!(order(&pool, true), [(0, Ordinary)]);
}

#[test]
fn statuses_of_gateways_count_as_failures_and_others_do_not() {
    let pool = pool(Turns, &[("a", 0)], None);
    for status in [StatusCode::NOT_FOUND, StatusCode::INTERNAL_SERVER_ERROR] {
        pool.members()[0].answered(Ordinary, status, Instant::now(), Duration::ZERO);
        assert!(pool.members()[0].counts().healthy, "{status}");
    }
    pool.members()[0].answered(
        Ordinary,
        StatusCode::SERVICE_UNAVAILABLE,
        Instant::now(),
        Duration::ZERO,
    );
    assert!(!pool.members()[0].counts().healthy);
}

#[test]
fn what_is_known_of_a_member_outlives_its_pool() {
    let before = pool(Turns, &[("a", 0), ("b", 0)], None);
    fail(&before, 1);
    let after = pool(Turns, &[("b", 0), ("c", 0)], Some(&before));
    let counts: Vec<_> = after.members().iter().map(|member| member.counts()).collect();
    assert_eq!((counts[0].healthy, counts[0].errors), (false, 1));
    assert_eq!((counts[1].healthy, counts[1].errors), (true, 0));
}

#[tokio::test]
async fn a_member_works_on_no_more_than_it_has_places_for() {
    let pool = pool(Turns, &[("a", 0)], None);
    let member = &pool.members()[0];
    let wait = Duration::from_millis(1);
    let place = member.place(1, wait, None, 0, || (), || true).await.unwrap();
    assert_eq!(member.running(), 1);
    assert_eq!(
        member.place(0, wait, None, 0, || (), || true).await.unwrap_err(),
        UpstreamError::Busy
    );
    assert_eq!(
        member.place(1, wait, None, 0, || (), || true).await.unwrap_err(),
        UpstreamError::Busy
    );
    let waits = member.place(1, Duration::from_secs(20), None, 0, || (), || true);
    let (waits, ()) = tokio::join!(waits, async { drop(place) });
    assert_eq!(member.running(), 1);
    drop(waits);
    assert_eq!(member.running(), 0);
}
