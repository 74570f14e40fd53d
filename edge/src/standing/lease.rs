//! Whether the node's lease holds (invariant I5), as lookups ask it: one load and one comparison
//! with a time that they have at hand. What renews it is decided by [`weir_rules::lease`].

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use weir_config::{Control, OnPartition};
use weir_rules::time::Time;

/// Another thread may read the clock a little earlier than the one that renews, without control counting
/// as lost.
const SLACK: u64 = 60_000;

/// So far from any time that a clock shows that no lease reaches there.
const NEVER: u64 = 1 << 63;

/// As of when the node lacked nothing that control had accepted, and what follows if that is too
/// long ago, by the clock that nobody sets and that goes on while a machine is suspended.
#[derive(Debug)]
pub(crate) struct Lease {
    /// Milliseconds, less the slack.
    renewed: AtomicU64,
    /// The lease and the slack; none if control is built in, for the two end together.
    bound: u64,
    rule: OnPartition,
    /// Control does not expect this process: it has not let it in yet, or refuses it. Purges are
    /// completed without it then, so everything stored is validated, whatever the rule.
    outside: AtomicBool,
}

impl Lease {
    /// A lease that was not renewed yet: control elsewhere counts as lost, for nobody waits for this
    /// node before a purge is called completed.
    pub(crate) fn new(control: &Control) -> Self {
        let lease = u64::try_from(control.lease.as_millis()).unwrap_or(u64::MAX);
        let is_elsewhere = !control.url.is_empty();
        let bound = if is_elsewhere { lease.saturating_add(SLACK) } else { u64::MAX };
        // Control that is built in is there before the first request.
        let outside = AtomicBool::new(is_elsewhere);
        Self { renewed: AtomicU64::new(NEVER), bound, rule: control.on_partition, outside }
    }

    /// Control has let the node in. To be called once no lookup uses what control must not know of
    /// any more.
    pub(crate) fn admit(&self) {
        self.outside.store(false, Ordering::Release);
    }

    /// Control refuses the node.
    pub(crate) fn refuse(&self) {
        self.outside.store(true, Ordering::Release);
    }

    /// Renews the lease as of `at`. To be called after the entries that this is due to are
    /// published: a lookup that sees the lease renewed sees them too.
    pub(crate) fn renew(&self, at: Time) {
        self.renewed.store(at.as_millis().wrapping_sub(SLACK), Ordering::Release);
    }

    /// Whether control is lost: the lease is over.
    #[inline]
    pub(crate) fn is_lost(&self, now: Time) -> bool {
        now.as_millis().wrapping_sub(self.renewed.load(Ordering::Acquire)) > self.bound
    }

    /// Whether every stored response must be validated before it is sent.
    #[inline]
    pub(crate) fn validates(&self, now: Time) -> bool {
        self.outside.load(Ordering::Acquire)
            || (self.rule == OnPartition::Validate && self.is_lost(now))
    }

    /// Whether the node follows control elsewhere, which can be lost.
    pub(crate) fn is_finite(&self) -> bool {
        self.bound != u64::MAX
    }

    /// How long after it was renewed the lease is over, if all that is stored is validated then.
    pub(crate) fn validated_after(&self) -> Option<Duration> {
        self.length().filter(|_| self.rule == OnPartition::Validate)
    }

    /// How long after it was renewed the lease is over.
    pub(crate) fn length(&self) -> Option<Duration> {
        self.is_finite().then(|| Duration::from_millis(self.bound - SLACK))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use weir_config::Config;

    fn lease(control: &str) -> Lease {
        let text = format!("[control]\n{control}\n[[site]]\norigins = [\"http://a\"]");
        Lease::new(&Config::from_toml(&text).unwrap().control)
    }

    /// The same of a node that was let in, renewed.
    fn renewed(control: &str, now: Time) -> Lease {
        let lease = lease(control);
        lease.admit();
        lease.renew(now);
        lease
    }

    #[test]
    fn control_elsewhere_is_lost_until_the_lease_is_renewed() {
        for now in [Time::from_secs(0), Time::from_secs(1_800_000_000)] {
            let lease = lease("url = \"http://c\"\nlease = \"1h\"\non_partition = \"validate\"");
            assert!(lease.is_lost(now) && lease.validates(now));
            lease.renew(now);
            lease.admit();
            assert!(!lease.is_lost(now) && !lease.validates(now));
        }
    }

    #[test]
    fn a_node_that_control_has_not_let_in_validates_everything_whatever_the_rule() {
        let now = Time::from_secs(1_800_000_000);
        let lease = lease("url = \"http://c\"\non_partition = \"serve\"");
        assert!(lease.validates(now));
        lease.admit();
        lease.renew(now);
        assert!(!lease.validates(now) && !lease.validates(now.plus_millis(999_999)));
        lease.refuse();
        assert!(lease.validates(now) && !lease.is_lost(now), "at once, not after the lease");
        lease.admit();
        assert!(!lease.validates(now));
    }

    #[test]
    fn control_is_lost_when_the_lease_is_over() {
        let begin = Time::from_secs(1_800_000_000);
        let lease =
            renewed("url = \"http://c\"\nlease = \"2s\"\non_partition = \"validate\"", begin);
        assert!(!lease.is_lost(begin) && !lease.is_lost(begin.plus_millis(2000)));
        assert!(lease.is_lost(begin.plus_millis(2001)) && lease.validates(begin.plus_millis(2001)));
        lease.renew(begin.plus_millis(2001));
        assert!(!lease.is_lost(begin.plus_millis(4001)) && !lease.validates(begin));
        assert!(lease.is_lost(begin.plus_millis(4002)));
    }

    #[test]
    fn a_clock_that_is_set_back_far_makes_control_lost_until_the_lease_is_renewed() {
        let begin = Time::from_secs(1_800_000_000);
        let lease = renewed("url = \"http://c\"", begin);
        assert!(!lease.is_lost(begin.minus_millis(SLACK)), "a little is nothing");
        let back = begin.minus_millis(SLACK + 1);
        assert!(lease.is_lost(back));
        lease.renew(back);
        assert!(!lease.is_lost(back) && !lease.is_lost(back.plus_millis(15_000)));
        assert!(lease.is_lost(back.plus_millis(15_001)));
    }

    #[test]
    fn whether_stored_responses_are_validated_is_for_the_operator_to_say() {
        let later = Time::from_secs(1_900_000_000);
        let serving = lease("url = \"http://c\"");
        serving.admit();
        assert!(serving.is_lost(later) && !serving.validates(later));
        assert_eq!(serving.length(), Some(Duration::from_secs(15)));
        let built_in = lease("on_partition = \"validate\"");
        assert!(!built_in.is_lost(later) && !built_in.validates(later));
        assert_eq!(built_in.length(), None);
    }
}
