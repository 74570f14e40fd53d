//! One client that takes what all share: connections, connections to an origin, requests that wait for
//! one, and the memory of bodies on their way into the store. 127.0.0.2, 127.0.0.3 and so on are the clients.

mod program;
mod support;
use program::Weir;
use support::*;

const REFUSED_CONNECTIONS: &str = "weir_client_share_refused_connections_total";
const REFUSED_REQUESTS: &str = "weir_client_share_refused_requests_total";

/// A node with these keys of `[limits]` that counts loopback addresses like others.
fn edge_with(limits: &str) -> EdgeBuilder {
    edge().tables(&format!("[limits]\nprivate_clients = true\n{limits}"))
}

/// The value of a series.
fn metric(edge: &Edge, series: &str) -> u64 {
    let metrics = edge.node.metrics();
    let value = metrics.lines().find_map(|line| line.strip_prefix(&format!("{series} ")));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {series}: {metrics}"))
}

/// Connections of one client, each with a request that the origin holds.
async fn busy(edge: &Edge, client: u8, count: usize) -> Vec<Client> {
    let mut all = Vec::new();
    for n in 1..=count {
        let mut one = edge.connect_from(client).await;
        one.request("GET", "/held", &[], "").await;
        edge.until_waiting("/held", n).await;
        all.push(one);
    }
    all
}

async fn get_from(edge: &Edge, client: u8, target: &str) -> (Client, Answer) {
    let mut connection = edge.connect_from(client).await;
    connection.request("GET", target, &[], "").await;
    let answer = connection.answer("GET").await;
    (connection, answer)
}

#[tokio::test]
async fn a_client_that_holds_most_connections_leaves_room_for_others() {
    let origin = Origin::start().await;
    origin.route("/held", held("held").max_age(60));
    origin.default_route(reply("hello").max_age(60));
    let edge = edge_with("connections = 64").origin(&origin).start();
    // Three quarters of them, and the one with which they are exceeded.
    let busy = busy(&edge, 2, 49).await;
    for refusals in 1..=3 {
        let (_, refused) = get_from(&edge, 2, "/a").await;
        assert_eq!(refused.status, 503);
        assert_eq!(refused.field("retry-after"), Some("1"));
        assert_eq!(refused.field("cache-status"), Some("edge; detail=client-share"));
        assert_eq!(metric(&edge, REFUSED_CONNECTIONS), refusals);
    }
    let mut others = Vec::new();
    for client in 3..10 {
        let (connection, answer) = get_from(&edge, client, "/a").await;
        assert_eq!(answer.line(), "200 hello", "127.0.0.{client}");
        others.push(connection);
        let (_, miss) = get_from(&edge, client, &format!("/{client}")).await;
        assert_eq!(miss.handled(), "fwd=uri-miss; fwd-status=200; stored");
    }
    assert_eq!(metric(&edge, "weir_connections_refused_total"), 0);
    assert_eq!(metric(&edge, REFUSED_CONNECTIONS), 3);
    origin.release("/held");
    for mut client in busy {
        assert_eq!(client.answer("GET").await.line(), "200 held");
    }
}

#[tokio::test]
async fn a_client_above_its_share_loses_its_own_idle_connections_and_no_other_does() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60));
    let edge = edge_with("connections = 64").workers(1).origin(&origin).start();
    let (mut other, _) = get_from(&edge, 3, "/a").await;
    let mut idle = Vec::new();
    for _ in 0..80 {
        let (connection, answer) = get_from(&edge, 2, "/a").await;
        assert_eq!(answer.line(), "200 hello");
        idle.push(connection);
    }
    assert!(idle[0].is_closed().await, "its longest idle connection");
    let open = || metric(&edge, "weir_connections_open");
    until("its others to be closed", open, |open| *open <= 50).await;
    other.request("GET", "/a", &[], "").await;
    assert_eq!(other.answer("GET").await.handled(), "hit");
    assert_eq!(metric(&edge, REFUSED_CONNECTIONS), 0);
}

