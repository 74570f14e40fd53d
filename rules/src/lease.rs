//! What renews a node's lease (invariant I5): that it has every entry that the log had when control
//! last spoke, not that control spoke.
//!
//! Each welcome and each heartbeat names the log's head as it was when the frame was sent, and how
//! much control had heard of the node by then. A node that has applied all entries up to that head
//! lacked none then, so its lease is renewed as of when it said the last line that control had heard
//! ([`Spoken`]), not of the frame's receipt: a frame may have been on its way for any time. So a lease
//! that control has not heard the node for is over at the node too ([`is_surely_over`]), whatever
//! the network delivers late. (A control of an older version does not say what it has heard, and
//! relies on none of this: then the frame's receipt counts.) Entries that came to the log later do not matter: a node under a steady stream
//! of purges renews too. No other frame renews the lease. An entry, a question or an answer shows
//! that control is there, but not that nothing is missing.

use crate::invalidation::Seq;
use crate::time::Time;
use std::collections::VecDeque;
use std::time::Duration;

/// Most heads that wait for their entries. Control names one about once a second, and at least five a
/// lease, so a node this far behind has lost its lease unless that is longer than a minute.
const MOST_NAMED: usize = 64;

/// The heads that control named on one connection, and how far the node has come. Seqs are the
/// log's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Renewals {
    applied: Seq,
    /// Heads above `applied`, each with its time of receipt, in the order in which they came.
    named: VecDeque<(Seq, Time)>,
}

impl Renewals {
    /// A connection begins on which entries follow after `applied`. What an earlier connection
    /// named is void: it may have been of another log.
    pub fn begin(applied: Seq) -> Self {
        Self { applied, named: VecDeque::new() }
    }

    /// Control named `head` in a frame that was received at `at`. Returns the time as of which the
    /// lease is renewed; `None` while entries up to `head` are missing.
    pub fn named(&mut self, head: Seq, at: Time) -> Option<Time> {
        if head <= self.applied {
            return Some(at);
        }
        // Of two frames that name one head the later proves more. If there is no room, the last one
        // gives way: the next that will be reached stays.
        let is_full = self.named.len() == MOST_NAMED;
        match self.named.back_mut() {
            Some(last) if is_full || last.0 == head => *last = (head, at),
            _ => self.named.push_back((head, at)),
        }
        None
    }

    /// Everything up to `seq` is applied. Returns the time as of which the lease is renewed, if a
    /// head was reached.
    pub fn applied(&mut self, seq: Seq) -> Option<Time> {
        self.applied = self.applied.max(seq);
        let mut renewed = None;
        while let Some((_, at)) = self.named.pop_front_if(|(head, _)| *head <= self.applied) {
            renewed = Some(at);
        }
        renewed
    }
}

/// Most lines of a node that control has yet to say it heard, for which the node remembers when it
/// said them.
const MOST_SAID: usize = 64;

/// When a node said, on one connection, what control may have heard: first its hello, then an
/// `alive` in answer to each heartbeat.
#[derive(Clone, Debug)]
pub struct Spoken {
    /// Lines after the hello.
    count: u64,
    /// The lines that control was last known to have heard, and later ones, each with its time.
    times: VecDeque<(u64, Time)>,
}

impl Spoken {
    /// The node says hello at `at`.
    pub fn hello(at: Time) -> Self {
        Self { count: 0, times: VecDeque::from([(0, at)]) }
    }

    /// The node is about to say the next `alive`, at `at`.
    pub fn alive(&mut self, at: Time) {
        self.count += 1;
        // Without room the line before stands in for it, which is earlier, so the lease is shorter.
        if self.times.len() < MOST_SAID {
            self.times.push_back((self.count, at));
        }
    }

    /// Control has heard the hello and so many lines after it: when the last of them was said.
    /// `None` if the node has not said so many.
    pub fn heard(&mut self, count: u64) -> Option<Time> {
        if count > self.count {
            return None;
        }
        while self.times.get(1).is_some_and(|(number, _)| *number <= count) {
            self.times.pop_front();
        }
        self.times.front().map(|(_, at)| *at)
    }
}

/// By how much the clocks of two machines may differ while a lease passes: an eighth, and what one
/// thread may lie behind another.
const LEEWAY: Duration = Duration::from_secs(1);

/// Whether the lease of a node is over by the node's own clock too, if control has not heard the
/// node for `silence`. What control last heard was said before it was heard, and no lease is
/// renewed as of a later time. `lease` is the node's own.
///
/// Both clocks must count while their machines are suspended, or control's must not run faster than
/// the node's: a node whose clock stands still (a machine that is paused from outside) is not
/// covered.
pub fn is_surely_over(lease: Duration, silence: Duration) -> bool {
    silence > surely_over_after(lease)
}

