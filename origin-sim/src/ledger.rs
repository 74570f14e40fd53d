//! The book of requests: counts of each target, and the last requests in full. One lock, held for
//! a few moves; waiters are woken by every change.

use crate::counters::{Connections, Counted, Counts, Recorded, names};
use crate::locked;
use crate::request::{Head, ReceivedBody};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// Targets counted by themselves; all further ones are counted together.
const TARGETS: usize = 200_000;
/// The name under which they are.
const OTHER_TARGETS: &str = "(other)";

/// The book of requests.
#[derive(Debug)]
pub(crate) struct Ledger {
    book: Mutex<Book>,
    keep: usize,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Book {
    /// The number of `kept[0]`.
    first: u64,
    kept: VecDeque<Recorded>,
    targets: BTreeMap<String, Counts>,
    connections: Connections,
    malformed: u64,
}

impl Ledger {
    /// A book that keeps the last `keep` requests in full.
    pub(crate) fn new(keep: usize) -> Ledger {
        Ledger { book: Mutex::default(), keep, changed: watch::Sender::new(()) }
    }

    /// Enters a request whose head has arrived.
    pub(crate) fn enter(self: &Arc<Self>, head: &Head, connection: u64) -> Entry {
        let number = self.change(|book| {
            let target = match book.targets.contains_key(&head.target) {
                false if book.targets.len() >= TARGETS => OTHER_TARGETS,
                _ => head.target.as_str(),
            };
            let counts = book.targets.entry(target.to_owned()).or_default();
            counts.requests += 1;
            counts.running += 1;
            counts.most_at_once = counts.most_at_once.max(counts.running);
            book.kept.push_back(head.recorded(connection));
            while book.kept.len() > self.keep {
                book.kept.pop_front();
                book.first += 1;
            }
            book.first + book.kept.len() as u64 - 1
        });
        Entry { ledger: self.clone(), number, target: head.target.clone(), bytes: 0, over: false }
    }

    /// The last requests that `asked` names, oldest first.
    pub(crate) fn requests(&self, asked: &str) -> Vec<Recorded> {
        let book = locked(&self.book);
        book.kept.iter().filter(|r| names(asked, &r.target)).cloned().collect()
    }

    /// The counts of all targets that `asked` names.
    pub(crate) fn counts(&self, asked: &str) -> Counts {
        let mut sum = Counts::default();
        let book = locked(&self.book);
        if asked.contains('*') {
            book.targets.iter().filter(|(t, _)| names(asked, t)).for_each(|(_, c)| sum.add(c));
        } else {
            book.targets.get(asked).into_iter().for_each(|counts| sum.add(counts));
            let queries = format!("{asked}?");
            let with_query = book.targets.range(queries.clone()..);
            let with_query = with_query.take_while(|(target, _)| target.starts_with(&queries));
            with_query.for_each(|(_, counts)| sum.add(counts));
        }
        sum
    }

    pub(crate) fn connections(&self) -> Connections {
        locked(&self.book).connections
    }

    pub(crate) fn malformed(&self) -> u64 {
        locked(&self.book).malformed
    }

    /// Everything, or what `asked` names.
    pub(crate) fn counted(&self, asked: Option<&str>) -> Counted {
        let book = locked(&self.book);
        let named = |target: &str| asked.is_none_or(|asked| names(asked, target));
        let targets: BTreeMap<_, _> = book
            .targets
            .iter()
            .filter(|(t, _)| named(t))
            .map(|(t, c)| (t.clone(), c.clone()))
            .collect();
        let mut total = Counts::default();
        targets.values().for_each(|counts| total.add(counts));
        Counted { connections: book.connections, malformed: book.malformed, total, targets }
    }

    /// Forgets all requests and counts but those of what is open and running.
    pub(crate) fn reset(&self) {
        self.change(|book| {
            book.first += book.kept.len() as u64;
            book.kept.clear();
            book.malformed = 0;
            book.targets.retain(|_, counts| {
                let running = counts.running;
                *counts = Counts { running, most_at_once: running, ..Counts::default() };
                running > 0
            });
            let open = book.connections.open;
            book.connections = Connections { accepted: 0, open, most_open: open };
        });
    }

    pub(crate) fn count_malformed(&self) {
        self.change(|book| book.malformed += 1);
    }

    /// Counts a connection as open until the value is dropped; its number is from 1.
    pub(crate) fn connect(self: &Arc<Self>) -> OpenConnection {
        let number = self.change(|book| {
            let connections = &mut book.connections;
            connections.accepted += 1;
            connections.open += 1;
            connections.most_open = connections.most_open.max(connections.open);
            connections.accepted
        });
        OpenConnection { ledger: self.clone(), number }
    }

    /// Waits until `reached`.
    pub(crate) async fn until(&self, reached: impl Fn(&Ledger) -> bool) {
        let mut changed = self.changed.subscribe();
        while !reached(self) {
            // The sender lives as long as self.
            let _ = changed.changed().await;
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Book) -> T) -> T {
        let result = change(&mut locked(&self.book));
        self.changed.send_replace(());
        result
    }
}

/// Keeps a connection counted as open.
#[derive(Debug)]
pub(crate) struct OpenConnection {
    ledger: Arc<Ledger>,
    pub(crate) number: u64,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.ledger.change(|book| book.connections.open = book.connections.open.saturating_sub(1));
    }
}

/// One request under way. Dropped before [`Entry::answered`], it counts as aborted.
#[derive(Debug)]
pub(crate) struct Entry {
    ledger: Arc<Ledger>,
    number: u64,
    target: String,
    /// Bytes of body sent so far.
    pub(crate) bytes: u64,
    over: bool,
}

impl Entry {
    /// Notes what arrived of the request body.
    pub(crate) fn body(&self, body: &ReceivedBody, complete: bool) {
        self.ledger.change(|book| {
            if let Some(recorded) = self.recorded(book) {
                recorded.body = body.kept.clone();
                recorded.body_len = body.len;
                recorded.body_complete = complete;
            }
        });
    }

    /// Notes the status that is about to be sent.
    pub(crate) fn status(&self, status: u16) {
        self.ledger.change(|book| {
            if let Some(counts) = self.counts(book) {
                *counts.statuses.entry(status).or_default() += 1;
            }
            if let Some(recorded) = self.recorded(book) {
                recorded.status = Some(status);
            }
        });
    }

    /// The answer went out as scripted.
    pub(crate) fn answered(mut self) {
        self.over = true;
    }

    fn recorded<'a>(&self, book: &'a mut Book) -> Option<&'a mut Recorded> {
        let at = usize::try_from(self.number.checked_sub(book.first)?).ok()?;
        book.kept.get_mut(at)
    }

    fn counts<'a>(&self, book: &'a mut Book) -> Option<&'a mut Counts> {
        let known = book.targets.contains_key(&self.target);
        book.targets.get_mut(if known { self.target.as_str() } else { OTHER_TARGETS })
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let ledger = self.ledger.clone();
        ledger.change(|book| {
            if let Some(counts) = self.counts(book) {
                counts.running = counts.running.saturating_sub(1);
                counts.bytes += self.bytes;
                counts.aborted += u64::from(!self.over);
            }
            if let Some(recorded) = self.recorded(book) {
                recorded.aborted = !self.over;
            }
        });
    }
}
