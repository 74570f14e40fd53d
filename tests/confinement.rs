//! A token confined to one site: what it does costs and tells the other site nothing.

mod program;

use program::{Answer, TextFile, Weir};
use serde_json::{Value, json};
use weir_origin_sim::{Origin, reply};

const OF_SHOP: &str = "ssssssssssssssss";
const OF_BLOG: &str = "bbbbbbbbbbbbbbbb";

/// A node with control built in, two sites and a token for each.
struct TwoSites {
    weir: Weir,
    _origin: Origin,
}

impl TwoSites {
    async fn serve() -> Self {
        let origin = Origin::start().await;
        origin.route("/a", reply("hello").max_age(600).header("Surrogate-Key", "news"));
        let site = |id: &str| {
            let url = origin.url();
            format!("[[site]]\nid = \"{id}\"\nhosts = [\"{id}.example\"]\norigins = [\"{url}\"]\n")
        };
        let token = |name: &str, secret: &str| {
            format!(
                "[[token]]\nname = \"{name}\"\nsecret = \"{secret}\"\nsites = [\"{name}\"]\n\
                 scopes = [\"purge\", \"read\", \"admin\", \"node\"]\n"
            )
        };
        let config =
            [site("shop"), site("blog"), token("shop", OF_SHOP), token("blog", OF_BLOG)].concat();
        let config = TextFile::new("confinement.toml", &config);
        let weir = Weir::serve(&["--config", config.path()]);
        weir.until_ready();
        Self { weir, _origin: origin }
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
    // As many targets of every other kind as fit for no site.
    for portion in 0..34 {
        let urls: Vec<_> = (0..3000)
            .map(|number| format!("http://shop.example/none/{portion}/{number}"))
            .collect();
        sites.purge(OF_SHOP, &json!({"urls": urls}));
    }
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
}
