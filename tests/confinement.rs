//! A token confined to one site: what it does costs and tells the other site nothing.

mod program;

use program::{Answer, Folder, PATIENCE, Spec, TextFile, Topology, Weir, until};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use weir_origin_sim::{Origin, reply};

const OF_SHOP: &str = "ssssssssssssssss";
const OF_BLOG: &str = "bbbbbbbbbbbbbbbb";
const OF_SITE: &str = "tttttttttttttttt";

/// Nothing listens there.
const NO_ORIGIN: &str = "http://127.0.0.1:9";

/// A node with control built in, two sites and a token for each.
struct TwoSites {
    weir: Weir,
    _origin: Origin,
    _certificates: Folder,
}

impl TwoSites {
    async fn serve() -> Self {
        let origin = Origin::start().await;
        origin.route("/a", reply("hello").max_age(600).header("Surrogate-Key", "news"));
        let site = |id: &str| {
            let url = origin.url();
            format!(
                "[[site]]\nid = \"{id}\"\nhosts = [\"{id}.example\"]\norigins = [\"{url}\"]\n\
                 release.field = \"x-release\"\ntls = \"auto\"\n"
            )
        };
        let token = |name: &str, secret: &str| {
            format!(
                "[[token]]\nname = \"{name}\"\nsecret = \"{secret}\"\nsites = [\"{name}\"]\n\
                 scopes = [\"purge\", \"read\", \"admin\", \"node\"]\n"
            )
        };
        let config =
            [site("shop"), site("blog"), token("shop", OF_SHOP), token("blog", OF_BLOG)].concat();
        // Nobody issues any.
        let certificates = Folder::new("confinement-certificates");
        let config = format!(
            "[limits]\npurge_targets = 2000\n[tls]\nlisten = \"127.0.0.1:0\"\n\
             [tls.acme]\ndirectory = \"https://127.0.0.1:9/\"\nstate = {:?}\n{config}",
            certificates.path()
        );
        let config = TextFile::new("confinement.toml", &config);
        let weir = Weir::serve(&["--config", config.path()]);
        weir.until_ready();
        Self { weir, _origin: origin, _certificates: certificates }
    }

    fn call(&self, secret: &str, line: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {secret}");
        let json = ("Content-Type", "application/json");
        self.weir.call(line, &[("Host", "control"), ("Authorization", &bearer), json], body)
    }

