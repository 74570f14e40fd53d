//! A bounded number of bytes that many bodies take from, and of which a client gets a share
//! ([`weir_rules::client_share`]).

use crate::shares::{Held, Shares};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use weir_rules::client_share::{self, Prefix};

/// See the module.
#[derive(Debug)]
pub(crate) struct ByteBudget {
    used: AtomicU64,
    bound: u64,
    shares: Arc<Shares>,
    /// The budget that all its bytes are taken from, too.
    within: Option<Arc<ByteBudget>>,
    /// Who has its bytes while nobody takes them.
    lender: Option<Arc<dyn Lender>>,
}

/// Who uses the bytes of a budget while nobody takes them.
pub(crate) trait Lender: fmt::Debug + Send + Sync {
    /// Lends so many bytes more. On return they are free.
    fn take(&self, bytes: u64);

    /// So many bytes are not used any more.
    fn give_back(&self, bytes: u64);
}

/// What one body has of a budget; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Portion {
    budget: Arc<ByteBudget>,
    bytes: u64,
    /// Whose body it is; `None` if that has no bound.
    client: Option<Prefix>,
    /// The same bytes, as those of that client.
    held: Option<Held>,
}

/// Why a body gets no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// The budget is spent.
    Budget,
    /// Its client has too large a share of it.
    ClientShare,
}

impl ByteBudget {
    /// A budget of so many bytes, none of them taken.
    pub(crate) fn new(bound: u64) -> Self {
        let shares = Arc::default();
        Self { used: AtomicU64::new(0), bound, shares, within: None, lender: None }
    }

    /// The same of bytes that another one uses until they are taken.
    pub(crate) fn lent(lender: Arc<dyn Lender>, bound: u64) -> Self {
        Self { lender: Some(lender), ..Self::new(bound) }
    }

    /// The same, as a part of another budget: what is taken here is taken there, too.
    pub(crate) fn within(whole: &Arc<ByteBudget>, bound: u64) -> Self {
        Self { within: Some(Arc::clone(whole)), ..Self::new(bound) }
    }

    /// Takes `bytes`; `false`, and nothing taken, where that would pass the bound.
    fn take(&self, bytes: u64) -> bool {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= self.bound;
        if fits && self.within.as_ref().is_none_or(|whole| whole.take(bytes)) {
            if let Some(lender) = &self.lender {
                lender.take(bytes);
            }
            return true;
        }
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        false
    }

    /// Takes `bytes` whatever the bound.
    fn take_anyway(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        if let Some(whole) = &self.within {
            whole.take_anyway(bytes);
        }
        if let Some(lender) = &self.lender {
            lender.take(bytes);
        }
    }

    /// Gives back what was taken.
    fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(whole) = &self.within {
            whole.give_back(bytes);
        }
        if let Some(lender) = &self.lender {
            lender.give_back(bytes);
        }
    }

    /// The budget that this one is a part of; itself if it is no part.
    pub(crate) fn whole(self: &Arc<Self>) -> &Arc<Self> {
        self.within.as_ref().unwrap_or(self)
    }

    /// Bytes there are.
    pub(crate) fn bound(&self) -> u64 {
        self.bound
    }

    /// Whether more than half of it is taken.
    pub(crate) fn is_half_taken(&self) -> bool {
        self.used() > self.bound / 2
    }

    /// Bytes taken.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

impl Portion {
    /// Nothing yet, for a body of this client.
    pub(crate) fn of(budget: &Arc<ByteBudget>, client: Option<Prefix>) -> Self {
        Self { budget: Arc::clone(budget), bytes: 0, client, held: None }
    }

    /// So many bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes `bytes` more. The only body of a client may have all that there is.
    ///
    /// # Errors
    /// There is no room; nothing was taken.
    pub(crate) fn take(&mut self, bytes: u64) -> Result<(), NoRoom> {
        let budget = &self.budget;
        let begin = || self.client.map(|client| budget.shares.hold(client, 0));
        let mut held = self.held.take().or_else(begin);
        let is_admitted = held.as_ref().is_none_or(|held| {
            held.is_only() || client_share::admits(held.total(), bytes, budget.used(), budget.bound)
        });
        let taken = match is_admitted {
            false => Err(NoRoom::ClientShare),
            true if !budget.take(bytes) => Err(NoRoom::Budget),
            true => Ok(()),
        };
        if taken.is_ok() {
            self.bytes += bytes;
            if let Some(held) = &mut held {
                held.add(bytes);
            }
        }
        // Who has nothing is not counted among the client's bodies.
        self.held = held.filter(|_| self.bytes > 0);
        taken
    }

