//! Events as server-sent events: to each listener what it may see, with a bounded buffer. One that
//! is too slow for it is told how many it missed.

use crate::auth::Caller;
use crate::control::Control;
use crate::events::Event;
use crate::ledger::Listed;
use crate::permission::may_see;
use crate::pieces::Pieces;
use crate::report::{NamedTargets, millis};
use crate::timestamp::rfc3339;
use axum::body::{Body, Bytes};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc};
use weir_rules::invalidation::Seq;

/// Pieces that may wait for a listener's connection.
const PIECES: usize = 16;

/// A sign of life where nothing happens, so that what is between keeps the connection.
const QUIET: Duration = Duration::from_secs(15);

/// Entries looked at at once.
const ENTRIES: usize = 256;

impl Control {
    /// Tells of entries as they are accepted and completed, to the end of control.
    pub(crate) async fn tell_of_entries(self: Arc<Self>) {
        let (mut heads, completes) = (self.ledger.heads(), self.ledger.completes());
        let head = *heads.borrow_and_update();
        let (mut accepted, mut completed) = (head, head);
        loop {
            accepted = self.tell_of_accepted(accepted);
            completed = self.tell_of_completed(completed);
            tokio::select! {
                moved = heads.changed() => if moved.is_err() { return },
                () = completes.notified() => {}
                () = self.stopped() => return,
            }
        }
    }

    fn tell_of_accepted(&self, mut told: Seq) -> Seq {
        loop {
            match self.ledger.after(told, ENTRIES) {
                Ok(entries) if entries.is_empty() => return told,
                Ok(entries) => {
                    for listed in entries {
                        told = listed.seq();
                        self.events.tell(Event::Accepted(listed));
                    }
                }
                // So many came at once that they are gone again.
                Err(forgotten) => told = forgotten.up_to,
            }
        }
    }

    /// Nodes apply entries in order, so none is completed before the one before it.
    fn tell_of_completed(&self, mut told: Seq) -> Seq {
        // Most often it is the next one that is not completed yet.
        let mut most = 1;
        loop {
            let entries = match self.ledger.after(told, std::mem::replace(&mut most, ENTRIES)) {
                Ok(entries) if entries.is_empty() => return told,
                Ok(entries) => entries,
                Err(forgotten) => {
                    told = forgotten.up_to;
                    continue;
                }
            };
            for listed in entries {
                let Some(time) = listed.completed() else { return told };
                told = listed.seq();
                self.events.tell(Event::Completed(listed, time));
            }
        }
    }

    /// The events from now on, as far as `caller` may see them; `None` where too many listen.
    pub(crate) fn listen(self: &Arc<Self>, caller: Caller) -> Option<Body> {
        let (events, room) = self.events.listen()?;
        let (pieces, body) = mpsc::channel(PIECES);
        let applied = Applied { from: self.ledger.head(), by_node: HashMap::new() };
        let listener = Listener { control: self.clone(), caller, applied };
        tokio::spawn(pass_on(listener, events, pieces, room));
        Some(Body::new(Pieces(body)))
    }
}

/// Who listens, and what it was told of nodes.
struct Listener {
    control: Arc<Control>,
    caller: Caller,
    applied: Applied,
}

/// What a listener that is confined to some sites was told each node has applied. Bounded by the
/// nodes that were ever expected while it listens.
struct Applied {
    /// The log's head when it began to listen.
    from: Seq,
    by_node: HashMap<Arc<str>, Seq>,
}

/// Passes events on to one listener, until it or control goes.
async fn pass_on(
    mut listener: Listener,
    mut events: broadcast::Receiver<Event>,
    pieces: mpsc::Sender<Bytes>,
    _room: OwnedSemaphorePermit,
) {
    let control = listener.control.clone();
    let mut piece = Some(": weir\n\n".to_owned());
    loop {
        if let Some(piece) = piece.take() {
            tokio::select! {
                sent = pieces.send(Bytes::from(piece)) => if sent.is_err() { return },
                () = control.stopped() => return,
            }
        }
        piece = tokio::select! {
            event = tokio::time::timeout(QUIET, events.recv()) => match event {
                Ok(Ok(event)) => listener.told(&event),
                Ok(Err(broadcast::error::RecvError::Lagged(missed))) => {
                    // How much happened concerns all sites.
                    let missed = listener.caller.may_touch(None).then_some(missed);
                    Some(piece_of("missed", &json!({"events": missed})))
                }
                Ok(Err(broadcast::error::RecvError::Closed)) => return,
                Err(_) => Some(":\n\n".to_owned()),
            },
            () = pieces.closed() => return,
            () = control.stopped() => return,
        };
    }
}