    fn purge(&self, secret: &str, body: &Value) -> Value {
        let answer = self.call(secret, "POST /v1/purges", &body.to_string());
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    /// What the node does with a request for a site's page: `hit`, or why it asks the origin.
    fn handled(&self, site: &str) -> String {
        let answer = self.weir.ask("GET /a", &[("Host", &format!("{site}.example"))]);
        assert_eq!(answer.status, 200, "{}", answer.head);
        let told = answer.head.split("cache-status: ").nth(1).expect("it is signed");
        let told = told.lines().next().unwrap_or_default().split("; ").nth(1);
        told.expect("what it did").to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sites_overflow_leaves_the_other_what_it_has_stored() {
    let sites = TwoSites::serve().await;
    for site in ["shop", "blog"] {
        assert_eq!(
            (sites.handled(site), sites.handled(site)),
            ("fwd=uri-miss".into(), "hit".into())
        );
    }
    let patterns: Vec<_> = (0..1100).map(|number| format!("/none/{number}/*")).collect();
    sites.purge(OF_SHOP, &json!({"site": "shop", "paths": patterns}));
    assert_eq!(sites.handled("blog"), "hit");
    assert_ne!(sites.handled("shop"), "hit", "its own patterns do not all fit");
    // More URLs than fit, at once.
    let urls: Vec<_> =
        (0..3000).map(|number| format!("http://shop.example/none/{number}")).collect();
    sites.purge(OF_SHOP, &json!({"urls": urls}));
    assert_eq!(sites.handled("blog"), "hit");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_is_that_of_one_token() {
    let sites = TwoSites::serve().await;
    let order = |site: &str| json!({"site": site, "paths": ["/a"], "reference": "deploy-1"});
    let (shop, blog) = (sites.purge(OF_SHOP, &order("shop")), sites.purge(OF_BLOG, &order("blog")));
    assert_ne!(shop["id"], blog["id"]);
    assert_eq!(sites.purge(OF_SHOP, &order("shop"))["id"], shop["id"]);
    let reused = json!({"site": "shop", "tags": ["news"], "reference": "deploy-1"});
    let refused = sites.call(OF_SHOP, "POST /v1/purges", &reused.to_string());
    assert_eq!(refused.status, 409);
    let told = refused.json()["error"]["message"].to_string();
    assert!(told.contains(shop["id"].as_str().expect("an id")), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_concerns_all_sites_needs_a_token_without_sites() {
    let sites = TwoSites::serve().await;
    for line in ["DELETE /v1/nodes/weir", "POST /v1/reload", "GET /metrics", "GET /v1/follow"] {
        let refused = sites.call(OF_SHOP, line, "");
        assert_eq!(refused.status, 403, "{line}: {}", refused.body);
        let told = refused.json()["error"]["message"].to_string();
        assert!(told.contains("which concerns all sites"), "{told}");
    }
    let nodes = sites.call(OF_SHOP, "GET /v1/nodes", "").json();
    assert_eq!(nodes["nodes"][0]["state"], "connected");
    let listed = sites.call(OF_SHOP, "GET /v1/certificates", "").json();
    let names: Vec<_> = listed["certificates"].as_array().into_iter().flatten().collect();
    assert!(names.len() == 1 && names[0]["name"] == "shop.example", "{listed}");
    let renewed = r#"{"name": "shop.example"}"#;
    assert_eq!(sites.call(OF_SHOP, "POST /v1/certificates/renew", renewed).status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_and_events_are_those_of_the_own_site_alone() {
    let sites = TwoSites::serve().await;
    let mut events = Events::of(&sites, OF_SHOP);
    assert_eq!(sites.handled("blog"), "fwd=uri-miss");
    sites.purge(OF_BLOG, &json!({"site": "blog", "tags": ["secret-of-blog"]}));
    let own = sites.purge(OF_SHOP, &json!({"site": "shop", "tags": ["own"]}));
    let told = events.until("completed");
    assert!(told.contains("\"own\"") && !told.contains("secret-of-blog"), "{told}");
    let seqs: Vec<_> = told.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    for data in seqs {
        let data: Value = serde_json::from_str(data).expect("JSON");
        assert_eq!(data["seq"], own["seq"], "{told}");
    }
    let stats = sites.call(OF_SHOP, "GET /v1/stats", "").json();
    assert_eq!((&stats["sites"], &stats["site_ids"]), (&json!(1), &json!(["shop"])));
    for told in [&stats["stored"], &stats["log"]["listed"], &stats["by_node"][0]["stored"]] {
        assert_eq!(*told, Value::Null, "{stats}");
    }
    // The blog has many requests, the shop three: one miss and two hits.
    for _ in 0..40 {
        assert_eq!(sites.handled("blog"), "hit");
    }
    for handled in ["fwd=uri-miss", "hit", "hit"] {
        assert_eq!(sites.handled("shop"), handled);
    }
    let asked = |secret: &'static str, line: &'static str| {
        let sites = &sites;
        move || sites.call(secret, line, "").json()
    };
    let whole = |stats: &Value| stats["requests"] == 3 && stats["hits"] == 2;
    let stats = until("the shop's are told", asked(OF_SHOP, "GET /v1/stats"), whole);
    let node = sites.call(OF_SHOP, "GET /v1/nodes/weir", "").json();
    assert_eq!(node["state"], "connected");
    let own = json!({"requests": 3, "hits": 2, "stored": null, "stored_bytes": null});
    assert_eq!(node["stats"], own);
    for rates in [&stats["traffic"], &stats["tiers"][0], &stats["by_node"][0]] {
        let rate = |key: &str| rates[key].as_f64().unwrap_or_else(|| panic!("no {key}: {stats}"));
        assert!((0.2..=3.0).contains(&rate("requests_per_second")), "{rates}");
        assert!((0.6..0.7).contains(&rate("hit_ratio")), "{rates}");
        assert!(rate("upstream_per_second") < rate("hits_per_second"), "{rates}");
        let results = rates["results"].as_object().expect("results");
        assert_eq!(results.keys().collect::<Vec<_>>(), ["hit", "uri-miss"], "{rates}");
    }
    let of_blog = sites.call(OF_BLOG, "GET /v1/stats", "").json();
    assert_eq!((&of_blog["requests"], &of_blog["hits"]), (&json!(41), &json!(40)));
    // The course of each site's is its own.
    for line in ["GET /v1/traffic", "GET /v1/traffic?node=weir", "GET /v1/traffic?tier=edge"] {
        let sum = |told: &Value| {
            let points = told["points"].as_array().expect("points").iter();
            points.filter_map(|point| point["requests_per_second"].as_f64()).sum::<f64>()
        };
        let own = until("the points", asked(OF_SHOP, line), |told| sum(told) > 0.0);
        assert!(sum(&own) <= 3.0, "{own}");
        until("the points", asked(OF_BLOG, line), |told| sum(told) > 4.0 * sum(&own));
    }
    assert_eq!(sites.call(OF_SHOP, "GET /v1/traffic?tier=parent", "").json()["points"], json!([]));
}

/// What a call is tried with: the line, and the body.
type Attempt = (String, String);

/// The attempts of a token of the site `own` on another site at one operation of the document; `id` is that
/// of a purge of the other site. Those that name nothing of a site come once.
fn attempts(operation: &str, own: &str, site: &str, id: &str) -> Vec<Attempt> {
    let line = |line: &str| {
        let line = line.replace("SITE", site).replace("OWN", own).replace("ID", id);
        vec![(line, String::new())]
    };
    let bodies = |line: &str, bodies: &[Value]| -> Vec<Attempt> {
        let line = line.replace("SITE", site);
        bodies.iter().map(|body| (line.clone(), body.to_string())).collect()
    };
    let host = format!("{site}.example");
    let url = format!("http://{host}/a");
    match operation {
        "POST /v1/purges" => bodies(
            operation,
            &[
                json!({"all": true}),
                json!({"tags": ["own"]}),
                json!({"prefixes": [format!("{host}/")]}),
                json!({"site": site, "all": true}),
                json!({"site": site, "tags": [format!("tag-of-{site}")],
                       "reference": format!("reference-of-{site}")}),
                json!({"site": site, "urls": [url]}),
                json!({"urls": [url]}),
                json!({"urls": [url], "site": own}),
                json!({"hosts": [host]}),
                json!({"hosts": [host], "site": own, "soft": true}),
            ],
        ),
        "GET /v1/purges/{id}" => line("GET /v1/purges/ID"),
        "GET /v1/purges/{id}/nodes" => line("GET /v1/purges/ID/nodes"),
        "POST /v1/warm" => bodies(operation, &[json!({"urls": [url]})]),
        "GET /v1/nodes/{name}" => line("GET /v1/nodes/weir"),
        "DELETE /v1/nodes/{name}" => line("DELETE /v1/nodes/weir"),
        "GET /v1/explain" => [
            line("GET /v1/explain?url=http://SITE.example/a"),
            line("GET /v1/explain?url=http://SITE.example/a&node=weir"),
        ]
        .concat(),
        "GET /v1/traffic" => [
            line("GET /v1/traffic"),
            line("GET /v1/traffic?by=site&step=3600"),
            line("GET /v1/traffic?by=node&format=csv"),
            line("GET /v1/traffic?site=SITE"),
            line("GET /v1/traffic?site=SITE&node=weir&format=csv"),
        ]
        .concat(),
        "GET /v1/sites/{id}/release" => line("GET /v1/sites/SITE/release"),
        "PUT /v1/sites/{id}/release" => {
            bodies("PUT /v1/sites/SITE/release", &[json!({"name": "stolen"}), json!({})])
        }
        "GET /client/v4/zones" | "GET /client/v4/zones/" => {
            [line("GET /client/v4/zones"), line("GET /client/v4/zones?name=SITE.example")].concat()
        }
        "GET /client/v4/zones/{zone}" => line("GET /client/v4/zones/SITE"),
        "GET /client/v4/user/tokens/verify" => line(operation),
        "POST /client/v4/zones/{zone}/purge_cache"
        | "DELETE /client/v4/zones/{zone}/purge_cache"
        | "POST /client/v4/zones/{zone}/invalidate_cache" => bodies(
            &operation.replace("{zone}", "SITE"),
            &[json!({"purge_everything": true}), json!({"files": [url]}), json!({})],
        ),
        "POST /service/{service}/purge" => bodies(
            "POST /service/SITE/purge",
            &[json!({"surrogate_keys": [format!("tag-of-{site}")]})],
        ),
        "POST /service/{service}/purge/{key}" => line("POST /service/SITE/purge/news"),
        "POST /service/{service}/purge_all" => line("POST /service/SITE/purge_all"),
        "POST /purge/{url}" => line("POST /purge/SITE.example/a"),
        "GET /2020-05-31/distribution/{distribution}/invalidation" => [
            line("GET /2020-05-31/distribution/SITE/invalidation"),
            line("GET /2020-05-31/distribution/OWN/invalidation?Marker=ID"),
        ]
        .concat(),
        "POST /2020-05-31/distribution/{distribution}/invalidation" => vec![(
            format!("POST /2020-05-31/distribution/{site}/invalidation"),
            "<InvalidationBatch><Paths><Quantity>1</Quantity><Items><Path>/*</Path></Items></Paths>\
             <CallerReference>r</CallerReference></InvalidationBatch>"
                .to_owned(),
        )],
        "GET /2020-05-31/distribution/{distribution}/invalidation/{id}" => [
            line("GET /2020-05-31/distribution/SITE/invalidation/ID"),
            line("GET /2020-05-31/distribution/OWN/invalidation/ID"),
        ]
        .concat(),
        "POST /v1/certificates/renew" => bodies(operation, &[json!({"name": host})]),
        "POST /v1/certificates/rotate" => {
            bodies(operation, &[json!({"name": host}), json!({"names": [host]}), json!({})])
        }
        "POST /v1/reload"
        | "GET /metrics"
        | "GET /v1/follow"
        | "GET /v1/purges"
        | "GET /v1/nodes"
        | "DELETE /v1/nodes"
        | "GET /v1/stats"
        | "GET /v1/origins"
        | "GET /v1/popular"
        | "GET /v1/uncached"
        | "GET /healthz"
        | "GET /readyz"
        | "GET /v1/certificates"
        | "GET /openapi.json" => line(operation),
        // A stream, read beside the walk.
        "GET /v1/events" => Vec::new(),
        _ => panic!("{operation} is not tried; name here what a call could do to another site"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_operation_costs_or_tells_the_other_site_anything() {
    no_operation_reaches(("shop", OF_SHOP), ("blog", OF_BLOG)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_operation_costs_or_tells_the_first_site_anything() {
    no_operation_reaches(("blog", OF_BLOG), ("shop", OF_SHOP)).await;
}

/// Walks over every operation with the token of the site `own`, which tries what it can on the site `other`.
async fn no_operation_reaches((own, of_own): (&str, &str), (other, of_other): (&str, &str)) {
    let sites = TwoSites::serve().await;
    for site in ["shop", "blog"] {
        assert_eq!(
            (sites.handled(site), sites.handled(site)),
            ("fwd=uri-miss".into(), "hit".into())
        );
    }
    // Of the other site there is something to see everywhere.
    let tag = format!("tag-of-{other}");
    let reference = format!("reference-of-{other}");
    let secret = format!("GET /secret-of-{other}");
    let node = sites.weir.ask(&secret, &[("Host", &format!("{other}.example"))]);
    assert_eq!(node.status, 404, "{}", node.head);
    let mut events = Events::of(&sites, of_own);
    let order = json!({"site": other, "tags": [tag], "reference": reference});
    let of_the_other = sites.purge(of_other, &order);
    let id = of_the_other["id"].as_str().expect("an id");
    let release = format!("/v1/sites/{other}/release");
    let put = sites.call(of_other, &format!("PUT {release}"), r#"{"name": null}"#);
    assert_eq!(put.status, 200, "{}", put.body);
    let (log, _) = id.rsplit_once('-').expect("the log and a number");
    let never = format!("{log}-7");

    let document = sites.call(of_own, "GET /openapi.json", "").json();
    let paths = document["paths"].as_object().expect("paths");
    let mut tried = 0;
    for (path, methods) in paths {
        for method in methods.as_object().expect("methods").keys() {
            let operation = format!("{} {path}", method.to_uppercase());
            let on_other = attempts(&operation, own, other, id);
            let on_none = attempts(&operation, own, "nope", &never);
            for (attempt, nowhere) in on_other.into_iter().zip(on_none) {
                let (line, body) = &attempt;
                let answer = sites.call(of_own, line, body);
                tried += 1;
                // What the call itself said may come back; nothing else.
                let said = line.contains(other) || body.contains(other);
                let told = if said { answer.body.replace(other, "nope") } else { answer.body };
                assert!(!told.contains(other), "{line} {body}: {told}");
                if attempt == nowhere {
                    continue;
                }
                // It is answered as for a site that does not exist.
                let (line, body) = &nowhere;
                let nothing = sites.call(of_own, line, body);
                let told = told.replace(id, &never);
                assert_eq!(
                    (answer.status, &told),
                    (nothing.status, &nothing.body),
                    "{line} {body}"
                );
                // A search that finds nothing is no error.
                let searches = line.starts_with("GET /client/v4/zones?");
                let refused = (400..=404).contains(&answer.status);
                assert!(refused || searches, "{line} {body}: {told}");
            }
        }
    }
    assert!(tried > 40, "{tried}");

    // Its own site is all that it could change, and its own references are free.
    let order = json!({"site": own, "tags": ["own"], "reference": reference});
    assert_ne!(sites.purge(of_own, &order)["id"], of_the_other["id"]);
    let told = events.until("completed");
    assert!(told.contains("\"own\"") && !told.contains(&tag), "{told}");
    assert_eq!(sites.handled(other), "hit");
    let release = sites.call(of_other, &format!("GET {release}"), "").json();
    assert_eq!(release["name"], Value::Null);
    let purges = sites.call(of_other, "GET /v1/purges", "").json();
    let purges = purges["purges"].as_array().expect("a list").clone();
    assert_eq!((purges.len(), &purges[0]["id"]), (1, &of_the_other["id"]));
    let node = sites.call(of_other, "GET /v1/nodes/weir", "").json();
    assert_eq!(node["state"], "connected");
}

/// A topology like the shipped ones: control's configuration names no sites.
fn alone(name: &str) -> Topology {
    let token = |name: &str, secret: &str| {
        format!(
            "[[token]]\nname = \"{name}\"\nsecret = \"{secret}\"\nsites = [\"{name}\"]\n\
             scopes = [\"purge\", \"read\"]\n"
        )
    };
    Topology::with(name, &(token("site", OF_SITE) + &token("shop", OF_SHOP)))
}

/// A call of control with a token of one site.
fn confined(topology: &Topology, secret: &str, line: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {secret}");
    let json = ("Content-Type", "application/json");
    topology.weir().call(line, &[("Host", "control"), ("Authorization", &bearer), json], body)
}

#[test]
fn control_alone_knows_the_sites_of_its_nodes_while_these_are_away() {
    let mut topology = alone("confined-alone");
    let purge = |topology: &Topology, secret: &str, body: &str| {
        confined(topology, secret, "POST /v1/purges", body).status
    };
    let own = r#"{"urls": ["http://any.example/a"]}"#;
    let own_site = r#"{"all": true, "site": "site"}"#;
    assert_eq!(purge(&topology, OF_SITE, own), 403, "no node has that host");
    assert_eq!(purge(&topology, OF_SITE, own_site), 404);
    topology.add("one", &Spec::edge(NO_ORIGIN));
    assert_eq!(purge(&topology, OF_SITE, own), 200);
    assert_eq!(purge(&topology, OF_SITE, r#"{"hosts": ["any.example"]}"#), 200);
    assert_eq!(purge(&topology, OF_SITE, own_site), 200);
    assert_eq!(purge(&topology, OF_SHOP, own), 403);
    let unknown = topology.call("POST /v1/purges", r#"{"all": true, "site": "nosuchsite"}"#);
    assert_eq!((unknown.status, &unknown.json()["error"]["field"]), (404, &json!("site")));
    assert!(unknown.body.contains("known: site"), "{}", unknown.body);
    assert_eq!(topology.call("PUT /v1/sites/nosuchsite/release", "{}").status, 404);
    // In a dialect any id means the only site there is.
    let any = confined(&topology, OF_SITE, "POST /service/any/purge_all", "");
    assert_eq!(any.status, 200, "{}", any.body);
    topology.kill_node("one");
    topology.kill_control();
    topology.start_control();
    let away = r#"{"urls": ["http://any.example/a"], "wait_ms": 0}"#;
    assert_eq!(purge(&topology, OF_SITE, away), 202);
    let forgotten = topology.call("DELETE /v1/nodes/one", "");
    assert_eq!(forgotten.status, 200);
    assert_eq!(purge(&topology, OF_SITE, own), 403);
}

#[test]
fn a_host_that_two_sites_claim_is_purged_by_neither_token() {
    let mut topology = alone("confined-disputed");
    topology.add("one", &Spec::edge(NO_ORIGIN).site("hosts = [\"both.example\", \"one.example\"]"));
    let shop =
        format!("[[site]]\nid = \"shop\"\nhosts = [\"both.example\"]\norigins = [{NO_ORIGIN:?}]");
    let rest = Spec::edge(NO_ORIGIN).tables(&shop).site("hosts = [\"rest.example\"]");
    topology.add("two", &rest);
    let purge = |secret: &str, host: &str| {
        let body = json!({"hosts": [host]}).to_string();
        confined(&topology, secret, "POST /v1/purges", &body)
    };
    assert_eq!(purge(OF_SITE, "one.example").status, 200);
    for secret in [OF_SITE, OF_SHOP] {
        let refused = purge(secret, "both.example");
        assert_eq!(refused.status, 403);
        assert!(refused.body.contains("give to different sites"), "{}", refused.body);
    }
    assert_eq!(topology.call("POST /v1/purges", r#"{"hosts": ["both.example"]}"#).status, 200);
}

#[test]
fn a_reload_of_a_node_tells_control_of_its_new_sites() {
    let mut topology = alone("confined-reload");
    topology.add("one", &Spec::edge(NO_ORIGIN));
    let all = r#"{"all": true, "site": "shop", "wait_ms": 0}"#;
    assert_eq!(topology.call("POST /v1/purges", all).status, 404);
    let shop =
        format!("[[site]]\nid = \"shop\"\nhosts = [\"s.example\"]\norigins = [{NO_ORIGIN:?}]");
    topology.reconfigure("one", &Spec::edge(NO_ORIGIN).tables(&shop));
    topology.node("one").signal(Signal::HUP);
    let purge = || topology.call("POST /v1/purges", all).status;
    until("control knows the site", purge, |status| *status != 404);
    topology.until_joined("one");
}

/// A stream of events.
struct Events(BufReader<TcpStream>);

impl Events {
    /// As the token with this secret gets them, from now on.
    fn of(sites: &TwoSites, secret: &str) -> Self {
        let mut stream = TcpStream::connect(sites.weir.admin).expect("control listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("it can be set");
        let request = format!(
            "GET /v1/events HTTP/1.1\r\nHost: control\r\nAuthorization: Bearer {secret}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("control reads");
        let mut events = Self(BufReader::new(stream));
        // The first piece: from here on nothing is missed.
        events.read_to(": weir");
        events
    }

    /// All that is told, up to and with the first event of this name.
    fn until(&mut self, name: &str) -> String {
        let told = self.read_to(&format!("event: {name}"));
        told + &self.read_to("data: ")
    }

    fn read_to(&mut self, start: &str) -> String {
        let mut told = String::new();
        loop {
            let before = told.len();
            let read = self.0.read_line(&mut told).expect("a line in time");
            assert!(read > 0, "no {start:?}: {told}");
            if told[before..].starts_with(start) {
                return told;
            }
        }
    }
}