#[tokio::test]
async fn at_the_limit_the_client_with_most_connections_loses_an_idle_one() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60));
    let edge = edge_with("connections = 64").workers(1).origin(&origin).start();
    let (mut longest_idle, _) = get_from(&edge, 3, "/a").await;
    let mut most = Vec::new();
    for _ in 0..40 {
        most.push(get_from(&edge, 2, "/a").await.0);
    }
    let mut others = Vec::new();
    for client in 4..27 {
        others.push(get_from(&edge, client, "/a").await.0);
    }
    assert_eq!(metric(&edge, "weir_connections_open"), 64);
    let (_newcomer, answer) = get_from(&edge, 27, "/a").await;
    assert_eq!(answer.handled(), "hit");
    assert!(most[0].is_closed().await);
    longest_idle.request("GET", "/a", &[], "").await;
    assert_eq!(longest_idle.answer("GET").await.handled(), "hit");
}

#[tokio::test]
async fn two_thousand_browsers_behind_one_address_are_not_refused() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60));
    let edge = edge_with("").origin(&origin).start();
    let mut browsers = Vec::new();
    for n in 0..2000 {
        let mut browser = edge.connect_from(2).await;
        browser.request("GET", &format!("/{n}"), &[], "").await;
        browsers.push(browser);
    }
    for browser in &mut browsers {
        assert_eq!(browser.answer("GET").await.line(), "200 hello");
    }
    assert_eq!(metric(&edge, "weir_connections_open"), 2000);
    for browser in &mut browsers {
        browser.request("GET", "/1", &[], "").await;
    }
    for browser in &mut browsers {
        assert_eq!(browser.answer("GET").await.handled(), "hit");
    }
    for refused in [REFUSED_CONNECTIONS, REFUSED_REQUESTS, "weir_shed_requests_total"] {
        assert_eq!(metric(&edge, refused), 0, "{refused}");
    }
}

#[tokio::test]
async fn private_clients_and_trusted_proxies_may_take_all_connections() {
    let origin = Origin::start().await;
    let plain = edge().tables("[limits]\nconnections = 16");
    let trusting = node("name = \"edge\"\ntrusted_proxies = [\"127.0.0.2\"]")
        .tables("[limits]\nconnections = 16\nprivate_clients = true");
    for builder in [plain, trusting] {
        origin.route("/held", held("held").max_age(60));
        let edge = builder.origin(&origin).start();
        let busy = busy(&edge, 2, 16).await;
        assert_eq!(metric(&edge, REFUSED_CONNECTIONS), 0);
        origin.release("/held");
        for mut client in busy {
            assert_eq!(client.answer("GET").await.line(), "200 held");
        }
    }
}

/// How many requests run at, or wait for, the member at `url`.
async fn until_running(edge: &Edge, pool: &str, url: &str, count: u64) {
    let series = format!("weir_upstream_member_running{{pool=\"{pool}\",member=\"{url}\"}}");
    until("requests to wait", || metric(edge, &series), |running| *running == count).await;
}

/// Requests that the origin holds, each of which needs a place of its own there: one that has it and
/// 49 that wait, which is one more than three quarters of a queue of 64.
async fn crowd(edge: &Edge, origin: &Origin, client: u8, fields: &[(&str, &str)]) -> Vec<Client> {
    let mut all = Vec::new();
    for n in 1..=50 {
        let mut one = edge.connect_from(client).await;
        one.request("POST", "/held", fields, "").await;
        until_running(edge, "site", &origin.url(), n).await;
        all.push(one);
    }
    all
}

