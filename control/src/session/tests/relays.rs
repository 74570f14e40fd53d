//! Edges behind a relay, of which the test has all ends.

use super::*;
use crate::events::Event;
use serde_json::json;
use weir_protocol::relay::Ticket;
use weir_protocol::unread::Unread;
use weir_rules::relay::{AppliedBehind, Link};

impl ScriptedNode {
    async fn join_as_parent(&mut self, name: &str) {
        let hello = Hello { tier: Tier::Parent, ..hello(name) };
        self.say(&FromNode::Hello(hello)).await;
        let welcome = self.hear().await;
        assert!(matches!(welcome, Some(FromControl::Welcome(_))), "{welcome:?}");
    }

    async fn ticket_to(&mut self, relay: &str) -> Ticket {
        self.say(&FromNode::Attach { relay: relay.to_owned() }).await;
        match self.hear().await {
            Some(FromControl::Ticket { relay: of, ticket: Ok(ticket) }) if of == relay => ticket,
            other => panic!("{other:?}"),
        }
    }

    /// What it hears next that is no heartbeat for an edge either.
    async fn hear_of_relaying(&mut self) -> Option<FromControl> {
        loop {
            match self.hear().await {
                Some(FromControl::Relayed { line, .. }) if read(&line)["frame"] == "heartbeat" => {}
                other => return other,
            }
        }
    }

    async fn says_all_applied(&mut self, seq: Seq, except: &[(Link, Seq)]) {
        self.say(&FromNode::AppliedBehind(AppliedBehind {
            all: Some(seq),
            links: except.to_vec(),
        }))
        .await;
    }
}

fn read(line: &Unread) -> Value {
    line.read().unwrap()
}

/// A parent of this name, and an edge that is attached to it by this link.
async fn attached(world: &World, relay: &str, edge: &str, link: Link) -> ScriptedNode {
    let (mut parent, mut node) = (world.connect(1 << 20), world.connect(1 << 20));
    parent.join_as_parent(relay).await;
    node.join(edge).await;
    let ticket = node.ticket_to(relay).await;
    parent.say(&FromNode::Link { link, ticket }).await;
    assert_eq!(parent.hear_of_relaying().await, Some(FromControl::Linked { link }));
    // The connection of its own is over.
    assert_eq!(node.hear().await, None);
    parent
}

impl World {
    fn is_completed(&self, seq: Seq) -> bool {
        let listed = self.control.ledger.list(seq - 1, 1, |_| true);
        listed[0].completed().is_some()
    }

    async fn until_completed(&self, seq: Seq) {
        let listed = self.control.ledger.list(seq - 1, 1, |_| true);
        timeout(PATIENCE, self.control.ledger.until_completed(&listed[0])).await.unwrap();
    }

    /// The relay of a node.
    fn via(&self, name: &str) -> Option<String> {
        let nodes = self.control.ledger.nodes(Instant::now());
        nodes.into_iter().find(|node| node.name == name)?.via.map(|via| via.to_string())
    }

