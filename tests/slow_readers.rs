//! Clients that take a response slowly: they hold no place at an origin that others wait for.

mod support;
use support::*;

const LARGE: u64 = 16 << 20;

/// An origin that takes one request at a time, with a large response that is not stored, and a small one.
async fn origin() -> Origin {
    let origin = Origin::start().await;
    let large = reply("").body_bytes(LARGE).header("Cache-Control", "no-cache=\"x\", private");
    origin.route("/large", large);
    origin.route("/small", reply("small"));
    origin
}

fn in_front_of(origin: &Origin, limits: &str, more: &str) -> EdgeBuilder {
    edge()
        .origin(origin)
        .tables(&format!("[limits]\norigin_connections = 1\n{limits}\n[memory]\nsize = \"1GiB\"\n"))
        .tables(more)
}

/// Asks for the large response, and reads its head alone.
async fn stalled(edge: &Edge, fields: &[(&str, &str)]) -> Client {
    let mut client = edge.connect_slow().await;
    client.request("GET", "/large", fields, "").await;
    assert_eq!(client.head().await.status, 200);
    client
}

fn gauge(edge: &Edge, name: &str) -> u64 {
    let metrics = edge.node.metrics();
    let value = metrics.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name}: {metrics}"))
}

#[tokio::test]
async fn what_fits_into_memory_frees_the_origin_at_once() {
    let origin = origin().await;
    let edge = in_front_of(&origin, "read_ahead = \"32MiB\"", "").start();
    let _slow = stalled(&edge, &[]).await;
    assert_eq!(edge.get("/small").await.line(), "200 small");
    assert!(gauge(&edge, "weir_read_ahead_bytes") > LARGE / 4);
}

#[tokio::test]
async fn what_does_not_waits_in_a_file_and_arrives_whole() {
    let folder = std::env::temp_dir().join(format!("weir-slow-readers-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let origin = origin().await;
    let spool = format!("[spool]\npath = {folder:?}\n");
    let edge = in_front_of(&origin, "read_ahead = \"64KiB\"", &spool).start();
    let mut slow = edge.connect_slow().await;
    slow.request("GET", "/large", &[], "").await;
    let head = slow.head().await;
    assert_eq!(edge.get("/small").await.line(), "200 small");
    assert!(gauge(&edge, "weir_spool_bytes") > LARGE / 4);
    let answer = slow.rest("GET", head).await;
    assert!(answer.whole && pattern::first_difference(0, 0, &answer.body).is_none());
    assert_eq!(answer.body.len() as u64, LARGE);
    until("the file to be gone", || gauge(&edge, "weir_spool_bytes"), |bytes| *bytes == 0).await;
    std::fs::remove_dir_all(&folder).expect("an empty folder");
}

#[tokio::test]
async fn a_client_that_leaves_gives_its_memory_and_its_place_back() {
    let origin = origin().await;
    let edge = in_front_of(&origin, "read_ahead = \"64KiB\"", "").start();
    let slow = stalled(&edge, &[]).await;
    // Nothing frees the place while the client is there: nobody was slow for long enough.
    let waiting = edge.get_many("/small", 1);
    drop(slow);
    waiting.all("200 small").await;
    until("the memory to be free", || gauge(&edge, "weir_read_ahead_bytes"), |b| *b == 0).await;
}

#[tokio::test]
async fn a_fill_that_is_too_large_to_store_frees_the_origin_too() {
    let origin = origin().await;
    origin.route("/film", reply("").body_bytes(LARGE).max_age(60));
    let limits = "read_ahead = \"32MiB\"\nfill_window = \"64KiB\"";
    let edge = edge()
        .origin(&origin)
        .tables(&format!("[limits]\norigin_connections = 1\n{limits}\n"))
        .tables("[memory]\nsize = \"1GiB\"\nmax_object = \"1MiB\"")
        .start();
    let mut slow = edge.connect_slow().await;
    slow.request("GET", "/film", &[], "").await;
    let head = slow.head().await;
    assert_eq!(edge.get("/small").await.line(), "200 small");
    let answer = slow.rest("GET", head).await;
    assert!(answer.whole && answer.body.len() as u64 == LARGE);
}