#[tokio::test]
async fn a_client_with_many_requests_at_the_origin_leaves_connections_to_others() {
    let origin = Origin::start().await;
    origin.route("/held", held("held"));
    origin.default_route(reply("hello").max_age(60));
    let edge = edge_with("origin_connections = 64").origin(&origin).start();
    let mut crowd = Vec::new();
    for n in 1..=80 {
        let mut one = edge.connect_from(2).await;
        one.request("POST", "/held", &[], "").await;
        until_running(&edge, "site", &origin.url(), n).await;
        crowd.push(one);
    }
    // Three quarters of them, and the one that passes them; the others of this client wait.
    until("requests at the origin", || origin.fetches("/held"), |count| *count == 49).await;
    let (_, other) = get_from(&edge, 3, "/a").await;
    assert_eq!(other.handled(), "fwd=uri-miss; fwd-status=200; stored");
    assert_eq!(origin.fetches("/held"), 49);
    assert_eq!(metric(&edge, REFUSED_REQUESTS), 0, "they wait, nobody is refused");
    origin.release("/held");
    for mut client in crowd {
        assert_eq!(client.answer("POST").await.line(), "200 held");
    }
}

const ONE_PLACE: &str = "origin_connections = 1\norigin_queue = 64";

#[tokio::test]
async fn a_client_whose_requests_wait_leaves_room_in_the_queue_for_others() {
    let origin = Origin::start().await;
    origin.route("/held", held("held"));
    origin.default_route(reply("hello").max_age(60));
    let edge = edge_with(ONE_PLACE).origin(&origin).start();
    let (_, stored) = get_from(&edge, 2, "/stored").await;
    assert_eq!(stored.status, 200);
    let crowd = crowd(&edge, &origin, 2, &[]).await;
    let (_, refused) = get_from(&edge, 2, "/a").await;
    assert_eq!((refused.status, refused.field("retry-after")), (503, Some("1")));
    assert_eq!(refused.handled(), "fwd=uri-miss; detail=client-share");
    assert_eq!(metric(&edge, REFUSED_REQUESTS), 1);
    assert_eq!(metric(&edge, "weir_shed_requests_total"), 0, "the node has room for others");
    assert_eq!(metric(&edge, "weir_upstream_errors_total{kind=\"client-share\"}"), 1);
    // What needs no origin is not refused.
    assert_eq!(get_from(&edge, 2, "/stored").await.1.handled(), "hit");
    let mut others = Vec::new();
    for client in 3..10 {
        let mut other = edge.connect_from(client).await;
        other.request("GET", &format!("/{client}"), &[], "").await;
        until_running(&edge, "site", &origin.url(), 51 + others.len() as u64).await;
        others.push(other);
    }
    origin.release("/held");
    for mut client in crowd {
        assert_eq!(client.answer("POST").await.line(), "200 held");
    }
    for mut other in others {
        assert_eq!(other.answer("GET").await.line(), "200 hello");
    }
    assert_eq!(metric(&edge, REFUSED_REQUESTS), 1);
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_client_that_it_names_is_counted() {
    let origin = Origin::start().await;
    origin.route("/held", held("held"));
    origin.default_route(reply("hello").max_age(60));
    let edge = node("name = \"edge\"\ntrusted_proxies = [\"127.0.0.9\"]")
        .tables(&format!("[limits]\n{ONE_PLACE}"))
        .origin(&origin)
        .start();
    let named = |client: &'static str| [("X-Forwarded-For", client)];
    let crowd = crowd(&edge, &origin, 9, &named("2001:db8::1")).await;
    let mut proxy = edge.connect_from(9).await;
    // Of the same /64.
    proxy.request("GET", "/a", &named("2001:db8::ffff:1"), "").await;
    assert_eq!(proxy.answer("GET").await.handled(), "fwd=uri-miss; detail=client-share");
    // Others: of the next /64, a private one, and the proxy itself.
    let mut others = Vec::new();
    for (n, fields) in
        [&named("2001:db8:0:1::1")[..], &named("10.0.0.1"), &[]].into_iter().enumerate()
    {
        let mut other = edge.connect_from(9).await;
        other.request("GET", &format!("/{n}"), fields, "").await;
        until_running(&edge, "site", &origin.url(), 51 + n as u64).await;
        others.push(other);
    }
    origin.release("/held");
    for mut client in crowd.into_iter().chain(others) {
        assert_eq!(client.answer("GET").await.status, 200);
    }
}

#[tokio::test]
async fn a_parent_counts_the_client_that_an_edge_names() {
    let limits = format!("[limits]\nprivate_clients = true\n{ONE_PLACE}");
    let tiers = Tiers::start(&limits).await;
    let Tiers { origin, parent: (parent, _), edges: [(edge, _), _], .. } = &tiers;
    origin.route("/held", held("held"));
    origin.default_route(reply("hello").max_age(60));
    let mut crowd = Vec::new();
    for n in 1..=50 {
        let mut one = edge.connect_from(2).await;
        one.request("POST", "/held", &[], "").await;
        until_running(parent, "site", &origin.url(), n).await;
        crowd.push(one);
    }
    let (_, refused) = get_from(edge, 2, "/a").await;
    assert_eq!((refused.status, refused.field("retry-after")), (503, Some("1")));
    assert_eq!(refused.handled_by("edge-1"), "fwd=uri-miss; detail=client-share");
    assert_eq!(metric(parent, REFUSED_REQUESTS), 1);
    let mut other = edge.connect_from(3).await;
    other.request("GET", "/b", &[], "").await;
    until_running(parent, "site", &origin.url(), 51).await;
    origin.release("/held");
    for mut client in crowd.into_iter().chain([other]) {
        assert_eq!(client.answer("GET").await.status, 200);
    }
}

#[tokio::test]
async fn connections_of_a_node_count_for_no_client() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60));
    let limits = "[limits]\nprivate_clients = true\nconnections = 64";
    let parent = parent_of("parent", &origin, limits).workers(1).start();
    let log = Log::new("one");
    let _leash = log.lead(&parent).await;
    let node = [("weir-tier-key", "key of one"), ("weir-seq", "one/0/0")];
    let stranger = [("weir-tier-key", "key of one"), ("weir-seq", "two/0/0")];
    let mut nodes = Vec::new();
    // A node takes as many as it likes. Who passes for one, from the same address, does not.
    for (fields, count, status, closed) in [(&node, 60, 200, 0), (&stranger, 3, 503, 1)] {
        for _ in 0..count {
            let mut one = parent.connect_from(2).await;
            one.request("GET", "/a", fields, "").await;
            assert_eq!(one.answer("GET").await.status, status);
            nodes.push(one);
        }
        assert_eq!(metric(&parent, "weir_idle_connections_closed_total"), closed);
    }
    assert_eq!(metric(&parent, REFUSED_CONNECTIONS), 0);
}