impl Listener {
    /// An event in the form of the stream; `None` where the caller may not see it.
    fn told(&mut self, event: &Event) -> Option<String> {
        match event {
            Event::Node(name, value) => Some(piece_of(name, value)),
            Event::Applied(node, seq) => {
                let seq = self.applied(node, *seq)?;
                Some(piece_of("applied", &json!({"node": &**node, "seq": seq})))
            }
            Event::Accepted(listed) => {
                let what = self.may_see(listed).then(|| entry(listed))?;
                Some(piece_of(kind(listed), &what))
            }
            Event::Completed(listed, time) => {
                self.may_see(listed).then_some(())?;
                let elapsed = millis(*time);
                let what = json!({"id": listed.id, "seq": listed.seq(), "elapsed_ms": elapsed});
                Some(piece_of("completed", &what))
            }
        }
    }

    /// Up to which of the entries that the caller may see a node has applied everything; `None`
    /// where that is nothing new.
    fn applied(&mut self, node: &Arc<str>, seq: Seq) -> Option<Seq> {
        if self.caller.may_touch(None) {
            return Some(seq);
        }
        let before = self.applied.by_node.get(node).copied().unwrap_or(self.applied.from);
        let sites = self.control.sites();
        let seen = |listed: &Listed| may_see(&self.caller, &listed.entry.change, &sites);
        let seen = self.control.ledger.last_within(before, seq, seen);
        self.applied.by_node.insert(node.clone(), seq.max(before));
        seen
    }

    fn may_see(&self, listed: &Listed) -> bool {
        self.caller.may_touch(None)
            || may_see(&self.caller, &listed.entry.change, &self.control.sites())
    }
}

fn kind(listed: &Listed) -> &'static str {
    if listed.release().is_some() { "release" } else { "purge" }
}

/// An entry as it is accepted.
fn entry(listed: &Listed) -> Value {
    let mut what = match listed.release() {
        Some(release) => json!({"site": release.site, "name": release.name}),
        None => serde_json::to_value(NamedTargets::of(listed)).unwrap_or_default(),
    };
    what["id"] = json!(listed.id);
    what["seq"] = json!(listed.seq());
    what["reference"] = json!(listed.reference);
    what["created_at"] = json!(rfc3339(listed.created_at));
    what
}

/// One event in the form of the HTML standard, §9.2.6. JSON holds no line breaks.
fn piece_of(name: &str, what: &Value) -> String {
    let at = rfc3339(SystemTime::now());
    let mut what = what.clone();
    what["at"] = json!(at);
    format!("event: {name}\ndata: {what}\n\n")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::Process;
    use crate::events::{MOST_LISTENERS, MOST_WAITING};
    use crate::process::Alone;
    use http_body::Body as _;
    use std::pin::Pin;
    use tokio::sync::watch;
    use weir_config::Config;

    fn control() -> (Arc<Control>, watch::Sender<bool>) {
        let (stop, stopping) = watch::channel(false);
        let config = Config::for_origin("http://127.0.0.1:9").unwrap();
        let process = Process::new(Alone, config, stopping);
        (Control::open(Arc::new(process)).unwrap(), stop)
    }

    async fn next(body: &mut Body) -> Option<String> {
        let frame = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context));
        let frame = tokio::time::timeout(Duration::from_secs(20), frame).await.unwrap()?;
        let bytes = frame.unwrap().into_data().unwrap();
        Some(String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_listener_who_is_too_slow_is_told_how_many_it_missed() {
        let (control, _stop) = control();
        let mut body = control.listen(Caller::Local).unwrap();
        assert_eq!(next(&mut body).await.unwrap(), ": weir\n\n");
        // One by one, so that its task gets to its buffer being full.
        let most = (MOST_WAITING + PIECES) as u64 + 100;
        for seq in 1..=most {
            control.events.applied("one", seq);
            tokio::task::yield_now().await;
        }
        let (mut told, mut missed) = (0, None);
        while told + missed.unwrap_or(0) < most {
            let piece = next(&mut body).await.unwrap();
            let (name, data) = piece.trim_end().split_once("\ndata: ").unwrap();
            let data: Value = serde_json::from_str(data).unwrap();
            match name {
                "event: applied" => told += 1,
                "event: missed" => missed = data["events"].as_u64(),
                other => panic!("{other}"),
            }
        }
        assert!(missed.is_some_and(|missed| missed >= 80), "{told}, {missed:?}");
    }

    #[tokio::test]
    async fn only_so_many_listen_and_all_are_let_go_when_control_stops() {
        let (control, stop) = control();
        let mut bodies: Vec<_> =
            (0..MOST_LISTENERS).map(|_| control.listen(Caller::Local).unwrap()).collect();
        assert!(control.listen(Caller::Local).is_none());
        stop.send(true).unwrap();
        for body in &mut bodies {
            while next(body).await.is_some() {}
        }
    }
}