    async fn until_offline(&self, name: &str) {
        let offline = async {
            while !self.states().contains(&(name.to_owned(), "offline")) {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, offline).await.unwrap();
    }
}

#[tokio::test]
async fn a_relay_speaks_for_an_edge_until_that_goes_elsewhere() {
    let world = World::new();
    let mut parent = attached(&world, "p", "e", 1).await;
    assert_eq!((world.via("e").as_deref(), world.via("p")), (Some("p"), None));
    let first = world.purge("/a").await;
    let entry = parent.hear_of_relaying().await;
    assert!(matches!(&entry, Some(FromControl::Entry(entry)) if entry.seq == first), "{entry:?}");
    parent.says_all_applied(first, &[(1, 0)]).await;
    parent.say(&FromNode::Applied { seq: first }).await;
    // What control hears later it has heard after that.
    parent.say(&FromNode::Link { link: 2, ticket: Ticket::new(&[0; 32]) }).await;
    let unlinked = parent.hear_of_relaying().await;
    assert!(matches!(unlinked, Some(FromControl::Unlinked { link: 2, .. })), "{unlinked:?}");
    assert!(!world.is_completed(first), "all except this one");
    parent.says_all_applied(first, &[]).await;
    world.until_completed(first).await;
    // The edge comes to control itself.
    let second = world.purge("/b").await;
    let mut edge = world.connect(1 << 20);
    edge.join("e").await;
    let entry = parent.hear_of_relaying().await;
    assert!(matches!(entry, Some(FromControl::Entry(_))), "{entry:?}");
    let unlinked = parent.hear_of_relaying().await;
    assert!(matches!(unlinked, Some(FromControl::Unlinked { link: 1, .. })), "{unlinked:?}");
    assert_eq!(world.via("e"), None);
    parent.say(&FromNode::Applied { seq: second }).await;
    parent.says_all_applied(second, &[]).await;
    parent.say(&FromNode::Link { link: 3, ticket: Ticket::new(&[0; 32]) }).await;
    parent.hear_of_relaying().await;
    assert!(!world.is_completed(second), "it is not one of all any more");
    edge.say(&FromNode::Applied { seq: second }).await;
    world.until_completed(second).await;
}

#[tokio::test]
async fn what_an_edge_says_through_a_relay_means_what_it_always_means() {
    let world = World::new();
    let mut parent = attached(&world, "p", "e", 7).await;
    let through = |line: &FromNode| FromNode::Relayed { link: 7, line: Unread::of(line).unwrap() };
    parent.say(&through(&FromNode::Alive(Stats { requests: 5, ..Stats::default() }))).await;
    // A heartbeat tells the edge that control has heard it.
    let heard = async {
        loop {
            if let Some(FromControl::Relayed { link: 7, line }) = parent.hear().await
                && read(&line)["frame"] == "heartbeat"
                && read(&line)["heard"] == 1
            {
                return read(&line)["head"].clone();
            }
        }
    };
    assert_eq!(heard.await, 0);
    let nodes = world.control.ledger.nodes(Instant::now());
    let stats = nodes.iter().find(|node| node.name == "e").unwrap().stats.as_deref().unwrap();
    assert_eq!(stats.requests, 5);
    // A question and its answer.
    let (control, session) = (world.control.clone(), nodes[0].session.unwrap());
    let asked = tokio::spawn(async move {
        let question = Question::PurgedUrls { seq: 1, most: 1 };
        control.sessions.ask(session, question, PATIENCE).await
    });
    let Some(FromControl::Relayed { link: 7, line }) = parent.hear_of_relaying().await else {
        panic!("no question")
    };
    let line = read(&line);
    assert_eq!(line["what"]["question"], "purged_urls");
    let ask = line["ask"].as_u64().unwrap();
    parent.say(&through(&FromNode::Answer { ask, result: Ok(json!([])) })).await;
    assert_eq!(asked.await.unwrap(), Ok(json!([])));
    parent.say(&through(&FromNode::Leave)).await;
    let unlinked = parent.hear_of_relaying().await;
    assert!(matches!(unlinked, Some(FromControl::Unlinked { link: 7, .. })), "{unlinked:?}");
    assert_eq!(world.states(), [("p".to_owned(), "connected")]);
}

#[tokio::test]
async fn an_edge_is_away_when_its_relay_or_the_link_ends() {
    let world = World::new();
    let mut parent = attached(&world, "p", "e", 1).await;
    parent.say(&FromNode::Unlink { link: 1 }).await;
    world.until_offline("e").await;
    let parent = attached(&world, "p-2", "e", 1).await;
    drop(parent);
    world.until_offline("e").await;
    world.until_offline("p-2").await;
    // The relay is heard, and the edge is not.
    let mut parent = attached(&world, "p-3", "e", 1).await;
    let unlinked = loop {
        parent.say(&FromNode::Applied { seq: 0 }).await;
        if let Ok(line) = timeout(Duration::from_millis(100), parent.hear_of_relaying()).await {
            break line;
        }
    };
    assert!(
        matches!(&unlinked, Some(FromControl::Unlinked { link: 1, reason }) if reason.contains("silent")),
        "{unlinked:?}"
    );
    world.until_offline("e").await;
}

/// Nothing that was begun for an edge outlives the relay's connection, however early that ends.
#[tokio::test]
async fn an_edge_whose_relay_ends_while_it_is_attached_has_parted() {
    let world = World::new();
    for n in 0..20 {
        let (mut parent, mut node) = (world.connect(1 << 20), world.connect(1 << 20));
        parent.join_as_parent("p").await;
        node.join("e").await;
        let ticket = node.ticket_to("p").await;
        let (mut events, _room) = world.control.events.listen().unwrap();
        parent.say(&FromNode::Link { link: 1, ticket }).await;
        for _ in 0..n % 4 {
            tokio::task::yield_now().await;
        }
        drop(parent);
        let parted = async {
            loop {
                if let Event::Node("parted", said) = events.recv().await.unwrap()
                    && said["node"] == "e"
                {
                    return;
                }
            }
        };
        timeout(PATIENCE, parted).await.expect("it is reported");
        world.until_offline("e").await;
        world.until_offline("p").await;
    }
}

#[tokio::test]
async fn who_relays_what_it_must_not_is_dropped() {
    let world = World::new();
    let ticket = Ticket::new(&[7; 32]);
    for (n, line) in [
        FromNode::Link { link: 1, ticket: ticket.clone() },
        FromNode::Unlink { link: 1 },
        FromNode::Relayed { link: 1, line: Unread::of(&json!({})).unwrap() },
        FromNode::AppliedBehind(AppliedBehind { all: Some(0), links: vec![] }),
        FromNode::Attach { relay: "p".repeat(65) },
    ]
    .iter()
    .enumerate()
    {
        let mut edge = world.connect(1 << 20);
        edge.join(&format!("e-{n}")).await;
        edge.say(line).await;
        assert_eq!(edge.hear().await, None, "{line:?}");
    }
    // A parent that acknowledges what is not in the log, or uses a number twice.
    let mut parent = attached(&world, "p", "e", 1).await;
    parent.says_all_applied(1, &[]).await;
    assert_eq!(parent.hear_of_relaying().await, None);
    let mut parent = attached(&world, "p", "e", 5).await;
    let mut other = world.connect(1 << 20);
    other.join("other").await;
    let ticket = other.ticket_to("p").await;
    parent.say(&FromNode::Link { link: 5, ticket }).await;
    assert_eq!(parent.hear_of_relaying().await, None);
    // A line of an edge that is malformed costs that edge its link, and the relay nothing.
    let mut parent = attached(&world, "p", "e", 1).await;
    let line = Unread::of(&json!({"frame": 7})).unwrap();
    parent.say(&FromNode::Relayed { link: 1, line }).await;
    let unlinked = parent.hear_of_relaying().await;
    assert!(
        matches!(&unlinked, Some(FromControl::Unlinked { link: 1, reason }) if reason.contains("malformed")),
        "{unlinked:?}"
    );
    let mut parents = world.connect(1 << 20);
    parents.join_as_parent("q").await;
    parents.say(&FromNode::Attach { relay: "p".to_owned() }).await;
    let answer = parents.hear().await;
    assert!(matches!(answer, Some(FromControl::Ticket { ticket: Err(_), .. })), "{answer:?}");
}
