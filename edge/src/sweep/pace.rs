//! How fast the housekeeper walks: a share of a processor in the long run, more in bursts.

use std::time::{Duration, Instant};

/// Work between two pauses.
pub(super) const SLICE: Duration = Duration::from_millis(1);

/// Time of a processor that may be saved up, so that a purge now and then is swept at once: about
/// what freeing a million responses takes.
const SAVED: Duration = Duration::from_secs(5);

/// From the end of one walk to the beginning of the next, in times of what the last one took: where
/// that served several purges they come in a stream, and are gathered; one that came alone has a
/// caller who waits, and is not made to wait for company.
const GATHER: (u32, u32) = (200, 4);

/// The longest that purges are gathered: walks over a thousand responses, at a microsecond each, then
/// take half a hundredth of a processor.
const GATHERED: Duration = Duration::from_millis(200);

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(1);

/// An account of processor time: it grows by the share, and work is paid from it.
#[derive(Debug)]
pub(super) struct Pace {
    /// Seconds.
    credit: f64,
    at: Instant,
}

impl Pace {
    /// One with all that may be saved up.
    pub(super) fn new(now: Instant) -> Self {
        Self { credit: SAVED.as_secs_f64(), at: now }
    }

    /// Pays for `work`, which ended now; returns how long to pause. `share` is processor time a
    /// second; what is urgent goes on at half a processor.
    pub(super) fn pause_after(
        &mut self,
        work: Duration,
        share: Duration,
        urgent: bool,
        now: Instant,
    ) -> Duration {
        let share = share.as_secs_f64().clamp(0.001, 1.0);
        let grown = now.saturating_duration_since(self.at).as_secs_f64() * share;
        self.at = now;
        self.credit = (self.credit + grown).min(SAVED.as_secs_f64()) - work.as_secs_f64();
        if urgent || self.credit > 0.0 {
            self.credit = self.credit.max(0.0);
            return work.min(LONGEST);
        }
        Duration::from_secs_f64(-self.credit / share).min(LONGEST)
    }
}

/// How long after a walk that took so long, and served so many purges, the next one may begin.
pub(super) fn gather(took: Duration, served: usize) -> Duration {
    let times = if served > 1 { GATHER.0 } else { GATHER.1 };
    (took * times).min(GATHERED)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks for `work` by the clock of its own; returns how long that took.
    fn walk(pace: &mut Pace, now: &mut Instant, work: Duration, urgent: bool) -> Duration {
        let (begin, share) = (*now, Duration::from_millis(20));
        for _ in 0..work.as_millis() / SLICE.as_millis() {
            *now += SLICE;
            *now += pace.pause_after(SLICE, share, urgent, *now);
        }
        now.duration_since(begin)
    }

    #[test]
    fn a_burst_is_followed_by_the_share() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        let most = Duration::from_millis(9_100);
        let first = walk(&mut pace, &mut now, Duration::from_millis(4_500), false);
        assert!(first < most, "{first:?}");
        // The rest of what was saved, then two hundredths.
        let then = walk(&mut pace, &mut now, Duration::from_millis(1_500), false);
        assert!(then > Duration::from_secs(35) && then < Duration::from_secs(52), "{then:?}");
        let urgent = walk(&mut pace, &mut now, Duration::from_secs(1), true);
        assert!(urgent < Duration::from_millis(2_100), "{urgent:?}");
        now += Duration::from_secs(250);
        let later = walk(&mut pace, &mut now, Duration::from_millis(4_500), false);
        assert!(later < most, "saved up again: {later:?}");
    }

    #[test]
    fn a_stream_of_purges_is_gathered_and_one_alone_is_counted_soon() {
        let walk = Duration::from_micros(200);
        assert_eq!(gather(walk, 1), Duration::from_micros(800));
        assert_eq!(gather(walk, 2), Duration::from_millis(40));
        let long = Duration::from_secs(1);
        assert_eq!((gather(long, 1), gather(long, 2)), (GATHERED, GATHERED));
    }
}