    /// Takes `bytes` more whatever the bound and the share: they are in use already.
    pub(crate) fn take_anyway(&mut self, bytes: u64) {
        if bytes == 0 {
            return;
        }
        self.budget.take_anyway(bytes);
        self.bytes += bytes;
        match (&mut self.held, self.client) {
            (Some(held), _) => held.add(bytes),
            (None, Some(client)) => self.held = Some(self.budget.shares.hold(client, bytes)),
            (None, None) => {}
        }
    }

    /// Gives back `bytes` of them.
    pub(crate) fn give_back(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.budget.give_back(bytes);
        match &mut self.held {
            Some(held) if self.bytes > 0 => held.remove(bytes),
            held => *held = None,
        }
    }
}

impl Drop for Portion {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn above_three_quarters_a_second_body_of_a_client_gets_little() {
        let budget = Arc::new(ByteBudget::new(16 << 10));
        let client = |last| Some(Prefix::of([192, 0, 2, last].into()));
        let [mut first, mut second] = [(); 2].map(|()| Portion::of(&budget, client(1)));
        let mut other = Portion::of(&budget, client(2));
        assert_eq!(first.take(13 << 10), Ok(()));
        assert_eq!(second.take(1 << 10), Err(NoRoom::ClientShare));
        assert_eq!(other.take(1 << 10), Ok(()));
        assert_eq!(Portion::of(&budget, None).take(1 << 10), Ok(()));
        // It is the only one again.
        assert_eq!(first.take(1 << 10), Ok(()));
        assert_eq!(first.take(4 << 10), Err(NoRoom::Budget));
        first.give_back(13 << 10);
        assert_eq!((first.bytes(), budget.used()), (1 << 10, 2 << 10));
        assert_eq!(second.take(1 << 10), Ok(()));
        drop((first, second, other));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_part_of_a_budget_is_bounded_by_both() {
        let whole = Arc::new(ByteBudget::new(100));
        let part = Arc::new(ByteBudget::within(&whole, 60));
        let mut portion = Portion::of(&part, None);
        assert_eq!(portion.take(61), Err(NoRoom::Budget));
        assert!(whole.take(50));
        assert_eq!(portion.take(51), Err(NoRoom::Budget));
        assert_eq!((portion.take(50), part.used(), whole.used()), (Ok(()), 50, 100));
        portion.take_anyway(7);
        assert_eq!((part.used(), whole.used()), (57, 107));
        portion.give_back(17);
        assert_eq!((part.used(), whole.used()), (40, 90));
        drop(portion);
        assert_eq!((part.used(), whole.used()), (0, 50));
    }

    #[derive(Debug, Default)]
    struct Lent(AtomicU64);

    impl Lender for Lent {
        fn take(&self, bytes: u64) {
            self.0.fetch_add(bytes, Ordering::Relaxed);
        }

        fn give_back(&self, bytes: u64) {
            self.0.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_lender_lends_what_is_taken_and_no_more() {
        let lender = Arc::new(Lent::default());
        let lent = || lender.0.load(Ordering::Relaxed);
        let budget = Arc::new(ByteBudget::lent(Arc::clone(&lender) as Arc<dyn Lender>, 100));
        let mut portion = Portion::of(&budget, None);
        assert_eq!((portion.take(60), lent()), (Ok(()), 60));
        assert_eq!((portion.take(41), lent()), (Err(NoRoom::Budget), 60));
        portion.take_anyway(50);
        assert_eq!(lent(), 110);
        portion.give_back(30);
        assert_eq!(lent(), 80);
        drop(portion);
        assert_eq!(lent(), 0);
    }

    #[test]
    fn a_budget_gives_no_more_than_it_has() {
        let budget = ByteBudget::new(10);
        assert!(budget.take(6));
        assert!(!budget.take(5));
        assert!(budget.take(4));
        budget.give_back(10);
        assert_eq!(budget.used(), 0);
    }
}
