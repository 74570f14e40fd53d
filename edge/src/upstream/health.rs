//! Whether a member of a pool is in health, by what its requests and its probes came to. Time is
//! handed in. One small mutex, held for a few comparisons; choosing reads one atomic.
//!
//! A member is healthy, ejected until some moment, or out because its probes failed. Once the
//! moment has passed one request goes first (half open): its success brings the member back, its
//! failure ejects it again for twice as long.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use weir_config::Ejection;

/// A member's health.
#[derive(Debug)]
pub(crate) struct Health {
    began: Instant,
    /// Milliseconds after `began`, from 1, until which the member is ejected; [`HEALTHY`] or [`OUT`].
    until: AtomicU64,
    /// A request is out to see whether the member is back.
    trial: AtomicBool,
    ejections: AtomicU64,
    record: Mutex<FailureRecord>,
    /// Has the lengths of ejections differ from member to member.
    salt: u64,
}

const HEALTHY: u64 = 0;
const OUT: u64 = u64::MAX;

/// Whether a member is to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Availability {
    /// As any.
    Healthy,
    /// Its ejection is over: one request may go first.
    Due,
    /// Only where nobody else is left.
    Ejected,
}

/// Under which of them a request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// To a healthy member.
    Ordinary,
    /// To see whether an ejected member is back.
    Trial,
    /// Because nobody was in health.
    LastResort,
}

/// What a request, or a part of it, came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// An answer came.
    Good,
    /// No answer, or one that says that the member cannot answer.
    Bad,
    /// The answer, counted as good when it began, broke off.
    BrokeOff,
}

/// What became of a member by what was noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is ejected for so long.
    Ejected(Duration),
    /// Its probes took it out.
    Out,
    /// It is asked again.
    Back,
}

#[derive(Debug, Default)]
struct FailureRecord {
    /// Failures without a success between them.
    in_a_row: u32,
    shares: Shares,
    /// Ejections in close succession.
    heels: u32,
    /// When it last came back, in milliseconds.
    back: u64,
    probes: Probes,
}

/// Requests and failures of about one window: of the half that runs and the one before.
#[derive(Debug, Default)]
struct Shares {
    half: u64,
    now: (u32, u32),
    before: (u32, u32),
}

#[derive(Debug, Default)]
struct Probes {
    good: u32,
    bad: u32,
}

impl Health {
    /// Healthy until seen otherwise.
    pub(crate) fn new(salt: u64, now: Instant) -> Self {
        Self {
            began: now,
            until: AtomicU64::new(HEALTHY),
            trial: AtomicBool::new(false),
            ejections: AtomicU64::new(0),
            record: Mutex::default(),
            salt,
        }
    }

    /// Whether it is to be asked. `now` is looked at only where it is not healthy.
    pub(crate) fn availability(&self, now: impl FnOnce() -> Instant) -> Availability {
        match self.until.load(Ordering::Relaxed) {
            HEALTHY => Availability::Healthy,
            OUT => Availability::Ejected,
            until if self.millis(now()) < until => Availability::Ejected,
            _ if self.trial.load(Ordering::Relaxed) => Availability::Ejected,
            _ => Availability::Due,
        }
    }

    /// Takes the one trial of a member that is due; `false` where another has it.
    pub(crate) fn begin_trial(&self) -> bool {
        !self.trial.swap(true, Ordering::Relaxed)
    }

    /// Gives the trial back.
    pub(crate) fn end_trial(&self) {
        self.trial.store(false, Ordering::Relaxed);
    }

    /// Whether it is healthy.
    pub(crate) fn is_healthy(&self) -> bool {
        self.until.load(Ordering::Relaxed) == HEALTHY
    }

    /// Whether its probes took it out.
    pub(crate) fn is_out(&self) -> bool {
        self.until.load(Ordering::Relaxed) == OUT
    }

    /// Times it was ejected, or taken out by its probes.
    pub(crate) fn ejections(&self) -> u64 {
        self.ejections.load(Ordering::Relaxed)
    }

