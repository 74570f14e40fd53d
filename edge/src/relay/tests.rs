//! A relay between a control and edges of which the test has the other ends.

#![allow(clippy::unwrap_used)]

use super::*;
use serde_json::json;
use tokio::io::{AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::task::JoinHandle;
use weir_config::Config;
use weir_protocol::lines::{Lines, write_line};
use weir_protocol::relay::{FromRelay, ToRelay};

const PATIENCE: Duration = Duration::from_secs(20);

/// A relay with these keys of `[control]`.
fn relay(keys: &str) -> Arc<Relay> {
    let text = format!("[control]\n{keys}\n[[site]]\norigins = [\"http://127.0.0.1:9\"]\n");
    let config = Config::from_toml(&text).unwrap();
    Arc::new(Relay::new("p".into(), &config.control))
}

/// An edge's end of a link.
struct Edge {
    lines: Lines<ReadHalf<DuplexStream>>,
    write: WriteHalf<DuplexStream>,
    served: JoinHandle<()>,
}

impl Edge {
    /// Connects.
    fn connect(relay: &Arc<Relay>, buffer: usize) -> Self {
        let (edge, stream) = tokio::io::duplex(buffer);
        let serving = relay.clone();
        let served = tokio::spawn(async move { serving.serve(stream).await });
        let (read, write) = tokio::io::split(edge);
        Self { lines: Lines::new(read), write, served }
    }

    /// Connects and shows a ticket.
    async fn show(relay: &Arc<Relay>, after: Seq, buffer: usize) -> Self {
        let mut edge = Self::connect(relay, buffer);
        assert_eq!(edge.hear_relay().await, FromRelay::Greeting { name: "p".to_owned() });
        edge.say(&ToRelay::Ticket { ticket: Ticket::new(&[7; 32]), after }).await;
        edge
    }

    /// The same, attached by a control with these ends.
    async fn linked(
        relay: &Arc<Relay>,
        up: &mut mpsc::Receiver<FromNode>,
        after: Seq,
    ) -> (Self, Link) {
        let mut edge = Self::show(relay, after, 1 << 16).await;
        let Some(FromNode::Link { link, .. }) = up.recv().await else { panic!("no link") };
        relay.linked(link);
        assert_eq!(edge.hear_relay().await, FromRelay::Linked);
        (edge, link)
    }

    async fn say(&mut self, line: &impl serde::Serialize) {
        let mut out = Vec::new();
        write_line(&mut out, line).unwrap();
        self.write.write_all(&out).await.unwrap();
    }

    async fn hear_relay(&mut self) -> FromRelay {
        let line = tokio::time::timeout(PATIENCE, self.lines.next()).await;
        line.expect("the relay says something").unwrap().unwrap()
    }

    /// The next line; `None` at the end.
    async fn hear(&mut self) -> Option<serde_json::Value> {
        let line = tokio::time::timeout(PATIENCE, self.lines.next()).await;
        line.expect("the relay says something").ok().flatten()
    }
}

fn unread(line: &serde_json::Value) -> Unread {
    Unread::of(line).unwrap()
}

fn entry(relay: &Relay, seq: Seq, text: &str) {
    relay.applied(seq, format!("\"{seq} {text}\"\n").as_bytes());
}

#[tokio::test]
async fn entries_are_passed_on_once_and_all_else_unread() {
    let relay = relay("");
    let mut up = relay.begin(4);
    entry(&relay, 5, "before");
    let (mut edge, link) = Edge::linked(&relay, &mut up, 4).await;
    assert_eq!(edge.hear().await, Some(json!("5 before")));
    relay.before_entry(b"\"remember\"\n");
    entry(&relay, 6, "after");
    assert_eq!(edge.hear().await, Some(json!("remember")));
    assert_eq!(edge.hear().await, Some(json!("6 after")));
    let heartbeat = json!({"frame": "heartbeat", "head": 6, "of": "a newer control"});
    relay.line(link, &unread(&heartbeat));
    relay.line(link + 1, &unread(&json!("for nobody")));
    assert_eq!(edge.hear().await, Some(heartbeat));
    let alive = json!({"frame": "alive", "of": "a newer edge"});
    edge.say(&alive).await;
    assert_eq!(up.recv().await, Some(FromNode::Relayed { link, line: unread(&alive) }));
    edge.say(&FromNode::Applied { seq: 6 }).await;
    let said = relay.acknowledgement().await;
    assert_eq!(said, AppliedBehind { all: Some(6), links: vec![] });
    assert_eq!(relay.links(), 1);
    drop(edge.write);
    drop(edge.lines);
    edge.served.await.unwrap();
    assert_eq!(up.recv().await, Some(FromNode::Unlink { link }));
    assert_eq!(relay.links(), 0);
}

#[tokio::test]
async fn a_slow_edge_holds_up_no_other() {
    let relay = relay("");
    let mut up = relay.begin(0);
    let (mut fast, link) = Edge::linked(&relay, &mut up, 0).await;
    let _slow = Edge::linked(&relay, &mut up, 0).await;
    entry(&relay, 1, "");
    fast.hear().await;
    fast.say(&FromNode::Applied { seq: 1 }).await;
    let said = tokio::time::timeout(PATIENCE, relay.acknowledgement()).await.unwrap();
    assert_eq!(said, AppliedBehind { all: None, links: vec![(link, 1)] });
}

/// What an edge does not take is bounded: entries by those that are kept, lines by the queue.
#[tokio::test]
async fn an_edge_that_takes_nothing_is_cut_off() {
    let relay = relay("relay_queue = \"64KiB\"");
    let mut up = relay.begin(0);
    let (mut edge, link) = Edge::linked(&relay, &mut up, 0).await;
    let line = unread(&json!("x".repeat(10_000)));
    let before = relay.dropped();
    for _ in 0..20 {
        relay.line(link, &line);
    }
    assert_eq!((relay.links(), relay.dropped()), (0, before + 1));
    // It is told by the end of the connection, after what was under way.
    while edge.hear().await.is_some() {}
    edge.served.await.unwrap();
}

#[tokio::test]
async fn who_cannot_be_attached_is_told_why() {
    let relay = relay("relay_edges = 1\nrelay_entries = \"1MiB\"");
    let refused = async |edge: Edge, part: &str| {
        let mut edge = edge;
        match edge.hear_relay().await {
            FromRelay::Refused { reason } => assert!(reason.contains(part), "{reason}"),
            other => panic!("{other:?}"),
        }
        edge.served.await.unwrap();
    };
    // Before it is greeted: who only looks sees that it is not well.
    refused(Edge::connect(&relay, 1 << 16), "no connection to control").await;
    let mut up = relay.begin(4);
    refused(Edge::show(&relay, 3, 1 << 16).await, "no longer has").await;
    refused(Edge::show(&relay, 5, 1 << 16).await, "the relay is behind").await;
    let edge = Edge::show(&relay, 4, 1 << 16).await;
    let Some(FromNode::Link { link, .. }) = up.recv().await else { panic!("no link") };
    relay.unlinked(link, "control says no".to_owned());
    refused(edge, "control says no").await;
    assert_eq!(up.recv().await, Some(FromNode::Unlink { link }));
    let _linked = Edge::linked(&relay, &mut up, 4).await;
    refused(Edge::connect(&relay, 1 << 16), "1 edges").await;
    relay.end();
    refused(Edge::connect(&relay, 1 << 16), "no connection to control").await;
}

/// An edge that has applied a little more than the relay is attached once the relay has too.
#[tokio::test]
async fn an_edge_that_is_ahead_waits() {
    let relay = relay("");
    let mut up = relay.begin(4);
    let mut edge = Edge::show(&relay, 5, 1 << 16).await;
    entry(&relay, 5, "");
    let Some(FromNode::Link { link, .. }) = up.recv().await else { panic!("no link") };
    relay.linked(link);
    assert_eq!(edge.hear_relay().await, FromRelay::Linked);
}

/// The relay lost control and found another, whose log has other entries under the same seqs: no edge
/// of before gets those, and nothing that it says counts for an edge of now.
#[tokio::test]
async fn links_end_with_the_connection_to_control() {
    let relay = relay("");
    let mut up = relay.begin(4);
    let (mut old, old_link) = Edge::linked(&relay, &mut up, 4).await;
    let mut up = relay.begin(4);
    entry(&relay, 5, "of another log");
    assert!(relay.entries(old_link, 4, 1).is_err());
    assert_eq!(old.hear().await, None);
    let (mut new, link) = Edge::linked(&relay, &mut up, 5).await;
    assert!(link > old_link, "no number is used twice");
    relay.edge_applied(old_link, 9);
    new.say(&FromNode::Applied { seq: 5 }).await;
    assert_eq!(relay.acknowledgement().await, AppliedBehind { all: Some(5), links: vec![] });
    relay.end();
    assert_eq!(new.hear().await, None);
    assert_eq!(relay.links(), 0);
}
