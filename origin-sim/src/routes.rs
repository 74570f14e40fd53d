//! Which route takes a target, and the gates at which held answers wait.

use crate::respond::Gate;
use crate::route::{Answer, Route};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// What a target leads to.
pub(crate) enum Found {
    /// A scripted answer.
    Scripted { answer: Answer, gate: Gate },
    /// The folder, or nothing.
    File,
}

/// All routes. A name is a target with its query, a path that takes every query, or, with a
/// final `*`, the beginning of targets.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    named: BTreeMap<String, Scripted>,
    default: Option<Scripted>,
}

#[derive(Debug)]
struct Scripted {
    route: Route,
    served: AtomicU64,
    gate: Arc<watch::Sender<bool>>,
}

impl Scripted {
    fn new(route: Route, gate: Arc<watch::Sender<bool>>) -> Scripted {
        Scripted { route, served: AtomicU64::new(0), gate }
    }

    fn take(&self) -> Option<Found> {
        let served = self.served.fetch_add(1, Ordering::Relaxed);
        let answer = self.route.answer(served)?;
        Some(Found::Scripted { answer, gate: self.gate.subscribe() })
    }
}

impl Routes {
    /// Sets or replaces a route. What is held under the old one stays held until the same name is
    /// released; a released name starts closed again.
    pub(crate) fn set(&mut self, name: &str, route: Route) {
        let closed = self.named.get(name).filter(|old| !*old.gate.borrow());
        let gate = closed.map_or_else(closed_gate, |old| old.gate.clone());
        self.named.insert(name.to_owned(), Scripted::new(route, gate));
    }

    /// Sets what takes the targets that no name takes.
    pub(crate) fn set_default(&mut self, route: Route) {
        self.default = Some(Scripted::new(route, closed_gate()));
    }

    /// Removes a route, releasing what it holds. Whether there was one.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let removed = self.named.remove(name);
        removed.is_some_and(|old| {
            old.gate.send_replace(true);
            true
        })
    }

    /// The answer to the next request for `target`. `files` says whether a folder comes before
    /// the default route.
    pub(crate) fn find(&self, target: &str, files: bool) -> Found {
        let default = self.default.as_ref().filter(|_| !files);
        let scripted = self.named(target).or(default);
        scripted.and_then(Scripted::take).unwrap_or(Found::File)
    }

    /// Lets go what is, and will be, held at the route that `target` names or leads to. Whether
    /// there is one.
    pub(crate) fn release(&self, target: &str) -> bool {
        let scripted = self.named.get(target).or_else(|| self.named(target));
        let scripted = scripted.or(self.default.as_ref());
        scripted.is_some_and(|scripted| {
            scripted.gate.send_replace(true);
            true
        })
    }

    /// The most precise name that takes `target`.
    fn named(&self, target: &str) -> Option<&Scripted> {
        let exact = self.named.get(target);
        let path = || self.named.get(crate::counters::path_of(target));
        let beginning = || {
            let taking = self.named.iter().filter(|(name, _)| {
                name.strip_suffix('*').is_some_and(|beginning| target.starts_with(beginning))
            });
            taking.max_by_key(|(name, _)| name.len()).map(|(_, scripted)| scripted)
        };
        exact.or_else(path).or_else(beginning)
    }
}

fn closed_gate() -> Arc<watch::Sender<bool>> {
    Arc::new(watch::Sender::new(false))
}
