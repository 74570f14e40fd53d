use super::*;
use crate::process::Alone;
use std::time::Instant;
use weir_acme::Way;
use weir_config::Config;

fn shelf() -> Arc<Shelf> {
    let secret = "s".repeat(32);
    let text = format!(
        "[control]\ndata = \"/d\"\n[tls]\n[tls.acme]\nsecret = \"{secret}\"\n\
         [[site]]\nhosts = [\"a.test\", \"b.test\"]\ntls = \"auto\"\norigins = [\"http://o\"]\n"
    );
    let process = Process::new(Alone, Config::from_toml(&text).unwrap(), watch::channel(false).1);
    Arc::new(Shelf::new(Arc::new(process), None))
}

fn sites(hosts: &[&str]) -> Vec<SiteHosts> {
    let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
    vec![SiteHosts { id: "shop".to_owned(), hosts }]
}

fn edge(shelf: &Shelf, number: u64, hosts: &[&str]) -> SessionId {
    let session = SessionId::of(number);
    shelf.begin(session, &format!("edge-{number}"), sites(hosts));
    session
}

/// The edge lacks whatever there is; what it is sent.
fn sent(shelf: &Shelf, session: SessionId) -> Vec<String> {
    if let Next::Ask(names) = shelf.next(session) {
        shelf.lacks(session, names.clone(), Some(names));
    }
    let mut sent = Vec::new();
    while let Next::Send(items, ended) = shelf.next(session) {
        let names: Vec<_> = items.into_iter().map(|item| item.name).collect();
        sent.extend(names.iter().map(|name| format!("{} {}", name.purpose.word(), name.host)));
        sent.extend(ended.iter().map(|host| format!("over {host}")));
        shelf.took(session, &names, &ended);
    }
    sent
}

fn certificate(shelf: &Shelf, host: &str) -> Sealed {
    shelf.seal(Purpose::Certificate, host, b"key").unwrap()
}

fn proof() -> Proof {
    Proof { way: Way::Http, token: "t".to_owned(), key_authorization: "t.x".to_owned() }
}

#[test]
fn an_edge_gets_what_is_for_its_hosts_and_no_more() {
    let shelf = shelf();
    shelf.restore(vec![certificate(&shelf, "a.test"), certificate(&shelf, "b.test")]);
    shelf.put(shelf.seal(Purpose::Tickets, "", b"keys").unwrap());
    let a = edge(&shelf, 1, &["a.test"]);
    let all = edge(&shelf, 2, &["*"]);
    assert_eq!(sent(&shelf, a), ["certificate a.test", "tickets "]);
    assert_eq!(sent(&shelf, all), ["certificate a.test", "certificate b.test", "tickets "]);
    shelf.put(certificate(&shelf, "b.test"));
    assert!(sent(&shelf, a).is_empty());
    assert_eq!(sent(&shelf, all), ["certificate b.test"]);
    // What it has from before it need not get again.
    let again = edge(&shelf, 3, &["a.test"]);
    let Next::Ask(names) = shelf.next(again) else { panic!("it is not asked") };
    shelf.lacks(again, names, Some(Vec::new()));
    assert!(sent(&shelf, again).is_empty());
    let without = edge(&shelf, 4, &["a.test"]);
    shelf.lacks(without, Vec::new(), None);
    assert!(sent(&shelf, without).is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_order_goes_on_once_every_edge_of_the_host_has_the_answer() {
    let shelf = shelf();
    shelf.put(certificate(&shelf, "a.test"));
    let (first, second) = (edge(&shelf, 1, &["a.test"]), edge(&shelf, 2, &["a.test"]));
    let other = edge(&shelf, 3, &["b.test"]);
    for session in [first, second, other] {
        sent(&shelf, session);
    }
    let order = tokio::spawn({
        let shelf = shelf.clone();
        async move { shelf.answer("a.test", &proof()).await }
    });
    let mut changes = shelf.changes();
    changes.mark_changed();
    while sent(&shelf, first).is_empty() {
        tokio::task::yield_now().await;
    }
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert!(!order.is_finished(), "one edge lacks the answer");
    assert_eq!(sent(&shelf, second), ["challenge a.test"]);
    order.await.unwrap().unwrap();
    assert!(sent(&shelf, other).is_empty());
    Stage::end(&*shelf, "a.test");
    assert_eq!(sent(&shelf, first), ["over a.test"]);
}

#[tokio::test(start_paused = true)]
async fn an_edge_that_takes_nothing_is_waited_for_for_a_bounded_time_and_not_again() {
    let shelf = shelf();
    shelf.put(certificate(&shelf, "a.test"));
    let silent = edge(&shelf, 1, &["a.test"]);
    sent(&shelf, silent);
    let begin = tokio::time::Instant::now();
    shelf.answer("a.test", &proof()).await.unwrap();
    assert_eq!(begin.elapsed(), LONGEST_WAIT);
    shelf.fails(silent);
    let begin = Instant::now();
    shelf.answer("a.test", &proof()).await.unwrap();
    assert!(begin.elapsed() < LONGEST_WAIT);
    assert!(!shelf.reaches("a.test"), "nobody would answer the CA");
    let takes = edge(&shelf, 2, &["a.test"]);
    sent(&shelf, takes);
    assert!(shelf.reaches("a.test") && !shelf.reaches("b.test"));
    shelf.end(takes);
    assert!(!shelf.reaches("a.test"));
}
