//! Holding what is on disk against the log, at a bounded pace, by a thread of its own. It reads the
//! footers of segments, never bodies. Lookups never depend on it; the index of purges does, which forgets
//! nothing that was not held against all that is on disk.

use super::DiskStore;
use crate::store::KeyText;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use weir_rules::invalidation::{Seq, Validity};
use weir_store::volume::{Judged, Verdict};

/// How often it is looked whether there is anything to do.
const TICK: Duration = Duration::from_secs(1);

/// From the end of one walk to the beginning of the next, in times of what the last one took, at least
/// a tick: a walk serves all purges since the one before.
const GATHER: u32 = 20;

/// The longest that purges are gathered.
const GATHERED: Duration = Duration::from_secs(60);

/// The part of the entries that control keeps beyond which a walk is urgent, if so many came since the
/// checked mark. Control keeps more for a disk that needs them, but within a bound.
const HURRY: u64 = 4;

/// A step that did nothing is tried again after this: the readers have other work.
const BUSY: Duration = Duration::from_millis(50);

/// The thread. Dropping it ends the thread.
pub(crate) struct DiskSweeper {
    _stop: watch::Sender<()>,
}

impl DiskSweeper {
    /// Starts the thread. `share` is the time of a processor that it may take each second.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(crate) fn start(
        disk: &Arc<DiskStore>,
        share: impl Fn() -> Duration + Send + 'static,
    ) -> std::io::Result<Self> {
        let (stop, mut stopped) = watch::channel(());
        let disk = Arc::clone(disk);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        std::thread::Builder::new().name("weir-disk-sweep".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = run(&disk, share) => {}
                    // An error says that the node has ended.
                    _ = stopped.changed() => {}
                }
            });
        })?;
        Ok(Self { _stop: stop })
    }
}

async fn run(disk: &Arc<DiskStore>, share: impl Fn() -> Duration) {
    let mut next = Instant::now();
    loop {
        tokio::time::sleep(TICK).await;
        disk.remove_noted().await;
        let mark = disk.purges.mark();
        let is_due = Instant::now() >= next || is_urgent(disk);
        if mark <= disk.checked.load(Ordering::Acquire) || !is_due || !disk.is_shown() {
            continue;
        }
        let begun = Instant::now();
        walk(disk, mark, &share).await;
        next = Instant::now() + (begun.elapsed() * GATHER).clamp(TICK, GATHERED);
    }
}

/// Whether the index of purges is crowded, or the log may soon reach back no further than the checked mark.
fn is_urgent(disk: &DiskStore) -> bool {
    let retention = disk.retention.load(Ordering::Relaxed);
    disk.purges.is_crowded() || disk.unchecked() > retention / HURRY
}

/// Holds everything on disk against the purges up to `mark`, which no running fetch began before.
async fn walk(disk: &Arc<DiskStore>, mark: Seq, share: impl Fn() -> Duration) {
    let purges = Arc::clone(&disk.purges);
    let judge: Arc<dyn Fn(&Judged<'_>) -> Verdict + Send + Sync> = Arc::new(move |judged| {
        let tags: Vec<&str> = judged.tags.iter().map(|tag| &**tag).collect();
        let subject = KeyText::of(judged.key).subject(judged.site, &tags, judged.stamps.filled_at);
        match purges.judge_since(&subject, judged.stamps.valid_at) {
            Validity::Valid => Verdict::Keep,
            Validity::Soft(seq) if judged.stamps.soft_at < seq => Verdict::Soften(seq),
            Validity::Soft(_) => Verdict::Keep,
            Validity::Hard(_) => {
                // A floor takes what no purge named.
                if let Some((seq, false)) = purges.last_match(&subject) {
                    purges.swept.note(judged.key, seq);
                }
                Verdict::Remove
            }
        }
    });
    let mut walk = disk.store.walk(mark);
    while !walk.is_over() {
        let begun = Instant::now();
        let pause = match disk.store.step(&mut walk, &judge).await {
            false => BUSY,
            true => pause_after(begun.elapsed(), share(), is_urgent(disk)),
        };
        tokio::time::sleep(pause).await;
    }
    if disk.lent.is_away() {
        // It did not see all of it.
        return;
    }
    disk.checked.fetch_max(mark, Ordering::AcqRel);
    // Removals first: they lie before the checkpoint, and one sync makes both durable.
    disk.keep().await;
    disk.purges.checked_below(mark);
}

/// The pause after a step that took so long: a share of a processor, or half of one for what is urgent.
fn pause_after(took: Duration, share: Duration, is_urgent: bool) -> Duration {
    let share = share.as_secs_f64().clamp(0.001, 1.0);
    match is_urgent {
        true => took,
        false => took.mul_f64((1.0 - share) / share).min(TICK),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_takes_its_share() {
        let took = Duration::from_millis(10);
        assert_eq!(pause_after(took, Duration::from_millis(500), false), took);
        assert_eq!(pause_after(took, Duration::from_millis(100), false), took * 9);
        assert_eq!(pause_after(took, Duration::from_millis(1), false), TICK);
        assert_eq!(pause_after(took, Duration::from_millis(1), true), took);
    }
}
