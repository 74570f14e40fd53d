//! The memory, descriptors and threads of processes over time, and whether they stay flat.

use crate::Error;
use crate::check::{Checks, mib};
use crate::program::memory;
use std::fs;
use std::time::Duration;

/// The most RSS at the end, of what it was once the process was warm, and beside that.
const RSS: (f64, u64) = (1.1, 8 << 20);
/// The most descriptors and threads at the end, beyond those once it was warm. Descriptors come and go
/// with clients and files of the spool, threads with what blocks.
const FILES: u64 = 32;
const THREADS: u64 = 4;
/// The windows that are compared, as parts of the whole.
const WARM: (f64, f64) = (0.3, 0.5);
const END: (f64, f64) = (0.8, 1.1);

/// What a process has.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Duration,
    rss: u64,
    files: u64,
    threads: u64,
}

/// Of some processes.
pub(super) struct Figures(Vec<(&'static str, u32, Vec<Sample>)>);

impl Figures {
    pub(super) fn of<const N: usize>(processes: [(&'static str, u32); N]) -> Self {
        Self(processes.into_iter().map(|(name, id)| (name, id, Vec::new())).collect())
    }

    /// Looks at all of them.
    pub(super) fn look(&mut self, at: Duration) -> Result<(), Error> {
        for (name, id, samples) in &mut self.0 {
            let gone = |error| format!("{name} is gone: {error}");
            let rss = memory(*id, "VmRSS").map_err(gone)?;
            let files = fs::read_dir(format!("/proc/{id}/fd"))?.count() as u64;
            let threads = fs::read_dir(format!("/proc/{id}/task"))?.count() as u64;
            samples.push(Sample { at, rss, files, threads });
        }
        Ok(())
    }

    /// Compares the end with the time once they were warm.
    pub(super) fn judge(&self, time: Duration, checks: &mut Checks) {
        for (name, _, samples) in &self.0 {
            let median = |(from, to), of: fn(&Sample) -> u64| {
                let within = time.mul_f64(from)..time.mul_f64(to);
                median(samples.iter().filter(|sample| within.contains(&sample.at)).map(of))
            };
            let (times, more) = RSS;
            let (warm, end) = (median(WARM, |sample| sample.rss), median(END, |sample| sample.rss));
            checks.check(
                &format!("soak, {name}: RSS"),
                is_flat(warm, end, times, more),
                format!("{}, at the end {}", mib(warm), mib(end)),
                format!("at the end at most {times} times as much and {}", mib(more)),
            );
            for (what, of, more) in [
                ("descriptors", (|sample| sample.files) as fn(&Sample) -> u64, FILES),
                ("threads", |sample| sample.threads, THREADS),
            ] {
                let (warm, end) = (median(WARM, of), median(END, of));
                checks.check(
                    &format!("soak, {name}: {what}"),
                    is_flat(warm, end, 1.0, more),
                    format!("{warm}, at the end {end}"),
                    format!("at the end at most {more} more"),
                );
            }
        }
    }
}

/// Whether there is at the end at most so many times what there was, and `more`. Nothing was there if
/// nothing was looked at.
fn is_flat(warm: u64, end: u64, times: f64, more: u64) -> bool {
    warm > 0 && end > 0 && end as f64 <= warm as f64 * times + more as f64
}

/// The middle one, 0 of none.
fn median(values: impl Iterator<Item = u64>) -> u64 {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_is_not_flat() {
        assert_eq!(median([9, 1, 5].into_iter()), 5);
        assert_eq!(median([].into_iter()), 0);
        assert!(is_flat(100, 114, 1.1, 4) && !is_flat(100, 115, 1.1, 4));
        assert!(!is_flat(0, 0, 1.0, 4), "nothing was measured");
    }
}
