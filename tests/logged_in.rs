//! A site whose visitors log in, behind the cookies and the cache key of the recipe for WordPress.

mod support;
use support::*;

const RECIPE: &str = include_str!("../docs/recipes/wordpress.md");

/// What the recipe has the site say of pages that are the same for everyone.
const SHARED: &str = "max-age=0, s-maxage=300, stale-while-revalidate=30, \
    stale-if-error=86400, private=\"set-cookie\"";

/// What WordPress says to whoever is logged in, and of its own pages.
const OWN: &str = "no-cache, must-revalidate, max-age=0, no-store, private";

/// The cache key and the cookies of the recipe.
fn shown() -> String {
    let rules = RECIPE.split("\nkey = ").nth(1).expect("a key");
    let rules = rules.split("\n[[token]]").next().expect("its end");
    assert!(rules.contains("[site.cookies]") && rules.contains("wordpress_logged_in_*"), "{rules}");
    format!("key = {rules}")
}

/// A page as the site makes it: one for everyone, one's own for who has a cookie that says so.
fn page(request: &weir_origin_sim::Recorded) -> Reply {
    let cookies = request.header("Cookie").unwrap_or_default();
    let own = |name: &str| {
        let mut pairs = cookies.split("; ").filter_map(|pair| pair.split_once('='));
        pairs.find(|(sent, _)| sent.starts_with(name)).map(|(_, value)| value.to_owned())
    };
    if let Some(user) = own("wordpress_logged_in_") {
        return reply(format!("hello {user}")).header("Cache-Control", OWN);
    }
    let waiting = own("comment_author_").or_else(|| own("woocommerce_cart_hash"));
    let text = waiting.map_or("for everyone".to_owned(), |whose| format!("with {whose}'s own"));
    reply(text).header("Cache-Control", SHARED).set_cookie("visit=1")
}

async fn site(keys: &str) -> (Origin, Edge) {
    let origin = Origin::start().await;
    origin.route("/post", answer_with(page));
    origin.route("/wp-admin/*", reply("admin").header("Cache-Control", OWN));
    origin.route("/cart", reply("cart").header("Cache-Control", OWN).set_cookie("cart=1"));
    let comment =
        reply("").status(302).header("Location", "/post").set_cookie("comment_author_1=me");
    origin.route("/wp-comments-post.php", comment);
    let edge = edge().origin(&origin).site(keys).start();
    (origin, edge)
}

/// What a visitor with these cookies is shown, and how that was handled.
async fn seen(edge: &Edge, target: &str, cookies: &str) -> (String, String) {
    let fields: &[(&str, &str)] = if cookies.is_empty() { &[] } else { &[("Cookie", cookies)] };
    let answer = edge.get_with(target, fields).await;
    (answer.text(), answer.handled())
}

#[tokio::test]
async fn what_everyone_sees_is_stored_and_what_one_sees_is_theirs() {
    let (origin, edge) = site(&shown()).await;
    let first = edge.get("/post").await;
    assert_eq!(
        (first.line().as_str(), first.field("set-cookie")),
        ("200 for everyone", Some("visit=1"))
    );
    for (target, cookies) in
        [("/post", ""), ("/post", "_ga=1; consent=y"), ("/post?utm_source=x", "")]
    {
        let shown = seen(&edge, target, cookies).await;
        assert_eq!(shown, ("for everyone".into(), "hit".into()), "{target} {cookies}");
    }
    assert_eq!(edge.get("/post").await.field("set-cookie"), None);
    assert_eq!(origin.fetches("/post"), 1);

    for user in ["ann", "bob", "ann"] {
        let cookies = format!("_ga=2; wordpress_logged_in_5f3a={user}");
        let (text, handled) = seen(&edge, "/post", &cookies).await;
        assert_eq!(text, format!("hello {user}"));
        assert_eq!(handled, "fwd=bypass; fwd-status=200; detail=bypass-cookie");
    }
    assert_eq!(origin.fetches("/post"), 4, "each request of who is logged in reaches the site");
    for cookies in ["comment_author_5f3a=cid", "woocommerce_cart_hash=dan"] {
        let whose = cookies.split_once('=').expect("a value").1;
        assert_eq!(seen(&edge, "/post", cookies).await.0, format!("with {whose}'s own"));
    }
    assert_eq!(seen(&edge, "/post", "").await, ("for everyone".into(), "hit".into()));
}

#[tokio::test]
async fn pages_of_the_site_itself_are_never_stored() {
    let (origin, edge) = site(&shown()).await;
    for (target, fetched) in [("/wp-admin/index.php", 2), ("/cart", 2)] {
        for _ in 0..2 {
            let (_, handled) = seen(&edge, target, "").await;
            assert!(!handled.contains("hit") && !handled.contains("stored"), "{target}: {handled}");
        }
        assert_eq!(origin.fetches(target), fetched, "{target}");
    }
}

#[tokio::test]
async fn a_comment_makes_its_page_be_fetched_anew() {
    let (origin, edge) = site(&shown()).await;
    edge.get("/post").await;
    assert_eq!(edge.ask("POST", "/wp-comments-post.php", &[]).await.head.status, 302);
    assert_eq!(seen(&edge, "/post", "").await.0, "for everyone");
    assert_eq!(origin.fetches("/post"), 2);
}

/// Why the guide names the cookies: without, the page for everyone is everyone's.
#[tokio::test]
async fn without_the_cookies_named_who_is_logged_in_sees_what_is_stored() {
    let (_origin, edge) = site("").await;
    edge.get("/post").await;
    let logged_in = seen(&edge, "/post", "wordpress_logged_in_5f3a=ann").await;
    assert_eq!(logged_in, ("for everyone".into(), "hit".into()));
}
