//! What becomes of purges after they are applied: each is told what it took, however many come,
//! and the index forgets them without losing what is stored.

mod support;
use support::*;

async fn stored(targets: &[&str]) -> (Origin, Edge) {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(600).header("ETag", "\"1\""));
    let edge = edge().origin(&origin).start();
    for target in targets {
        edge.get(target).await;
    }
    (origin, edge)
}

/// A metric of the node without labels.
fn metric(edge: &Edge, name: &str) -> u64 {
    let text = edge.node.metrics();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
}

#[tokio::test]
async fn what_is_fetched_anew_at_once_was_taken_all_the_same() {
    let (_origin, edge) = stored(&["/a", "/b"]).await;
    for _ in 0..50 {
        let hard = edge.purge(path("/a"));
        assert_ne!(edge.get("/a").await.handled(), "hit");
        let soft = edge.soft_purge(path("/b"));
        edge.get("/b").await;
        edge.get("/b").await;
        assert_eq!((edge.matched(hard).await, edge.matched(soft).await), (1, 1));
    }
}

#[tokio::test]
async fn thousands_of_purges_at_once_are_each_told_what_they_took() {
    let paths: Vec<String> = (0..20).map(|number| format!("/{number}")).collect();
    let (_origin, edge) = stored(&paths.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let soft: Vec<u64> = paths.iter().map(|target| edge.soft_purge(path(target))).collect();
    let mut first = Vec::new();
    let mut later = Vec::new();
    for round in 0..200 {
        let seqs = paths.iter().map(|target| edge.purge(path(target)));
        if round == 0 { first.extend(seqs) } else { later.extend(seqs) }
    }
    for seq in soft.into_iter().chain(first) {
        assert_eq!(edge.matched(seq).await, 1, "{seq}");
    }
    for seq in later {
        assert_eq!(edge.matched(seq).await, 0, "{seq}");
    }
}

#[tokio::test]
async fn an_endless_stream_of_purges_takes_nothing_else() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(600));
    let edge = edge().origin(&origin).tables("[limits]\npurge_targets = 20000").start();
    edge.get("/a").await;
    // More than the index holds, in portions that it would hold twice.
    let stream = async || {
        for portion in 0..5_u32 {
            let mut last = 0;
            for number in 0..6_000_u32 {
                last = edge.purge(path(&format!("/else/{portion}/{number}")));
            }
            edge.matched(last).await;
            assert!(metric(&edge, "weir_purge_index_targets") <= 20_000);
        }
    };
    stream().await;
    assert_eq!(metric(&edge, "weir_purge_floor_seq"), 0);
    assert_eq!(edge.get("/a").await.handled(), "hit");
    // A fetch that began before all of them and is still running holds nothing up.
    origin.route("/slow", held("slow").max_age(600));
    let waiting = edge.get_many("/slow", 1);
    edge.until_waiting("/slow", 1).await;
    stream().await;
    assert!(metric(&edge, "weir_purge_floor_seq") > 0, "what that fetch could miss is forgotten");
    assert_eq!(edge.get("/a").await.handled(), "hit", "it was judged since");
    origin.release("/slow");
    for answer in waiting.answers().await {
        assert_eq!((answer.head.status, answer.text()), (200, "slow".into()));
    }
    assert_eq!(metric(&edge, "weir_sweep_uncounted_purges_total"), 0);
}
