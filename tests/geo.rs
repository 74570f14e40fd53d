//! Countries of clients (`[geo]`): what rules match, what origins are told, and how the database is exchanged.

mod program;
mod support;

use program::{TextFile, run};
use support::*;

const NETWORKS: [(&str, &str); 4] = [
    ("192.0.2.0/24", "DE"),
    ("192.0.2.128/25", "AT"),
    ("198.51.100.0/24", "SE"),
    ("2001:db8::/32", "FR"),
];

/// A node with this database that believes this machine's proxies, so that clients have the addresses that they name.
fn edge_with(database: &ScratchFile) -> EdgeBuilder {
    node("name = \"edge\"\ntrusted_proxies = [\"127.0.0.0/8\"]")
        .tables(&format!("[geo]\ndatabase = {:?}\nreload = \"5ms\"\n", database.path()))
}

fn of(client: &str) -> [(&'static str, &str); 1] {
    [("X-Forwarded-For", client)]
}

/// An origin that shows the country that it was told.
async fn told() -> Origin {
    let origin = Origin::start().await;
    origin.default_route(answer_with(|request| {
        reply(request.header("X-Country").unwrap_or("none").to_owned()).max_age(60)
    }));
    origin
}

#[tokio::test]
async fn a_rule_matches_the_country_of_the_client_and_is_in_the_key() {
    let origin = told().await;
    let database = ScratchFile::new("a.mmdb", mmdb(&NETWORKS));
    let rules = "[[site.rule]]\nname = \"alps\"\nmatch = { country = [\"DE\", \"AT\"] }\n\
                 request_headers = { set = { X-Country = \"alps\" } }\n\
                 [[site.rule]]\nname = \"nowhere\"\nmatch = { country = [\"ZZ\"] }\n\
                 request_headers = { set = { X-Country = \"nowhere\" } }\n";
    let edge = edge_with(&database).origin(&origin).site(rules).start();
    for (client, country, handled) in [
        ("192.0.2.7", "alps", "fwd=uri-miss; fwd-status=200; stored"),
        ("192.0.2.200", "alps", "hit"),
        ("::ffff:192.0.2.7", "alps", "hit"),
        ("198.51.100.1", "none", "fwd=uri-miss; fwd-status=200; stored"),
        ("2001:db8::1", "none", "hit"),
        ("203.0.113.1", "nowhere", "fwd=uri-miss; fwd-status=200; stored"),
        ("2001:db9::1", "nowhere", "hit"),
    ] {
        let answer = edge.get_with("/a", &of(client)).await;
        assert_eq!(
            (answer.line(), answer.handled()),
            (format!("200 {country}"), handled.to_owned()),
            "{client}"
        );
    }
    // What names no client that can be read is not guessed from.
    assert_eq!(edge.get_with("/a", &of("unknown")).await.line(), "200 nowhere");
    let explained = edge.explain("/a");
    assert_eq!(explained.key, "http://example.com/a", "explain knows no client");
}

/// The header is weir's: what a client says of itself in it does not count.
#[tokio::test]
async fn the_country_is_sent_in_a_header_and_is_in_the_key() {
    let origin = told().await;
    let database = ScratchFile::new("a.mmdb", mmdb(&NETWORKS));
    let site = "[[site.rule]]\nname = \"country\"\nrequest_headers = { set = { X-Country = \"{country}\" } }\n";
    let edge = edge_with(&database).origin(&origin).site(site).start();
    for (client, country) in [
        ("192.0.2.7", "DE"),
        ("192.0.2.200", "AT"),
        ("198.51.100.1", "SE"),
        ("2001:db8::1", "FR"),
        ("10.0.0.1", "ZZ"),
    ] {
        for handled in ["fwd=uri-miss; fwd-status=200; stored", "hit"] {
            let fields = [of(client)[0], ("X-Country", "US")];
            let answer = edge.get_with("/a", &fields).await;
            assert_eq!(answer.line(), format!("200 {country}"), "{client}");
            assert_eq!(answer.handled(), handled, "{client}");
        }
    }
}

#[tokio::test]
async fn access_is_by_country_of_the_client_that_connects_or_is_named() {
    let origin = told().await;
    let database =
        ScratchFile::new("a.mmdb", mmdb(&[("127.0.0.3/32", "SE"), ("192.0.2.0/24", "DE")]));
    let rules = "[[site.rule]]\nname = \"not-here\"\nmatch = { country = [\"DE\", \"ZZ\"] }\ndeny = [\"all\"]\n";
    let tables = format!("[geo]\ndatabase = {:?}\n", database.path());
    let edge = node("name = \"edge\"\nproxy_protocol = [\"127.0.0.2/32\"]")
        .tables(&tables)
        .origin(&origin)
        .site(rules)
        .start();
    for (from, introduced, status) in [
        (3, "", 200),
        (4, "", 403),
        (2, "PROXY TCP4 127.0.0.3 127.0.0.1 7 80\r\n", 200),
        (2, "PROXY TCP4 192.0.2.1 127.0.0.1 7 80\r\n", 403),
    ] {
        let mut client = edge.connect_from(from).await;
        client.send(introduced).await;
        // Nobody trusts this one's word.
        client.request("GET", "/a", &of("127.0.0.3"), "").await;
        assert_eq!(client.answer("GET").await.status, status, "{from} {introduced}");
    }
}

/// The first node decides: a parent needs no database.
#[tokio::test]
async fn a_parent_goes_by_the_country_that_the_first_node_found() {
    let origin = told().await;
    let database =
        ScratchFile::new("a.mmdb", mmdb(&[("127.0.0.2/32", "DE"), ("127.0.0.3/32", "SE")]));
    let site = "[[site.rule]]\nname = \"country\"\nmatch = { path = [\"/told\"] }\nrequest_headers = { set = { X-Country = \"{country}\" } }\n\
                [[site.rule]]\nname = \"german\"\nmatch = { country = [\"DE\"], path = [\"/keyed\"] }\ndefault_ttl = \"9s\"\n";
    let log = Log::new("one");
    let parent = parent_of("parent", &origin, "").site(site).start();
    let tables = format!("[geo]\ndatabase = {:?}\n", database.path());
    let edge = edge_of("edge-1", &origin, &[&parent], "").tables(&tables).site(site).start();
    let (_one, _two) = (log.lead(&edge).await, log.lead(&parent).await);
    for (last, country) in [(2, "DE"), (3, "SE"), (4, "ZZ")] {
        for by_edge in ["fwd=uri-miss; fwd-status=200; stored", "hit"] {
            let answer = edge.get_from(last, "/told").await;
            assert_eq!(answer.line(), format!("200 {country}"));
            assert_eq!(answer.handled_by("edge-1"), by_edge, "{answer:?}");
            assert!(answer.handled_by("parent").ends_with("stored"), "{answer:?}");
            assert_eq!(edge.get_from(last, "/keyed").await.line(), "200 none");
        }
    }
    assert_eq!(origin.fetches("/told"), 3);
    assert_eq!(origin.fetches("/keyed"), 2, "one for Germany, one for all others, at both tiers");
}

#[tokio::test]
async fn a_database_that_changes_is_read_again_and_a_broken_one_is_not_taken() {
    let origin = told().await;
    let database = ScratchFile::new("a.mmdb", mmdb(&NETWORKS));
    let site = "[[site.rule]]\nname = \"country\"\nbypass = true\nrequest_headers = { set = { X-Country = \"{country}\" } }\n";
    let edge = edge_with(&database).origin(&origin).site(site).start();
    let until_told = async |country: &str| {
        let is_told = |answer: &Answer| answer.text() == country;
        edge.until_answered(country, "/a", &of("192.0.2.7"), is_told).await;
    };
    until_told("DE").await;
    let moved = mmdb(&[("192.0.2.0/24", "PT")]);
    database.write(&moved);
    until_told("PT").await;
    // Cut in the middle, and no database at all: each is looked at, told, and not taken.
    for (broken, failures) in [(&moved[..moved.len() / 2], 1), (b"not a database", 2)] {
        database.write(broken);
        let told = format!("weir_geo_database_failures_total {failures}\n");
        until("it is looked at", || edge.node.metrics(), |metrics| metrics.contains(&told)).await;
        until_told("PT").await;
    }
    std::fs::remove_file(database.path()).expect("it is there");
    let gone = "weir_geo_database_failures_total 3\n";
    until("that it is gone", || edge.node.metrics(), |metrics| metrics.contains(gone)).await;
    until_told("PT").await;
    let built = format!("weir_geo_database_built_seconds {DATABASE_BUILT}\n");
    assert!(edge.node.metrics().contains(&built));
    database.write("not a database");
    let refused = edge.node.reload(edge_with(&database).origin(&origin).site(site).config());
    let refused = refused.expect_err("a broken database").to_string();
    assert!(
        refused.contains("geo.database = ") && refused.contains("not a MaxMind database"),
        "{refused}"
    );
    until_told("PT").await;
    database.write(mmdb(&[("192.0.2.0/24", "ES")]));
    until_told("ES").await;
    // A reload reads it at once, and may name another.
    let other = ScratchFile::new("b.mmdb", mmdb(&[("192.0.2.0/24", "IT")]));
    edge.node
        .reload(edge_with(&other).origin(&origin).site(site).config())
        .expect("a configuration");
    assert_eq!(edge.get_with("/a", &of("192.0.2.7")).await.text(), "IT");
    edge.node.reload(support::edge().origin(&origin).site(site).config()).expect("a configuration");
    assert_eq!(edge.get_with("/a", &of("192.0.2.7")).await.text(), "ZZ", "without a database");
}

#[tokio::test]
async fn a_node_does_not_start_with_a_database_that_it_cannot_use() {
    let origin = told().await;
    let database = ScratchFile::new("a.mmdb", "none");
    let site = "[[site.rule]]\nname = \"a\"\nmatch = { country = [\"DE\"] }\ndeny = [\"all\"]\n";
    let config = edge_with(&database).origin(&origin).site(site).config();
    let Err(error) = weir_edge::node::Node::start(config) else { panic!("it starts") };
    assert!(error.to_string().contains("geo.database = "), "{error}");
}

#[test]
fn check_shows_the_country_of_a_client() {
    let database = ScratchFile::new("a.mmdb", mmdb(&NETWORKS));
    let config = |database: &ScratchFile| {
        let text = format!(
            "[geo]\ndatabase = {:?}\n[[site]]\norigins = [\"http://10.0.0.5\"]\nkey = {{ headers = [\"X-Country\"] }}\n\
             [[site.rule]]\nname = \"german\"\nmatch = {{ country = [\"DE\"] }}\nttl = \"1s\"\n\
             [[site.rule]]\nname = \"told\"\nrequest_headers = {{ set = {{ X-Country = \"{{country}}\" }} }}\n",
            database.path()
        );
        TextFile::new("geo.toml", &text)
    };
    let right = config(&database);
    for (client, country, rules, key) in [
        (Some("192.0.2.7"), Some("DE"), "german, told", "DE | rule=german"),
        (Some("198.51.100.1"), Some("SE"), "told", "SE"),
        (Some("203.0.113.1"), Some("ZZ"), "told", "ZZ"),
        (None, None, "told", "ZZ"),
    ] {
        let mut command = vec!["check", right.path(), "--request", "GET http://a.example/a"];
        command.extend(client.iter().flat_map(|client| ["--client", client]));
        let ran = run(&command, &[]);
        let row = |name: &str| {
            let line = ran.out.lines().find(|line| line.split_whitespace().next() == Some(name))?;
            Some(line[name.len()..].trim().to_owned())
        };
        assert_eq!(row("country").as_deref(), country, "{}{}", ran.out, ran.err);
        assert_eq!(row("rules").as_deref(), Some(rules), "{}", ran.out);
        assert_eq!(
            row("key"),
            Some(format!("http://a.example/a | x-country: {key}")),
            "{}",
            ran.out
        );
    }
    let broken = ScratchFile::new("b.mmdb", "none");
    let broken = config(&broken);
    let ran = run(
        &["check", broken.path(), "--request", "GET http://a.example/a", "--client", "192.0.2.7"],
        &[],
    );
    assert_eq!(ran.status, Some(1), "{}", ran.out);
    assert!(ran.err.contains("geo.database"), "{}", ran.err);
}
