//! The places of a member: how many requests it works on at once. Who finds none free waits, and client
//! prefixes take [turns](Turns). Once three quarters are taken, a prefix gets a
//! [part of the rest](client_share), so that the requests of a few clients, however slow they are, leave
//! places to those of others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;
use weir_rules::client_share::{self, Prefix};
use weir_rules::turns::{Ticket, Turns};

/// See the module.
#[derive(Debug)]
pub(super) struct Places(Mutex<State>);

/// The lock is held for a few moves.
#[derive(Debug)]
struct State {
    count: usize,
    taken: usize,
    /// How many each prefix has, of those that have any.
    held: HashMap<Prefix, usize>,
    waiting: Turns<oneshot::Sender<Place>>,
}

/// A place; dropping it gives it to the next who may have it.
#[derive(Debug)]
pub(super) struct Place(Option<Taken>);

#[derive(Debug)]
struct Taken {
    places: Arc<Places>,
    client: Option<Prefix>,
}

/// One who waits for a place. Dropping it gives the wait up.
pub(super) struct WaitingForPlace {
    places: Arc<Places>,
    client: Option<Prefix>,
    ticket: Ticket,
    turn: oneshot::Receiver<Place>,
}

impl State {
    /// Whether this client, or one that counts for none, may have a place now.
    fn may_take(&self, client: Option<Prefix>) -> bool {
        let (taken, count) = (self.taken as u64, self.count as u64);
        let held = |prefix| self.held.get(&prefix).copied().unwrap_or_default() as u64;
        taken < count
            && client.is_none_or(|prefix| client_share::admits(held(prefix), 1, taken, count))
    }

    fn take(&mut self, client: Option<Prefix>) {
        self.taken += 1;
        if let Some(prefix) = client {
            *self.held.entry(prefix).or_default() += 1;
        }
    }

    fn give_back(&mut self, client: Option<Prefix>) {
        self.taken -= 1;
        let Some(prefix) = client else { return };
        if let Some(held) = self.held.get_mut(&prefix) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&prefix);
            }
        }
    }
}

impl Places {
    /// So many, all free.
    pub(super) fn new(count: usize) -> Arc<Self> {
        let (held, waiting) = (HashMap::new(), Turns::default());
        Arc::new(Self(Mutex::new(State { count, taken: 0, held, waiting })))
    }

    /// A free place for this client, or for one that counts for none. Nobody who may have one waits
    /// while there is one.
    pub(super) fn free(self: &Arc<Self>, client: Option<Prefix>) -> Option<Place> {
        let mut state = self.lock();
        if !state.may_take(client) {
            return None;
        }
        state.take(client);
        Some(self.place(client))
    }

    /// Waits for a place as this client, or as one that counts for none.
    pub(super) fn wait(self: &Arc<Self>, client: Option<Prefix>) -> WaitingForPlace {
        let (sender, turn) = oneshot::channel();
        let mut state = self.lock();
        let ticket = state.waiting.push(client, sender);
        // One may have been given back between the look for a free one and now.
        self.hand_out(state);
        WaitingForPlace { places: Arc::clone(self), client, ticket, turn }
    }

    /// Gives free places to those who wait and may have one.
    fn hand_out<'a>(self: &'a Arc<Self>, mut state: MutexGuard<'a, State>) {
        loop {
            let State { count, taken, .. } = *state;
            if taken >= count {
                return;
            }
            let mut waiting = std::mem::take(&mut state.waiting);
            let next = waiting.pop(|client| state.may_take(client));
            state.waiting = waiting;
            let Some((client, next)) = next else { return };
            state.take(client);
            drop(state);
            let sent = next.send(self.place(client));
            state = self.lock();
            if let Err(mut place) = sent {
                // It waits no more, and its place is free again: not to be dropped, which would come
                // here once more for each that has gone.
                drop(place.0.take());
                state.give_back(client);
            }
        }
    }

    fn place(self: &Arc<Self>, client: Option<Prefix>) -> Place {
        Place(Some(Taken { places: Arc::clone(self), client }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WaitingForPlace {
    /// Waits for the turn. May be called again after it was given up.
    pub(super) async fn turn(&mut self) -> Option<Place> {
        (&mut self.turn).await.ok()
    }
}

impl Drop for WaitingForPlace {
    fn drop(&mut self) {
        // A place that came meanwhile is dropped with the receiver, and goes to the next.
        let sender = self.places.lock().waiting.remove(self.client, self.ticket);
        drop(sender);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(Taken { places, client }) = self.0.take() else { return };
        let mut state = places.lock();
        state.give_back(client);
        places.hand_out(state);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn client(last: u8) -> Option<Prefix> {
        Some(Prefix::of([192, 0, 2, last].into()))
    }

    async fn has_turn(waiting: &mut WaitingForPlace) -> Option<Place> {
        tokio::time::timeout(Duration::from_millis(1), waiting.turn()).await.ok().flatten()
    }

    #[tokio::test]
    async fn a_client_with_many_requests_does_not_hold_up_one_with_one() {
        let places = Places::new(1);
        let place = places.free(client(1)).unwrap();
        assert!(places.free(client(2)).is_none());
        let mut many: Vec<_> = (0..100).map(|_| places.wait(client(1))).collect();
        let mut one = places.wait(client(2));
        drop(place);
        let place = has_turn(&mut many[0]).await.unwrap();
        assert!(has_turn(&mut one).await.is_none());
        drop(place);
        let place = has_turn(&mut one).await.unwrap();
        drop((place, many));
        assert!(places.free(None).is_some(), "those that gave up hold none");
    }

    #[tokio::test]
    async fn a_place_passes_by_those_that_have_gone() {
        let places = Places::new(1);
        let place = places.free(None).unwrap();
        let gone: Vec<_> = (0..50).map(|n| places.wait(client(n))).collect();
        let mut last = places.wait(None);
        drop(gone);
        assert_eq!(places.lock().waiting.len(), 1);
        drop(place);
        let place = has_turn(&mut last).await.unwrap();
        // One that was given its turn, and has gone before it took it.
        let given = places.wait(client(1));
        drop((place, last));
        drop(given);
        assert!(places.free(None).is_some());
    }

    #[tokio::test]
    async fn one_client_leaves_places_to_others_however_many_requests_it_has() {
        let places = Places::new(64);
        let taken: Vec<_> = std::iter::from_fn(|| places.free(client(1))).collect();
        assert_eq!(taken.len(), 49, "three quarters, and the one that passes them");
        let mut more: Vec<_> = (0..100).map(|_| places.wait(client(1))).collect();
        let others: Vec<_> = (2..9).map(|last| places.free(client(last)).unwrap()).collect();
        assert!(has_turn(&mut more[0]).await.is_none());
        // What others give back is for others, until three quarters are free of them.
        drop(others);
        assert!(has_turn(&mut more[0]).await.is_none());
        drop(taken);
        let mut had = Vec::new();
        for waiting in &mut more {
            had.extend(has_turn(waiting).await);
        }
        assert_eq!(had.len(), 49);
        assert!(places.free(client(2)).is_some() && places.free(None).is_some());
        drop((had, more));
        let state = places.lock();
        assert_eq!((state.taken, state.held.len(), state.waiting.len()), (0, 0, 0));
    }

    #[tokio::test]
    async fn one_who_comes_as_a_place_is_given_back_gets_it() {
        let places = Places::new(1);
        let mut waiting = places.wait(client(1));
        assert!(has_turn(&mut waiting).await.is_some());
    }
}
