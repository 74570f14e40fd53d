//! Sites with `tls = "auto"`, whose certificates were issued before: whom the node sends to https, what it promises,
//! and what it lets through. The CA cannot be reached in any of them. tests/https.sh orders from a real one.

mod support;
use support::*;

use std::path::PathBuf;

/// A directory of state that goes with this.
struct State(PathBuf);

impl State {
    /// With a certificate for shop.test, as it is kept, and in `root.pem` for whoever is to trust it.
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("weir-https-{}-{name}", std::process::id()));
        let state = Self(path);
        let kept = state.0.join("127.0.0.1_9_dir");
        std::fs::create_dir_all(&kept).expect("a directory");
        let made = rcgen::generate_simple_self_signed(["shop.test".to_owned()]);
        let made = made.expect("a certificate");
        let (key, chain) = (made.signing_key.serialize_pem(), made.cert.pem());
        std::fs::write(kept.join("shop.test.pem"), format!("{key}{chain}")).expect("a file");
        std::fs::write(state.root(), chain).expect("a file");
        state
    }

    fn root(&self) -> PathBuf {
        self.0.join("root.pem")
    }

    /// A node for shop.test, and new.test, which has no certificate yet.
    fn edge(&self, origin: &Origin, node: &str) -> Edge {
        let tables = format!(
            "[tls]\nlisten = \"127.0.0.1:0\"\npublic_port = 443\n\
             [tls.acme]\ndirectory = \"https://127.0.0.1:9/dir\"\nstate = {:?}\n",
            self.0
        );
        let site = "hosts = [\"shop.test\", \"new.test\"]\ntls = \"auto\"\n\
                    hsts = { max_age = \"400d\", subdomains = true, preload = true }\n";
        let node = format!("name = \"edge\"\n{node}");
        support::node(&node).origin(origin).tables(&tables).site(site).start()
    }

    /// A client that trusts the certificate, and asks `host` of this node by https.
    fn client(&self, edge: &Edge, host: &str) -> reqwest::Client {
        let mut trust = weir_edge::trust(Some(&self.root())).expect("a trust");
        trust.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let at = edge.node.listen_tls().expect("a TLS listener");
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .resolve(host, at)
            .tls_backend_preconfigured(trust);
        client.build().expect("a client")
    }

    async fn ask(
        &self,
        edge: &Edge,
        host: &str,
        target: &str,
    ) -> reqwest::Result<reqwest::Response> {
        let port = edge.node.listen_tls().expect("a TLS listener").port();
        self.client(edge, host).get(format!("https://{host}:{port}{target}")).send().await
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const SHOP: (&str, &str) = ("Host", "shop.test");
const NEW: (&str, &str) = ("Host", "new.test");
const PROMISE: &str = "strict-transport-security";

async fn origin() -> Origin {
    let origin = Origin::start().await;
    let said = reply("hello").max_age(600).header("Strict-Transport-Security", "max-age=1");
    origin.default_route(said);
    origin
}

#[tokio::test]
async fn http_leads_to_https_once_there_is_a_certificate() {
    let (state, origin) = (State::new("redirect"), origin().await);
    let edge = state.edge(&origin, "");
    for method in ["GET", "HEAD", "POST"] {
        let answer = edge.ask(method, "/a?b=%20c", &[("Host", "Shop.test:8080")]).await;
        assert_eq!(answer.head.status, 308, "{method}");
        assert_eq!(answer.head.field("location"), Some("https://shop.test/a?b=%20c"));
        assert_eq!(answer.head.handled(), "detail=to-https");
        assert_eq!(answer.head.field(PROMISE), None);
    }
    assert_eq!(origin.fetches("/a?b=%20c"), 0);
    let explained = |url| edge.node.explain(url, &Default::default()).expect("a URL");
    assert_eq!(explained("http://shop.test/a").state, "redirected");
    for (url, key) in [("/a", "https://shop.test/a"), ("http://new.test/a", "http://new.test/a")] {
        let told = explained(url);
        assert_eq!((told.state, &*told.key), ("not-stored", key));
    }
    let answer = edge.get_with("/a", &[NEW]).await;
    assert_eq!((answer.head.status, answer.text()), (200, "hello".into()), "not yet");
    assert_eq!(edge.get_with("/a", &[("Host", "other.test")]).await.head.status, 421);
}

#[tokio::test]
async fn who_asks_for_others_is_not_sent_elsewhere() {
    let (state, origin) = (State::new("asks"), origin().await);
    let edge = state.edge(&origin, "trusted_proxies = [\"127.0.0.1\"]");
    let answer = edge.get_with("/a", &[SHOP, ("X-Forwarded-Proto", "https")]).await;
    assert_eq!(answer.head.status, 200, "its client came by https");
    let answer = edge.get_with("/a", &[SHOP, ("X-Forwarded-Proto", "http")]).await;
    assert_eq!(answer.head.status, 308);
    assert_ne!(edge.ask("PURGE", "/a", &[SHOP]).await.head.status, 308);
    let probe = edge.ask("OPTIONS", "/", &[SHOP, ("Max-Forwards", "0")]).await;
    assert_eq!(probe.head.status, 204);
}

#[tokio::test]
async fn a_challenge_that_is_not_the_nodes_own_is_the_origins_each_time() {
    let (state, origin) = (State::new("challenge"), origin().await);
    let edge = state.edge(&origin, "");
    let target = "/.well-known/acme-challenge/of-the-origin";
    for _ in 0..2 {
        let answer = edge.get_with(target, &[SHOP]).await;
        assert_eq!((answer.head.status, answer.text()), (200, "hello".into()));
        assert_eq!(answer.head.handled(), "fwd=bypass; fwd-status=200");
    }
    assert_eq!(origin.fetches(target), 2);
    let answer = edge.get_with("/.well-known/acme-challenges", &[SHOP]).await;
    assert_eq!(answer.head.status, 308, "another path");
}

#[tokio::test]
async fn https_is_promised_over_https_alone() {
    let (state, origin) = (State::new("promise"), origin().await);
    let edge = state.edge(&origin, "");
    for _ in 0..2 {
        let answer = state.ask(&edge, "shop.test", "/a").await.expect("an answer");
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.version(), reqwest::Version::HTTP_2);
        let promised: Vec<_> = answer.headers().get_all(PROMISE).iter().collect();
        assert_eq!(promised, ["max-age=34560000; includeSubDomains; preload"]);
    }
    let clear = edge.get_with("/a", &[NEW]).await;
    assert_eq!(clear.head.values(PROMISE), ["max-age=1"], "what the origin says, browsers ignore");
}

