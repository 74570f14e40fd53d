//! How much is warmed at once.

use crate::errors::ApiError;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Purges at once that wait to be warmed, or are; further ones are refused with 429.
const MOST_PURGES: usize = 16;

/// Calls at once; further ones are refused with 429.
const MOST_CALLS: usize = 4;

/// Calls and purges that are being warmed.
#[derive(Debug)]
pub(crate) struct Warming {
    calls: Arc<Semaphore>,
    purges: Arc<Semaphore>,
}

impl Warming {
    pub(crate) fn new() -> Self {
        let room = |most| Arc::new(Semaphore::new(most));
        Self { calls: room(MOST_CALLS), purges: room(MOST_PURGES) }
    }

    /// Room for a call.
    ///
    /// # Errors
    /// 429 where there is none.
    pub(crate) fn call(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let busy = |_| full(&format!("{MOST_CALLS} warm-up calls are in progress"));
        self.calls.clone().try_acquire_owned().map_err(busy)
    }

    /// Room for a purge that is to be warmed.
    ///
    /// # Errors
    /// 429 where there is none.
    pub(crate) fn purge(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let busy =
            |_| full(&format!("{MOST_PURGES} warm-ups after purges are in progress")).about("warm");
        self.purges.clone().try_acquire_owned().map_err(busy)
    }
}

fn full(what: &str) -> ApiError {
    ApiError::too_many(format!("{what}, which is the maximum"), Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_at_once_than_there_is_room_for_are_refused() {
        let warming = Warming::new();
        let calls: Vec<_> = (0..MOST_CALLS).map(|_| warming.call()).collect();
        assert!(calls.iter().all(Result::is_ok));
        assert!(warming.call().is_err_and(|error| error.status() == 429));
        drop(calls);
        assert!(warming.call().is_ok());
        let purges: Vec<_> = (0..MOST_PURGES).map(|_| warming.purge()).collect();
        assert!(warming.purge().is_err() && purges.iter().all(Result::is_ok));
    }
}
