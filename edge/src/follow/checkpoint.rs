//! What a store that outlives the process keeps of the log, so that nothing stale is shown after a
//! restart (invariant I4).
//!
//! Two orders make it hold. Before a response is kept with a stamp, a checkpoint at least as late
//! as that stamp is: else a log that went back unseen could have purges below it. And a checkpoint
//! with a higher checked mark is kept only when a walk over everything kept, begun when that seq
//! was applied and no older fetch was running, has removed what is invalid, and the removals are
//! kept. ([`crate::disk`] keeps both; here a store of the tests stands for it.)
//!
//! After the restart the node begins at the checkpoint, and nothing kept is shown until the log
//! was replayed up to its head. Where control cannot replay it, the floor takes everything kept.

use weir_rules::invalidation::Seq;
use weir_rules::log::{Position, Standing};

/// A node's place in the log, as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// The log, what of it was applied, and up to where everything kept was held against it.
    pub(super) standing: Standing,
    /// The node's own number of the log's seq 0: what was kept under a lower one is of another log.
    pub(super) base: Seq,
}

impl Checkpoint {
    /// A place, where everything kept was held against the log up to the own number `checked`.
    pub(super) fn of(place: &Position, checked: Seq) -> Self {
        let mut standing = place.standing().clone();
        let checked = place.in_log(checked).unwrap_or(0).min(place.at());
        standing.checked = (checked < standing.applied).then_some(checked);
        Self { standing, base: place.base() }
    }

    /// The place to begin at.
    pub(super) fn position(&self) -> Position {
        Position::restored(self.standing.clone(), self.base)
    }
}

#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::Following;
    use super::super::tests::{entry, is_hard, node, welcomed};
    use super::*;
    use crate::state::NodeState;
    use std::sync::Arc;

    /// A store that outlives the process: responses by tag and stamp, and the checkpoint.
    #[derive(Clone, Debug, Default)]
    struct Disk {
        checkpoint: Checkpoint,
        kept: Vec<(&'static str, Seq)>,
    }

    /// A process that has its store on a disk.
    struct Process {
        state: Arc<NodeState>,
        following: Arc<Following>,
        disk: Disk,
        /// How much of what is kept was there before the process.
        survived: usize,
    }

    impl Process {
        fn start(disk: Disk) -> Self {
            let (state, following) = node(&disk.checkpoint);
            let survived = disk.kept.len();
            Self { state, following, disk, survived }
        }

        fn restart(self) -> Self {
            Self::start(self.disk)
        }

        /// Fetches and keeps a response: the checkpoint first.
        fn fetch(&mut self, tag: &'static str) {
            let stamp = self.state.purges.stamp();
            let checked = self.checked();
            self.disk.checkpoint = Checkpoint::of(&self.state.purges.position(), checked);
            self.disk.kept.push((tag, stamp.seq()));
        }

        /// Whether what survived may be seen.
        fn is_whole(&self) -> bool {
            let purges = &self.state.purges;
            purges.position().caught_up(purges.applied())
        }

        /// Holds everything against the log; what is invalid is removed before that is noted.
        fn check(&mut self) {
            assert!(self.is_whole());
            let checked = self.state.purges.mark();
            self.disk.kept.retain(|(tag, stamp)| !is_hard(&self.state, tag, *stamp));
            self.disk.checkpoint = Checkpoint::of(&self.state.purges.position(), checked);
            self.survived = 0;
        }

        /// The own number up to which everything kept was held against the log.
        fn checked(&self) -> Seq {
            let Checkpoint { standing, base } = &self.disk.checkpoint;
            base + standing.checked.unwrap_or(standing.applied)
        }

        /// The tags that requests are answered with.
        fn visible(&self) -> Vec<&'static str> {
            let whole = self.is_whole();
            let hidden = if whole { 0 } else { self.survived };
            let shown = self.disk.kept.iter().skip(hidden);
            shown.filter(|(tag, at)| !is_hard(&self.state, tag, *at)).map(|(tag, _)| *tag).collect()
        }

        fn welcome(&self, log: &str, after: Seq, head: Seq, keep: bool) -> Seq {
            self.following.applier().welcome(&welcomed(log, after, head, keep)).unwrap()
        }

        fn take(&self, log: &str, seq: Seq, tag: &str) -> Seq {
            self.following.applier().take(entry(log, seq, tag)).unwrap()
        }

        fn standing(&self) -> Standing {
            self.state.purges.position().standing().clone()
        }
    }

    /// A process that applied three purges, was checked after the first, and kept `a`, `b`, `c`
    /// before the second; the third took `c`. It restarts.
    fn restarted() -> Process {
        let mut process = Process::start(Disk::default());
        process.welcome("l", 0, 1, false);
        process.take("l", 1, "z");
        process.check();
        ["a", "b", "c"].into_iter().for_each(|tag| process.fetch(tag));
        process.take("l", 2, "y");
        process.take("l", 3, "c");
        process.fetch("d");
        assert_eq!(process.visible(), ["a", "b", "d"]);
        let process = process.restart();
        let standing = process.standing();
        assert_eq!((standing.applied, standing.checked), (3, Some(1)));
        assert!(process.visible().is_empty(), "nothing was held against the log yet");
        process
    }

    #[test]
    fn nothing_kept_is_shown_until_the_log_was_replayed_from_the_checked_mark() {
        let process = restarted();
        assert_eq!(process.welcome("l", 1, 4, true), 1);
        assert!(process.visible().is_empty());
        assert_eq!(process.take("l", 2, "y"), 2);
        assert!(process.visible().is_empty(), "the purge of c is still missing");
        assert_eq!(process.take("l", 3, "c"), 3);
        assert!(process.visible().is_empty(), "the purge of d was completed without the node");
        process.take("l", 4, "d");
        assert_eq!(process.visible(), ["a", "b"]);
    }

    #[test]
    fn a_replay_that_breaks_off_goes_on_after_another_restart() {
        let mut process = restarted();
        process.welcome("l", 1, 3, true);
        process.take("l", 2, "y");
        // Shown while the rest is not: its fetch began after everything that is missing.
        process.fetch("e");
        assert_eq!(process.visible(), ["e"]);
        let process = process.restart();
        assert_eq!(process.standing().checked, Some(1));
        process.welcome("l", 1, 3, true);
        process.take("l", 2, "y");
        process.take("l", 3, "c");
        assert_eq!(process.visible(), ["a", "b", "d", "e"]);
    }

    #[test]
    fn where_the_log_cannot_be_replayed_nothing_kept_is_ever_shown() {
        // Forgotten beyond the checked mark; another log; one whose head is below what was
        // applied, which control finds out and renames. Each has seqs that were in use before.
        for (log, after, head) in [("l", 2, 3), ("other", 0, 3), ("renamed", 1, 1)] {
            let mut process = restarted();
            process.welcome(log, after, head, false);
            for seq in after + 1..=head {
                process.take(log, seq, "none");
            }
            assert!(process.visible().is_empty(), "{log}");
            process.fetch("new");
            assert_eq!(process.visible(), ["new"], "{log}");
            // Nor after one more restart, though nothing was removed yet.
            let process = process.restart();
            let from = process.standing().checked.unwrap_or(head);
            process.welcome(log, from, head, true);
            for seq in from + 1..=head {
                process.take(log, seq, "none");
            }
            assert_eq!(process.visible(), ["new"], "{log}");
        }
    }
}