#[tokio::test]
async fn who_joined_the_fill_of_a_refused_client_is_not_refused() {
    let origin = Origin::start().await;
    origin.route("/held", held("held"));
    origin.default_route(reply("hello").max_age(60));
    let edge = edge_with(ONE_PLACE).workers(1).origin(&origin).start();
    let crowd = crowd(&edge, &origin, 2, &[]).await;
    let (mut refused, mut others) = (Vec::new(), Vec::new());
    for client in 3..15 {
        refused.push(edge.connect_from(2).await);
        others.push(edge.connect_from(client).await);
    }
    // They arrive together, and the first one for each target starts its fill.
    for (n, (refused, other)) in refused.iter_mut().zip(&mut others).enumerate() {
        let target = format!("/{n}");
        refused.request("GET", &target, &[], "").await;
        other.request("GET", &target, &[], "").await;
    }
    until_running(&edge, "site", &origin.url(), 62).await;
    assert!(metric(&edge, REFUSED_REQUESTS) > 0);
    origin.release("/held");
    for mut client in crowd.into_iter().chain(others) {
        assert_eq!(client.answer("GET").await.status, 200);
    }
}

#[tokio::test]
async fn a_client_whose_bodies_fill_the_memory_leaves_room_to_store_those_of_others() {
    let origin = Origin::start().await;
    let large = || reply("").body_bytes(5 << 20).max_age(60).held_after(19 << 18);
    origin.route("/a", large());
    origin.route("/b", large());
    origin.default_route(reply("").body_bytes(200_000).max_age(60));
    // Half of it is for bodies that are being stored.
    let edge = edge_with("").tables("[memory]\nsize = \"24MiB\"").origin(&origin).start();
    let mut filling = Vec::new();
    for (client, target) in [(2, "/a"), (4, "/b")] {
        let mut one = edge.connect_from(client).await;
        one.request("GET", target, &[], "").await;
        filling.push(one);
    }
    let filled = |bytes: &u64| *bytes >= 19 << 19;
    until("both to arrive", || metric(&edge, "weir_filling_bytes"), filled).await;
    // The only body of a client is stored as long as there is room; this is its second one.
    let answers = [get_from(&edge, 2, "/c").await.1, get_from(&edge, 3, "/d").await.1];
    for answer in answers {
        assert_eq!((answer.status, answer.whole, answer.body.len()), (200, true, 200_000));
    }
    assert_eq!(metric(&edge, "weir_not_stored_total{reason=\"no-room-for-client\"}"), 1);
    assert_eq!(get_from(&edge, 2, "/d").await.1.handled(), "hit");
    assert_eq!(get_from(&edge, 3, "/c").await.1.handled(), "fwd=uri-miss; fwd-status=200; stored");
    for target in ["/a", "/b"] {
        origin.release(target);
    }
    for mut one in filling {
        assert!(one.answer("GET").await.whole);
    }
}