/// The longest silence that [`is_surely_over`] still takes for a lease that may not be over.
pub fn surely_over_after(lease: Duration) -> Duration {
    lease.saturating_add(lease / 8).saturating_add(LEEWAY)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_lease_counts_from_what_control_had_heard() {
        let mut said = Spoken::hello(at(10));
        assert_eq!(said.heard(0), Some(at(10)));
        said.alive(at(11));
        said.alive(at(12));
        assert_eq!(said.heard(0), Some(at(10)), "control had not heard them yet");
        assert_eq!(said.heard(2), Some(at(12)));
        assert_eq!(said.heard(1), Some(at(12)), "what was heard once was heard");
        assert_eq!(said.heard(3), None, "it did not say so much");
    }

    #[test]
    fn what_was_said_without_room_counts_as_said_earlier() {
        let mut said = Spoken::hello(at(0));
        for beat in 1..=1000 {
            said.alive(at(beat));
        }
        assert_eq!(said.times.len(), MOST_SAID);
        assert_eq!(said.heard(1000), Some(at(MOST_SAID as u64 - 1)));
        said.alive(at(1001));
        assert_eq!(said.heard(1001), Some(at(1001)));
    }

    #[test]
    fn a_lease_is_surely_over_some_time_after_it_is_over() {
        let lease = Duration::from_secs(16);
        assert!(!is_surely_over(lease, Duration::from_secs(19)));
        assert!(is_surely_over(lease, Duration::from_millis(19_001)));
        assert!(!is_surely_over(Duration::MAX, Duration::MAX));
    }

    fn at(secs: u64) -> Time {
        Time::from_secs(secs)
    }

    #[test]
    fn a_welcome_before_its_backlog_renews_nothing_until_the_backlog_is_applied() {
        let mut renewals = Renewals::begin(3);
        assert_eq!(renewals.named(5, at(10)), None);
        assert_eq!(renewals.applied(4), None);
        assert_eq!(renewals.applied(5), Some(at(10)), "as of its receipt");
        assert_eq!(renewals.applied(6), None, "an entry proves nothing more");
        assert_eq!(renewals.named(6, at(12)), Some(at(12)));
    }

    #[test]
    fn a_stream_that_never_ends_does_not_keep_the_lease_from_being_renewed() {
        let mut renewals = Renewals::begin(0);
        for beat in 1..=1000 {
            // Each heartbeat names ten entries that are still on their way.
            assert_eq!(renewals.named(beat * 10, at(beat)), None);
            let due = (beat > 1).then(|| at(beat - 1));
            assert_eq!(renewals.applied((beat - 1) * 10), due);
        }
    }

    #[test]
    fn a_slow_node_renews_as_of_when_it_was_told_not_of_when_it_got_there() {
        let mut renewals = Renewals::begin(0);
        renewals.named(10, at(1));
        renewals.named(10, at(2));
        renewals.named(20, at(3));
        assert_eq!(renewals.applied(10), Some(at(2)));
        assert_eq!(renewals.applied(25), Some(at(3)));
    }

    #[test]
    fn heads_that_wait_are_bounded_and_the_oldest_is_reached_first() {
        let mut renewals = Renewals::begin(0);
        for beat in 1..=1000 {
            renewals.named(beat, at(beat));
        }
        assert_eq!(renewals.named.len(), MOST_NAMED);
        assert_eq!(renewals.applied(1), Some(at(1)));
        assert_eq!(renewals.applied(999), Some(at(MOST_NAMED as u64 - 1)));
        assert_eq!(renewals.applied(1000), Some(at(1000)));
    }

    proptest! {
        /// Whatever comes in whatever order: a renewal is as of a frame whose head is applied, of
        /// the latest such frame where the bound is not reached, and never of anything else.
        #[test]
        fn the_lease_is_renewed_as_of_the_last_frame_whose_head_is_applied(
            steps in prop::collection::vec((any::<bool>(), 0..4_u64), 0..MOST_NAMED)
        ) {
            let (mut renewals, mut head, mut applied) = (Renewals::begin(0), 0, 0);
            let (mut frames, mut renewed) = (vec![(0, at(0))], at(0));
            for (now, (is_frame, step)) in (1..).zip(steps) {
                let renewal = if is_frame {
                    head += step;
                    frames.push((head, at(now)));
                    renewals.named(head, at(now))
                } else {
                    applied = head.min(applied + step);
                    renewals.applied(applied)
                };
                renewed = renewal.unwrap_or(renewed);
                let reached = frames.iter().filter(|(head, _)| *head <= applied);
                prop_assert_eq!(Some(renewed), reached.map(|(_, at)| *at).max());
            }
        }
    }
}
