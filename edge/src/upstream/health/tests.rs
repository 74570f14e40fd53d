#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

const BY: Ejection = Ejection {
    failures: 3,
    error_percent: 50,
    requests: 20,
    window: Duration::from_secs(10),
    eject: Duration::from_secs(1),
    eject_max: Duration::from_secs(60),
};

/// A member and a clock.
struct Member {
    health: Health,
    now: Instant,
}

impl Member {
    fn new() -> Self {
        let now = Instant::now();
        Self { health: Health::new(7, now), now }
    }

    fn pass(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }

    fn note(&self, attempt: Attempt, verdict: Verdict) -> Option<Change> {
        self.health.note(&BY, attempt, verdict, self.now)
    }

    fn ordinary(&self, verdicts: &[Verdict]) -> Option<Change> {
        verdicts.iter().map(|verdict| self.note(Attempt::Ordinary, *verdict)).last().flatten()
    }

    fn availability(&self) -> Availability {
        self.health.availability(|| self.now)
    }

    /// Fails until it is ejected, and says for how long.
    fn ejected(&self) -> Duration {
        let Some(Change::Ejected(length)) = self.ordinary(&[Bad; 3]) else { panic!("not ejected") };
        length
    }

    /// The trial of a member that is due.
    fn trial(&self, verdict: Verdict) -> Option<Change> {
        assert_eq!(self.availability(), Availability::Due);
        assert!(self.health.begin_trial());
        assert_eq!(self.availability(), Availability::Ejected, "one request goes first");
        assert!(!self.health.begin_trial());
        let change = self.note(Attempt::Trial, verdict);
        self.health.end_trial();
        change
    }

    fn probes(&self, probes: &[bool]) -> Option<Change> {
        probes.iter().map(|good| self.health.note_probe(*good, 2, 3, self.now)).last().flatten()
    }
}

use Verdict::{Bad, BrokeOff, Good};

/// Whether a length is `wanted`, or up to a fifth shorter.
fn about(length: Duration, wanted: Duration) -> bool {
    length <= wanted && length >= wanted * 4 / 5
}

#[test]
fn failures_in_a_row_eject() {
    let member = Member::new();
    assert_eq!(member.ordinary(&[Bad, Bad, Good, Bad, Bad]), None);
    assert_eq!(member.availability(), Availability::Healthy);
    assert!(matches!(member.ordinary(&[Bad]), Some(Change::Ejected(_))));
    assert_eq!(member.availability(), Availability::Ejected);
    assert_eq!(member.health.ejections(), 1);
    assert_eq!(member.ordinary(&[Bad; 10]), None, "sent before: an ejection is not made longer");
}

#[test]
fn one_request_goes_first_and_brings_it_back() {
    let mut member = Member::new();
    let length = member.ejected();
    assert!(about(length, BY.eject), "{length:?}");
    member.pass(1000);
    assert_eq!(member.trial(Good), Some(Change::Back));
    assert_eq!(member.availability(), Availability::Healthy);
}

#[test]
fn each_ejection_on_the_heels_of_another_is_twice_as_long_up_to_a_bound() {
    let mut member = Member::new();
    let mut length = member.ejected();
    for wanted in [2, 4, 8, 16, 32, 60, 60, 60] {
        member.pass(u64::try_from(length.as_millis()).unwrap());
        let Some(Change::Ejected(next)) = member.trial(Bad) else { panic!("not ejected") };
        assert!(about(next, Duration::from_secs(wanted)), "{next:?}, not {wanted} s");
        length = next;
    }
    member.pass(60_000);
    member.trial(Good);
    member.pass(20_000);
    let length = member.ejected();
    assert!(about(length, BY.eject), "well for two windows: {length:?}");
}

#[test]
fn a_trial_that_came_to_nothing_lets_another_go_first() {
    let mut member = Member::new();
    member.ejected();
    member.pass(1000);
    assert!(member.health.begin_trial());
    member.health.end_trial();
    assert_eq!(member.trial(Good), Some(Change::Back));
}

#[test]
fn a_share_of_failures_ejects_once_there_are_enough_requests() {
    let member = Member::new();
    assert_eq!(member.ordinary(&[[Good, Bad]; 9].concat()), None, "18 requests are too few");
    assert!(matches!(member.ordinary(&[Good, Bad]), Some(Change::Ejected(_))));
}

#[test]
fn failures_of_long_ago_are_forgotten() {
    let mut member = Member::new();
    member.ordinary(&[[Good, Bad]; 9].concat());
    member.pass(20_000);
    assert_eq!(member.ordinary(&[Good, Bad]), None);
    assert_eq!(member.ordinary(&[Good; 30]), None);
    assert_eq!(member.ordinary(&[[Good, Bad]; 10].concat()), None, "10 of 51");
}

#[test]
fn answers_that_break_off_count_once() {
    let member = Member::new();
    let broken = [[Good, BrokeOff]; 19].concat();
    assert_eq!(member.ordinary(&broken), None, "19 requests are too few");
    assert!(matches!(member.ordinary(&[Good, BrokeOff]), Some(Change::Ejected(_))));
}

#[test]
fn with_nobody_else_a_success_brings_it_back_at_once() {
    let member = Member::new();
    member.ejected();
    assert_eq!(member.note(Attempt::LastResort, Bad), None);
    assert_eq!(member.note(Attempt::Ordinary, Good), None, "sent before the ejection");
    assert_eq!(member.availability(), Availability::Ejected);
    assert_eq!(member.note(Attempt::LastResort, Good), Some(Change::Back));
}

#[test]
fn probes_take_out_and_bring_back() {
    let mut member = Member::new();
    assert_eq!(member.probes(&[false, false, true, false, false]), None);
    assert_eq!(member.probes(&[false]), Some(Change::Out));
    member.pass(3_600_000);
    assert_eq!(member.availability(), Availability::Ejected);
    assert_eq!(member.note(Attempt::LastResort, Good), None, "its probes decide");
    assert_eq!(member.probes(&[true, false, true]), None);
    assert_eq!(member.probes(&[true]), Some(Change::Back));
}

#[test]
fn good_probes_shorten_an_ejection_to_a_trial() {
    let member = Member::new();
    member.ejected();
    assert_eq!(member.probes(&[true]), None);
    assert_eq!(member.availability(), Availability::Ejected);
    member.probes(&[true]);
    assert_eq!(member.trial(Good), Some(Change::Back));
}

#[test]
fn without_probes_nobody_stays_out() {
    let member = Member::new();
    member.probes(&[false; 3]);
    member.health.forget_probes(member.now);
    assert_eq!(member.availability(), Availability::Healthy);
}

#[test]
fn what_is_set_to_zero_never_ejects() {
    let member = Member::new();
    let by = Ejection { failures: 0, error_percent: 0, ..BY };
    for _ in 0..1000 {
        assert_eq!(member.health.note(&by, Attempt::Ordinary, Bad, member.now), None);
    }
}

proptest! {
    #[test]
    fn an_ejection_always_ends(
        steps in prop::collection::vec((0u8..6, 0u64..5_000), 0..200),
    ) {
        let mut member = Member::new();
        for (step, millis) in steps {
            member.pass(millis);
            match step {
                0 | 1 => drop(member.ordinary(&[Bad])),
                2 => drop(member.ordinary(&[Good])),
                3 => drop(member.ordinary(&[BrokeOff])),
                4 => drop(member.note(Attempt::LastResort, Bad)),
                _ if member.availability() == Availability::Due => drop(member.trial(Bad)),
                _ => {}
            }
        }
        member.pass(60_000);
        prop_assert_ne!(member.availability(), Availability::Ejected);
    }
}
