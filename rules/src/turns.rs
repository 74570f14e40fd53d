//! A queue in which clients take turns: each [`Prefix`] has one place in the order, however many of its
//! requests wait, and gives it up for the next one of its own at the end.
//!
//! While one client waits alone, its requests are served in the order in which they came. If others come,
//! each is served after at most one request of every client that waits, so that nobody who sends many
//! requests holds up those who send few. Requests that count for no client (`None`) have a place each.

use crate::client_share::Prefix;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Where something waits, to take it out again. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// See the module.
#[derive(Debug)]
pub struct Turns<T> {
    /// What waits, by ticket and so by age, of each prefix or by itself.
    waiting: HashMap<Turn, BTreeMap<Ticket, T>>,
    /// Whose turn is next. Each that waits is here once; those that wait no more are passed over.
    order: VecDeque<Turn>,
    next: u64,
    count: usize,
}

/// Who has a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Turn {
    Client(Prefix),
    /// One that counts for no client.
    Alone(Ticket),
}

impl Turn {
    fn client(self) -> Option<Prefix> {
        match self {
            Self::Client(prefix) => Some(prefix),
            Self::Alone(_) => None,
        }
    }
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self { waiting: HashMap::new(), order: VecDeque::new(), next: 0, count: 0 }
    }
}

impl<T> Turns<T> {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds one of a client, or one that counts for none.
    pub fn push(&mut self, client: Option<Prefix>, one: T) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        let turn = client.map_or(Turn::Alone(ticket), Turn::Client);
        let of_turn = self.waiting.entry(turn).or_default();
        if of_turn.is_empty() {
            self.order.push_back(turn);
        }
        of_turn.insert(ticket, one);
        self.count += 1;
        ticket
    }

    /// Takes out the one whose turn it is: the oldest of the client that has waited longest for its turn,
    /// of those that `may` have one. The others keep their turns. Also says whose it is.
    pub fn pop(&mut self, may: impl Fn(Option<Prefix>) -> bool) -> Option<(Option<Prefix>, T)> {
        let at = self.order.iter().position(|turn| may(turn.client()))?;
        let turn = self.order.remove(at)?;
        let of_turn = self.waiting.get_mut(&turn)?;
        let (_, one) = of_turn.pop_first()?;
        self.count -= 1;
        if of_turn.is_empty() {
            self.waiting.remove(&turn);
            self.shrink();
        } else {
            self.order.push_back(turn);
        }
        Some((turn.client(), one))
    }

    /// Takes out one that waits no more, if it is still here.
    pub fn remove(&mut self, client: Option<Prefix>, ticket: Ticket) -> Option<T> {
        let turn = client.map_or(Turn::Alone(ticket), Turn::Client);
        let of_turn = self.waiting.get_mut(&turn)?;
        let one = of_turn.remove(&ticket)?;
        self.count -= 1;
        if of_turn.is_empty() {
            self.waiting.remove(&turn);
            self.order.retain(|other| *other != turn);
            self.shrink();
        }
        Some(one)
    }

    /// What a crowd needed is given back once it has gone.
    fn shrink(&mut self) {
        if self.count == 0 {
            *self = Self { next: self.next, ..Self::default() };
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn client(last: u8) -> Option<Prefix> {
        Some(Prefix::of([192, 0, 2, last].into()))
    }

    fn served<T>(mut turns: Turns<T>) -> Vec<T> {
        std::iter::from_fn(|| turns.pop(|_| true).map(|(_, one)| one)).collect()
    }

    #[test]
    fn clients_take_turns_and_each_is_served_in_its_own_order() {
        let mut turns = Turns::default();
        for n in 1..=4 {
            turns.push(client(1), format!("a{n}"));
        }
        turns.push(client(2), "b1".to_owned());
        turns.push(None, "x".to_owned());
        turns.push(client(2), "b2".to_owned());
        turns.push(None, "y".to_owned());
        assert_eq!(turns.len(), 8);
        assert_eq!(served(turns), ["a1", "b1", "x", "y", "a2", "b2", "a3", "a4"]);
    }

    #[test]
    fn who_may_have_none_keeps_its_turn() {
        let mut turns = Turns::default();
        for (last, one) in [(1, "a1"), (1, "a2"), (2, "b1")] {
            turns.push(client(last), one);
        }
        let not_the_first = |of: Option<Prefix>| of != client(1);
        assert_eq!(turns.pop(not_the_first), Some((client(2), "b1")));
        assert_eq!(turns.pop(not_the_first), None);
        turns.push(client(2), "b2");
        assert_eq!(served(turns), ["a1", "b2", "a2"]);
    }

    #[test]
    fn one_client_alone_is_served_first_come_first_served() {
        let mut turns = Turns::default();
        for n in 0..100 {
            turns.push(client(1), n);
        }
        assert_eq!(served(turns), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_taken_out_has_no_turn_and_leaves_nothing_behind() {
        let mut turns = Turns::default();
        let [one, alone, other] =
            [(client(1), 1), (None, 2), (client(2), 3)].map(|(c, n)| turns.push(c, n));
        assert_eq!(turns.remove(client(1), one), Some(1));
        assert_eq!(turns.remove(client(1), one), None);
        assert_eq!(turns.remove(None, alone), Some(2));
        assert_eq!((turns.order.len(), turns.waiting.len(), turns.len()), (1, 1, 1));
        assert_eq!(turns.remove(client(2), other), Some(3));
        assert!(turns.is_empty());
        assert_eq!((turns.order.capacity(), turns.waiting.capacity()), (0, 0));
    }

    proptest! {
        #[test]
        fn whoever_comes_is_served_after_one_of_each_who_waits(
            waiting in prop::collection::vec(0u8..6, 0..80),
        ) {
            let mut turns = Turns::default();
            for last in &waiting {
                turns.push(client(*last), *last);
            }
            let mut clients = waiting.clone();
            clients.sort_unstable();
            clients.dedup();
            turns.push(client(9), 9);
            let mut next = || turns.pop(|_| true).map(|(_, n)| n).filter(|n| *n != 9);
            let before: Vec<u8> = std::iter::from_fn(&mut next).collect();
            prop_assert_eq!(before.len(), clients.len());
        }

        #[test]
        fn everyone_is_served_once_unless_taken_out(
            does in prop::collection::vec((0u8..5, 0u8..4), 0..100),
        ) {
            let mut turns = Turns::default();
            let (mut here, mut number) = (Vec::new(), 0);
            for (last, what) in does {
                let of = (last > 0).then(|| client(last).unwrap());
                match what {
                    0 => {
                        let popped = turns.pop(|_| true).map(|(_, n)| n);
                        prop_assert_eq!(popped.is_some(), !here.is_empty());
                        here.retain(|(_, _, n)| Some(*n) != popped);
                    }
                    1 if !here.is_empty() => {
                        let (of, ticket, n) = here.remove(usize::from(last) % here.len());
                        prop_assert_eq!(turns.remove(of, ticket), Some(n));
                    }
                    _ => {
                        here.push((of, turns.push(of, number), number));
                        number += 1;
                    }
                }
                prop_assert_eq!(turns.len(), here.len());
            }
            let mut left = served(turns);
            left.sort_unstable();
            prop_assert_eq!(left, here.iter().map(|(_, _, n)| *n).collect::<Vec<_>>());
        }
    }
}
