//! The places of a member: how many requests it works on at once. Who finds none free waits, and client
//! prefixes take [turns](Turns).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;
use weir_rules::client_share::Prefix;
use weir_rules::turns::{Ticket, Turns};

/// See the module.
#[derive(Debug)]
pub(super) struct Places(Mutex<State>);

/// The lock is held for a few moves.
#[derive(Debug)]
struct State {
    free: usize,
    waiting: Turns<oneshot::Sender<Place>>,
}

/// A place; dropping it gives it to the next who waits.
#[derive(Debug)]
pub(super) struct Place(Option<Arc<Places>>);

/// One who waits for a place. Dropping it gives the wait up.
pub(super) struct WaitingForPlace {
    places: Arc<Places>,
    client: Option<Prefix>,
    ticket: Ticket,
    turn: oneshot::Receiver<Place>,
}

impl Places {
    /// So many, all free.
    pub(super) fn new(count: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { free: count, waiting: Turns::default() })))
    }

    /// A free place. Nobody waits while there is one.
    pub(super) fn free(self: &Arc<Self>) -> Option<Place> {
        let mut state = self.lock();
        state.free = state.free.checked_sub(1)?;
        Some(Place(Some(Arc::clone(self))))
    }

    /// Waits for a place as this client, or as one that counts for none.
    pub(super) fn wait(self: &Arc<Self>, client: Option<Prefix>) -> WaitingForPlace {
        let (sender, turn) = oneshot::channel();
        let mut state = self.lock();
        let ticket = state.waiting.push(client, sender);
        let place = state.free.checked_sub(1).map(|free| {
            // One was given back between the look for a free one and now.
            state.free = free;
            Place(Some(Arc::clone(self)))
        });
        drop(state);
        drop(place);
        WaitingForPlace { places: Arc::clone(self), client, ticket, turn }
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
        let Some(places) = self.0.take() else { return };
        loop {
            let mut state = places.lock();
            let Some(next) = state.waiting.pop() else {
                state.free += 1;
                return;
            };
            drop(state);
            match next.send(Place(Some(Arc::clone(&places)))) {
                Ok(()) => return,
                // It waits no more, and its place is ours again: not to be dropped, which would come
                // here once more for each that has gone.
                Err(mut place) => drop(place.0.take()),
            }
        }
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
        let place = places.free().unwrap();
        assert!(places.free().is_none());
        let mut many: Vec<_> = (0..100).map(|_| places.wait(client(1))).collect();
        let mut one = places.wait(client(2));
        drop(place);
        let place = has_turn(&mut many[0]).await.unwrap();
        assert!(has_turn(&mut one).await.is_none());
        drop(place);
        let place = has_turn(&mut one).await.unwrap();
        drop((place, many));
        assert!(places.free().is_some(), "those that gave up hold none");
    }

    #[tokio::test]
    async fn a_place_passes_by_those_that_have_gone() {
        let places = Places::new(1);
        let place = places.free().unwrap();
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
        assert!(places.free().is_some());
    }

    #[tokio::test]
    async fn one_who_comes_as_a_place_is_given_back_gets_it() {
        let places = Places::new(1);
        let mut waiting = places.wait(client(1));
        assert!(has_turn(&mut waiting).await.is_some());
    }
}