    /// Notes what a request came to.
    pub(crate) fn note(
        &self,
        by: &Ejection,
        attempt: Attempt,
        verdict: Verdict,
        now: Instant,
    ) -> Option<Change> {
        let now = self.millis(now);
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.shares.note(by.window, now, verdict);
        record.in_a_row = match verdict {
            Verdict::Good => 0,
            Verdict::Bad | Verdict::BrokeOff => record.in_a_row.saturating_add(1),
        };
        match (self.until.load(Ordering::Relaxed), attempt, verdict) {
            (HEALTHY, _, Verdict::Bad | Verdict::BrokeOff) => {
                // Soon after the last: it came back no longer ago than failures are remembered.
                let row = by.failures > 0 && record.in_a_row >= by.failures;
                let on_heels = now.saturating_sub(record.back) <= millis(by.window);
                (row || record.shares.exceed(by))
                    .then(|| self.eject(by, &mut record, now, on_heels))
            }
            (HEALTHY, ..) => None,
            // Its probes took it out, and they bring it back.
            (OUT, ..) => None,
            (_, Attempt::Trial, Verdict::Bad) => Some(self.eject(by, &mut record, now, true)),
            (_, Attempt::Trial | Attempt::LastResort, Verdict::Good) => {
                Some(self.readmit(&mut record, now))
            }
            // Sent before the ejection, or one of many that nobody else could take.
            _ => None,
        }
    }

    /// Notes what a probe came to; so many good ones bring it back, so many bad ones take it out.
    pub(crate) fn note_probe(
        &self,
        good: bool,
        healthy: u32,
        unhealthy: u32,
        now: Instant,
    ) -> Option<Change> {
        let now = self.millis(now);
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let probes = &mut record.probes;
        *probes = match good {
            true => Probes { good: probes.good.saturating_add(1), bad: 0 },
            false => Probes { good: 0, bad: probes.bad.saturating_add(1) },
        };
        let (up, down) = (probes.good >= healthy, probes.bad >= unhealthy);
        match self.until.load(Ordering::Relaxed) {
            OUT => up.then(|| self.readmit(&mut record, now)),
            _ if down => {
                self.ejections.fetch_add(1, Ordering::Relaxed);
                self.until.store(OUT, Ordering::Relaxed);
                Some(Change::Out)
            }
            HEALTHY => None,
            // What ejected it were requests, so a request goes first, but need not wait longer.
            until => {
                if probes.good == healthy {
                    self.until.store(until.min(now), Ordering::Relaxed);
                }
                None
            }
        }
    }

    /// Brings a member back that its probes took out, when they end.
    pub(crate) fn forget_probes(&self, now: Instant) {
        let now = self.millis(now);
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.probes = Probes::default();
        if self.until.load(Ordering::Relaxed) == OUT {
            self.readmit(&mut record, now);
        }
    }

    fn eject(&self, by: &Ejection, record: &mut FailureRecord, now: u64, on_heels: bool) -> Change {
        record.heels = if on_heels { record.heels.saturating_add(1) } else { 1 };
        let ejections = self.ejections.fetch_add(1, Ordering::Relaxed);
        let doubled = millis(by.eject).saturating_mul(1 << (record.heels - 1).min(32));
        let length = jittered(doubled.min(millis(by.eject_max)), self.salt ^ ejections);
        self.until.store(now.saturating_add(length).clamp(1, OUT - 1), Ordering::Relaxed);
        Change::Ejected(Duration::from_millis(length))
    }

    fn readmit(&self, record: &mut FailureRecord, now: u64) -> Change {
        record.back = now;
        record.in_a_row = 0;
        record.shares = Shares::default();
        self.until.store(HEALTHY, Ordering::Relaxed);
        Change::Back
    }

    fn millis(&self, now: Instant) -> u64 {
        millis(now.saturating_duration_since(self.began)).saturating_add(1)
    }
}

impl Shares {
    fn note(&mut self, window: Duration, now: u64, verdict: Verdict) {
        let half = now / (millis(window) / 2).max(1);
        if half != self.half {
            self.before = if half == self.half + 1 { self.now } else { (0, 0) };
            self.now = (0, 0);
            self.half = half;
        }
        let (requests, failures) = &mut self.now;
        *requests = requests.saturating_add(u32::from(verdict != Verdict::BrokeOff));
        *failures = failures.saturating_add(u32::from(verdict != Verdict::Good));
    }

    fn exceed(&self, by: &Ejection) -> bool {
        let requests = u64::from(self.now.0) + u64::from(self.before.0);
        let failures = u64::from(self.now.1) + u64::from(self.before.1);
        by.error_percent > 0
            && requests >= u64::from(by.requests)
            && failures * 100 >= requests * u64::from(by.error_percent)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Up to a fifth less, so that members ejected together do not all come back at once.
fn jittered(length: u64, salt: u64) -> u64 {
    let part = super::balance::digest(&salt.to_le_bytes()) % 256;
    length - (length / 5).saturating_mul(part) / 256
}

#[cfg(test)]
mod tests;
