//! A small website for when there is none at hand: a page with its assets, each cacheable in its
//! own way.

use crate::{Builder, Reply, answer_with, reply};
use std::time::{SystemTime, UNIX_EPOCH};

const INDEX: &str = r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>A site behind weir</title>
<link rel="stylesheet" href="/style.css"><script src="/app.3f9a1c.js" defer></script></head>
<body><h1>A site behind weir</h1><img src="/logo.svg" alt="waves" width="120" height="60">
<p>The time at the origin was <output id="time">…</output>.</p>
<ul><li><a href="/articles/1">An article</a>, tagged <code>article-1 articles</code></li>
<li><a href="/api/time">The time as JSON</a>, fresh for 5 seconds</li>
<li><a href="/account">An account</a>, never stored</li></ul></body></html>
"#;

const STYLE: &str = "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:3rem auto;\
padding:0 1rem;color:#123}a{color:#06c}\n";

const SCRIPT: &str = "fetch('/api/time').then(r => r.json()).then(t => {\n  \
document.getElementById('time').textContent = new Date(t.unix * 1000).toISOString();\n});\n";

const LOGO: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 120 60\" \
fill=\"none\" stroke=\"#06c\" stroke-width=\"6\"><path d=\"M5 20q14-14 28 0t28 0 28 0 28 0\"/>\
<path d=\"M5 42q14-14 28 0t28 0 28 0 28 0\" opacity=\".5\"/></svg>\n";

const ARTICLE: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
<title>An article</title><link rel=\"stylesheet\" href=\"/style.css\"></head>\
<body><h1>An article</h1><p>Purge it by its path, or by the tag articles.</p>\
<p><a href=\"/\">Back</a></p></body></html>\n";

/// Adds the demo site's routes: `/`, `/style.css`, `/app.3f9a1c.js` (a fingerprinted name that
/// says nothing about freshness), `/logo.svg`, `/articles/*` (with Surrogate-Key), `/api/time`
/// (short-lived) and `/account` (private).
pub fn add_to(builder: Builder) -> Builder {
    builder
        .route("/", asset(INDEX, "text/html; charset=utf-8", "\"index-1\"").max_age(60))
        .route("/style.css", asset(STYLE, "text/css; charset=utf-8", "\"style-1\"").max_age(3600))
        .route("/app.3f9a1c.js", asset(SCRIPT, "text/javascript; charset=utf-8", "\"app-1\""))
        .route("/logo.svg", asset(LOGO, "image/svg+xml", "\"logo-1\"").max_age(86_400))
        .route("/articles/*", article())
        .route("/api/time", answer_with(|_| time()))
        .route("/account", account())
        .default_route(reply("no such page\n").status(404).content_type("text/plain"))
}

fn asset(body: &'static str, media_type: &str, etag: &str) -> Reply {
    reply(body).content_type(media_type).etag(etag).conditional(true).ranges(true)
}

fn article() -> Reply {
    asset(ARTICLE, "text/html; charset=utf-8", "\"article-1\"")
        .max_age(600)
        .header("Surrogate-Key", "article-1 articles")
}

fn time() -> Reply {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    reply(format!("{{\"unix\":{}}}\n", now.as_secs())).content_type("application/json").max_age(5)
}

fn account() -> Reply {
    reply("<!doctype html>\n<title>Account</title><p>Only for you.</p>\n")
        .content_type("text/html; charset=utf-8")
        .header("Cache-Control", "private, no-store")
        .set_cookie("visit=1; Path=/")
}