/// Who comes last to the queue of an origin does not wait for all that another client has put there.
#[tokio::test]
async fn clients_take_turns_in_the_queue_of_an_origin() {
    const CROWD: usize = 20;
    let origin = Origin::start().await;
    origin.route("/held", held("held"));
    origin.route("/queued/*", reply("queued"));
    let edge = edge_with("origin_connections = 1").workers(1).origin(&origin).start();
    let mut first = edge.connect_from(2).await;
    first.request("GET", "/held", &[], "").await;
    origin.until_requests("/held", 1).await;
    let running = "weir_upstream_member_running";
    let running = || {
        let metrics = edge.node.metrics();
        let line = metrics.lines().find(|line| line.starts_with(running)).map(str::to_owned);
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0_usize)
    };
    let mut queued = Vec::new();
    for (client, n) in (0..CROWD).map(|n| (2, n)).chain([(3, CROWD)]) {
        let mut one = edge.connect_from(client).await;
        one.request("GET", &format!("/queued/{client}/{n}"), &[], "").await;
        until("it to be in the queue", running, |running| *running == n + 2).await;
        queued.push(one);
    }
    origin.release("/held");
    for mut one in queued {
        assert_eq!(one.answer("GET").await.line(), "200 queued");
    }
    let asked = origin.requests("/queued/*");
    let at = asked.iter().position(|asked| asked.path().starts_with("/queued/3/"));
    assert!(at.is_some_and(|at| at <= 1), "after {at:?} others of {}", asked.len());
}

#[tokio::test]
async fn a_proxy_that_is_not_trusted_is_named_once() {
    let origin = Origin::start().await;
    origin.default_route(reply("hello").max_age(60));
    let weir = Weir::serve(&["--origin", &origin.url()]);
    let mut connections = Vec::new();
    for n in 0..20 {
        let mut one = Client::connect_from([127, 0, 0, 2].into(), weir.listen).await;
        let fields: &[(&str, &str)] = match n {
            // They hold most connections, and nothing says that they are forwarded.
            0..10 => &[],
            _ => &[("X-Forwarded-For", "192.0.2.1")],
        };
        one.request("GET", "/a", fields, "").await;
        assert_eq!(one.answer("GET").await.line(), "200 hello");
        connections.push(one);
    }
    weir.signal(rustix::process::Signal::TERM);
    let lines = weir.rest_of_log();
    let named: Vec<_> = lines.iter().filter(|line| line.contains("trusted_proxies")).collect();
    assert_eq!(named.len(), 1, "{lines:#?}");
    assert!(named[0].contains("127.0.0.2"), "{named:?}");
}
