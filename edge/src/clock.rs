//! The node's two clocks. How long a response has been stored, and how long ago a lease was renewed, is
//! measured by a clock that nobody sets, and that goes on while the machine is suspended
//! (CLOCK_BOOTTIME). The system's clock is for dates in headers alone (RFC 9111 §4.2.3).

use rustix::time::{ClockId, clock_gettime};
use std::time::SystemTime;
use weir_rules::time::Time;

/// The clock that nobody sets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// What the system's clock said when this one was 0.
    began: u64,
}

impl Clock {
    /// Shows what the system's clock shows now, and goes on by itself.
    pub(crate) fn new() -> Self {
        Self { began: wall().as_millis().saturating_sub(boot_millis()) }
    }

    /// Now.
    #[inline]
    pub(crate) fn now(&self) -> Time {
        Time::from_millis(self.began + boot_millis())
    }
}

/// What the system's clock shows: for Date, and for what is held against a Date or an Expires.
pub(crate) fn wall() -> Time {
    Time::from(SystemTime::now())
}

#[inline]
fn boot_millis() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    // Neither is negative since the boot.
    time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_with_what_the_systems_clock_shows_and_only_goes_on() {
        let before = wall();
        let clock = Clock::new();
        let shown = clock.now();
        assert!(shown.as_millis() + 2 >= before.as_millis(), "{shown:?} {before:?}");
        assert!(shown.as_millis() <= wall().as_millis() + 2, "{shown:?}");
        assert!(clock.now() >= shown);
    }
}
