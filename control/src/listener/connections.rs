//! Which connections there are, and which one gives way to a new one.

use super::activity::Activity;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The connections of a listener, less those of nodes that have joined (those are bounded by the number
/// of sessions).
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    reserved: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    listed: HashMap<u64, Weak<Activity>>,
}

impl Connections {
    /// At most so many, and so many more for a few calls.
    pub(super) fn new(most: usize, reserved: usize) -> Self {
        Self { most, reserved, open: Mutex::default() }
    }

    /// Lists a new connection. If there are too many, the one that has been idle longest gives way; if
    /// none is idle, the new one takes a reserved place. `None` if there is none.
    pub(super) fn admit(self: &Arc<Self>) -> Option<Arc<Activity>> {
        // Dropped after the lock: the last owner of one of them forgets it here.
        let mut seen = Vec::new();
        let mut open = self.lock();
        let mut reserved = false;
        if open.listed.len() >= self.most {
            seen.extend(open.listed.values().filter_map(Weak::upgrade));
            let idle = seen.iter().filter_map(|one| one.idle_since().map(|since| (since, one)));
            match idle.min_by_key(|(since, _)| *since) {
                Some((_, longest)) => {
                    open.listed.remove(&longest.number);
                    longest.close();
                }
                None if open.listed.len() >= self.most + self.reserved => return None,
                None => reserved = true,
            }
        }
        let number = open.next;
        open.next += 1;
        let activity = Arc::new(Activity::new(number, reserved, Arc::downgrade(self)));
        open.listed.insert(number, Arc::downgrade(&activity));
        Some(activity)
    }

    /// Forgets a connection that has ended, or is a node's.
    pub(super) fn remove(&self, number: u64) {
        self.lock().listed.remove(&number);
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