#[tokio::test]
async fn a_name_without_a_certificate_gets_an_alert() {
    let (state, origin) = (State::new("alert"), origin().await);
    let edge = state.edge(&origin, "");
    for host in ["new.test", "other.test"] {
        let error = state.ask(&edge, host, "/a").await.expect_err("no certificate");
        let told = format!("{error:?}");
        assert!(told.contains("AlertReceived"), "{host}: {told}");
    }
    // By its address: no name is sent.
    let at = edge.node.listen_tls().expect("a TLS listener");
    let asked = state.client(&edge, "shop.test").get(format!("https://{at}/")).send().await;
    assert!(format!("{:?}", asked.expect_err("no default")).contains("AlertReceived"));
}

#[tokio::test]
async fn what_is_in_force_and_what_failed_is_told() {
    let (state, origin) = (State::new("told"), origin().await);
    let edge = state.edge(&origin, "");
    let listed = || serde_json::to_value(edge.node.certificates()).expect("JSON");
    let listed = until("an order fails", listed, |listed| listed[0]["error"].is_string()).await;
    assert_eq!((&listed[0]["name"], &listed[0]["expires"]), (&"new.test".into(), &().into()));
    assert_eq!((&listed[1]["name"], &listed[1]["failures"]), (&"shop.test".into(), &0.into()));
    let expires = listed[1]["expires"].as_u64().expect("a time");
    let metrics = edge.node.metrics();
    for line in [
        "weir_certificate_expires_seconds{name=\"new.test\",source=\"acme\"} 0".to_owned(),
        format!("weir_certificate_expires_seconds{{name=\"shop.test\",source=\"acme\"}} {expires}"),
        "weir_certificate_order_failures{name=\"new.test\"} 1".to_owned(),
    ] {
        assert!(metrics.lines().any(|each| each == line), "{line}\n{metrics}");
    }
    assert!(!edge.node.renew_certificate("other.test"));
}
