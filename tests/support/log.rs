//! A log that a test feeds by hand: each node gets an entry when the test says so.

use super::{Edge, PATIENCE, Target};
use std::sync::Mutex;
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use weir_edge::follow::InProcess;
use weir_protocol::frame::{FromControl, FromNode, Welcomed};
use weir_protocol::lines::Lines;
use weir_rules::invalidation::Purge;
use weir_rules::log::{Change, Entry, LogId, Welcome};

/// A log.
pub(crate) struct Log {
    id: &'static str,
    entries: Mutex<Vec<Entry>>,
}

/// A node's end of it. Dropping it ends the connection, for good.
pub(crate) struct Leash {
    frames: mpsc::UnboundedSender<FromControl>,
    applied: watch::Receiver<Option<u64>>,
}

impl Log {
    /// An empty log of this id.
    pub(crate) fn new(id: &'static str) -> Self {
        Self { id, entries: Mutex::default() }
    }

    /// Appends a hard purge, of which no node knows yet; returns its seq.
    pub(crate) fn purge(&self, target: Target) -> u64 {
        let mut entries = self.entries.lock().expect("no panic before");
        let seq = entries.len() as u64 + 1;
        let (targets, site) = (vec![target], None);
        let purge = Purge { seq, targets, site, soft: false, versions: false };
        entries.push(Entry { seq, mark: seq * 7919, change: Change::Purge(purge) });
        seq
    }

    /// Lets a node follow it from its beginning, and waits until it does.
    pub(crate) async fn lead(&self, edge: &Edge) -> Leash {
        self.lead_to(edge, 0).await
    }

    /// The same, with a welcome that names this head.
    pub(crate) async fn lead_to(&self, edge: &Edge, head: u64) -> Leash {
        let (frames, queue) = mpsc::unbounded_channel();
        let (told, mut applied) = watch::channel(None);
        let welcome = FromControl::Welcome(Welcomed {
            place: Welcome {
                log: LogId(self.id.to_owned()),
                member: "member".to_owned(),
                after: 0,
                mark: 0,
                keep: false,
                head,
            },
            releases: Vec::new(),
            // No heartbeats are sent: long enough for any test.
            lease_ms: 60_000,
            tier_key: format!("key of {}", self.id),
        });
        frames.send(welcome).expect("the queue is there");
        let mut once = Some((queue, told));
        let here = tokio::runtime::Handle::current();
        let sessions = here.clone();
        let dial = InProcess::new(move |stream| {
            // A node whose leash was let go of finds nobody any more.
            if let Some((queue, told)) = once.take() {
                sessions.spawn(session(stream, queue, told));
            }
        });
        edge.node.follow(dial, &here).expect("a thread");
        let joined = applied.wait_for(Option::is_some);
        timeout(PATIENCE, joined).await.expect("the node joins").expect("the session lives");
        Leash { frames, applied }
    }

    /// Has a node apply everything up to `seq`.
    pub(crate) async fn feed(&self, leash: &Leash, seq: u64) {
        let from = leash.applied.borrow().unwrap_or_default();
        let due: Vec<Entry> = {
            let entries = self.entries.lock().expect("no panic before");
            let due = entries.iter().filter(|entry| entry.seq > from && entry.seq <= seq);
            due.cloned().collect()
        };
        for entry in due {
            leash.frames.send(FromControl::Entry(entry)).expect("the session lives");
        }
        let mut applied = leash.applied.clone();
        let reached = applied.wait_for(|applied| applied.is_some_and(|applied| applied >= seq));
        timeout(PATIENCE, reached).await.expect("the node applies").expect("the session lives");
    }
}

impl Leash {
    /// A heartbeat that names this head, if the node still follows.
    pub(crate) fn beat(&self, head: u64) {
        let _ = self.frames.send(FromControl::Heartbeat {
            head: Some(head),
            heard: None,
            retention: None,
        });
    }
}

async fn session(
    stream: DuplexStream,
    mut queue: mpsc::UnboundedReceiver<FromControl>,
    told: watch::Sender<Option<u64>>,
) {
    let (read, mut write) = tokio::io::split(stream);
    let mut lines = Lines::new(read);
    let hello = lines.next::<FromNode>().await;
    assert!(matches!(hello, Ok(Some(FromNode::Hello(_)))), "{hello:?}");
    loop {
        tokio::select! {
            frame = queue.recv() => {
                let Some(frame) = frame else { return };
                let mut line = serde_json::to_vec(&frame).expect("a frame is JSON");
                line.push(b'\n');
                if write.write_all(&line).await.is_err() {
                    return;
                }
            }
            said = lines.next::<FromNode>() => match said {
                Ok(Some(FromNode::Applied { seq })) => {
                    told.send_replace(Some(seq));
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return,
            },
        }
    }
}
