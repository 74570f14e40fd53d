//! The links between tiers: HTTP/2 over TLS under a private authority, and what cannot travel so.

mod support;
use std::path::PathBuf;
use support::*;

/// An authority of a test's own, with its files.
struct Authority {
    folder: PathBuf,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("weir-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let own = params.self_signed(&key).expect("a certificate");
        std::fs::write(folder.join("ca.pem"), own.pem()).expect("a file");
        Self { folder, issuer: rcgen::Issuer::new(params, key) }
    }

    /// `ca = …` for who trusts it.
    fn trusted(&self) -> String {
        format!("ca = {:?}\n", self.folder.join("ca.pem"))
    }

    /// `[tls]` of a node that listens on loopback, certified by it.
    fn certified(&self) -> String {
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]);
        let certificate = params.expect("a name").signed_by(&key, &self.issuer);
        let chain = certificate.expect("a certificate").pem();
        let [chain, key] =
            [("chain.pem", chain), ("key.pem", key.serialize_pem())].map(|(name, pem)| {
                let path = self.folder.join(name);
                std::fs::write(&path, pem).expect("a file");
                path
            });
        format!(
            "[tls]\nlisten = \"127.0.0.1:0\"\n\
             [[tls.certificates]]\nchain = {chain:?}\nkey = {key:?}\n"
        )
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A parent reached over TLS, and an edge that asks it, following one log.
struct Pair {
    origin: Origin,
    parent: (Edge, Leash),
    edge: (Edge, Leash),
    _authority: Authority,
}

impl Pair {
    /// `entry` has further keys of the parent's place in the edge's `[parents]`.
    async fn start(name: &str, entry: &str) -> Self {
        let (origin, authority, log) =
            (Origin::start().await, Authority::new(name), Log::new("one"));
        let parent = node("name = \"parent\"\ntier = \"parent\"").origin(&origin);
        let parent = parent.tables(&authority.certified()).start();
        let edge = edge_of(&origin, &parent, entry, &authority.trusted());
        let leashes = (log.lead(&parent).await, log.lead(&edge).await);
        let (parent, edge) = ((parent, leashes.0), (edge, leashes.1));
        Self { origin, parent, edge, _authority: authority }
    }
}

fn edge_of(origin: &Origin, parent: &Edge, entry: &str, keys: &str) -> Edge {
    let at = parent.node.listen_tls().expect("it listens for TLS");
    let parents = format!("[parents]\nurls = [{{ url = \"https://{at}\"{entry} }}]\n{keys}");
    node("name = \"edge\"").origin(origin).tables(&parents).start()
}

/// Connections to a node that are open now.
fn connections(node: &Edge) -> usize {
    let text = node.node.metrics();
    let samples = text.lines().filter(|line| line.starts_with("weir_connections_open"));
    samples.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).sum()
}

const CROWD: usize = 30;

/// How many connections an edge has to its parent while [`CROWD`] requests are under way.
async fn connections_of_a_crowd(name: &str, entry: &str) -> usize {
    let pair = Pair::start(name, entry).await;
    pair.origin.route("/held/*", held("hello").max_age(60));
    let edge = &pair.edge.0;
    let crowds: Vec<_> = (0..CROWD).map(|n| edge.get_many(&format!("/held/{n}"), 1)).collect();
    pair.origin.until_requests("/held/*", CROWD).await;
    let open = connections(&pair.parent.0);
    pair.origin.release("/held/*");
    for crowd in crowds {
        let answers = crowd.all("200 hello").await;
        assert_eq!(answers[0].values("cache-status").len(), 2, "over the parent: {answers:?}");
    }
    open
}

#[tokio::test]
async fn a_crowd_shares_few_connections_to_a_parent() {
    let open = connections_of_a_crowd("links-h2", "").await;
    assert!(open <= 2, "one for each of the edge's workers, not {open}");
}

#[tokio::test]
async fn in_http_1_each_request_has_its_connection() {
    let open = connections_of_a_crowd("links-h1", ", protocol = \"h1\"").await;
    assert_eq!(open, CROWD);
}

#[tokio::test]
async fn trailers_bodies_and_upgrades_pass_over_both_hops() {
    let pair = Pair::start("links-all", "").await;
    let (origin, edge) = (&pair.origin, &pair.edge.0);
    origin.route("/trailers", reply("hello").trailers(&[("Checksum", "abc")]).max_age(60));
    let answer = edge.get_with("/trailers", &[("TE", "trailers")]).await;
    assert_eq!(answer.line(), "200 hello");
    let told: Vec<_> =
        answer.trailers.iter().map(|(n, v)| format!("{}: {v}", n.to_lowercase())).collect();
    assert_eq!(told, ["checksum: abc"]);
    origin.route("/echo", reply("").echo());
    let echo = edge.send("POST", "/echo", &[], "a body").await.text();
    assert!(echo.contains("\"body\":\"a body\""), "{echo}");
    origin.route("/socket", reply("").upgrade_echo());
    let mut client = edge.connect().await;
    let upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
    client.request("GET", "/socket", &upgrade, "").await;
    let head = client.head().await;
    assert_eq!((head.status, head.field("upgrade")), (101, Some("websocket")));
    client.send("there and back").await;
    assert_eq!(client.up_to(14).await.0, b"there and back");
    let asked = &origin.requests("/socket")[0];
    let via: Vec<_> =
        asked.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("via")).collect();
    assert_eq!(via.len(), 2, "over both: {via:?}");
}

#[tokio::test]
async fn a_parent_certified_by_somebody_else_is_not_asked() {
    let pair = Pair::start("links-own", "").await;
    pair.origin.default_route(reply("hello").max_age(60));
    assert_eq!(pair.edge.0.get("/a").await.values("cache-status").len(), 2);
    let other = Authority::new("links-other");
    for (keys, status) in [(other.trusted(), 200), ("origin_fallback = false".to_owned(), 504)] {
        let edge = edge_of(&pair.origin, &pair.parent.0, "", &keys);
        let log = Log::new("one");
        let _leash = log.lead(&edge).await;
        let answer = edge.get("/a").await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.values("cache-status").len(), 1, "{answer:?}");
    }
}

#[tokio::test]
async fn a_file_without_a_certificate_is_told() {
    let authority = Authority::new("links-none");
    let empty = authority.folder.join("empty.pem");
    std::fs::write(&empty, "nothing\n").expect("a file");
    let origin = Origin::start().await;
    let toml = format!("[parents]\nurls = [\"https://127.0.0.1:1\"]\nca = {empty:?}");
    let config = node("name = \"edge\"").origin(&origin).tables(&toml).config();
    let error = weir_edge::node::Node::start(config).err().expect("a mistake").0;
    assert!(error.contains("parents.ca") && error.contains("empty.pem"), "{error}");
    assert!(error.contains("it has no certificate"), "{error}");
}
