//! Until when a process of control is the writer for sure, where several share one log.
//!
//! The writer holds a lease at the store of the log, and keeps it alive. The store takes the lease away
//! at the earliest its length after it heard the writer last, which was not before the writer asked. So
//! up to then no other process can be the writer, whatever was delayed on the way. Both clocks count
//! time in which the process or its machine was suspended; [`MARGIN`] is for clocks that run apart.
//!
//! What only the writer may say (a welcome, the head in a heartbeat, an answer about the log) it says
//! while that is sure. What it appends is judged by the store itself, which compares the lease.

use crate::time::Time;
use std::time::Duration;

/// The share of a lease by which two clocks may run apart: a tenth.
const MARGIN: u32 = 10;

/// What a writer knows of its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Term {
    sure_until: Time,
    length: Duration,
}

impl Term {
    /// The store gave a lease of this length to who asked for it at `asked`.
    pub fn begin(asked: Time, length: Duration) -> Self {
        Self { sure_until: until(asked, length), length }
    }

    /// The store kept the lease for another `length`, and said after that who is the writer: this
    /// process, which asked at `asked`.
    pub fn confirm(&mut self, asked: Time, length: Duration) {
        self.sure_until = self.sure_until.max(until(asked, length));
        self.length = length;
    }

    /// No other process is the writer.
    pub fn is_sure(&self, now: Time) -> bool {
        now < self.sure_until
    }

    /// It was not sure for as long as the lease takes: the process gives up being the writer, so that
    /// nodes that are connected to it go where the writer is.
    pub fn is_lost(&self, now: Time) -> bool {
        now >= later(self.sure_until, self.length)
    }
}

fn until(asked: Time, length: Duration) -> Time {
    later(asked, length - length / MARGIN)
}

fn later(time: Time, by: Duration) -> Time {
    time.plus_millis(u64::try_from(by.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(2);

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn it_is_sure_as_of_when_it_was_asked_for() {
        let mut term = Term::begin(at(1000), LEASE);
        assert!(term.is_sure(at(2799)));
        assert!(!term.is_sure(at(2800)));
        term.confirm(at(1500), LEASE);
        assert!(term.is_sure(at(3299)));
        assert!(!term.is_sure(at(3300)));
    }

    #[test]
    fn an_answer_that_comes_late_takes_nothing_back() {
        let mut term = Term::begin(at(1000), LEASE);
        term.confirm(at(2000), LEASE);
        term.confirm(at(1500), LEASE);
        assert!(term.is_sure(at(3799)));
    }

    #[test]
    fn it_is_lost_a_lease_after_it_was_sure() {
        let term = Term::begin(at(1000), LEASE);
        assert!(!term.is_lost(at(4799)));
        assert!(term.is_lost(at(4800)));
    }
}
