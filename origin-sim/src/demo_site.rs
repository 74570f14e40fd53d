//! A small website for when there is none: a page with its assets, articles, images, and
//! some of what caches must leave alone, each cacheable in its own way.

use crate::{Builder, Recorded, Reply, answer_with, reply};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const INDEX: &str = r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>A site behind weir</title>
<link rel="stylesheet" href="/style.css"><script src="/app.3f9a1c.js" defer></script></head>
<body><h1>A site behind weir</h1><img src="/logo.svg" alt="waves" width="120" height="60">
<p>The time at the origin was <output id="time">…</output>.</p>
<ul><li><a href="/articles/1">An article</a>, tagged <code>article-1 articles</code></li>
<li><a href="/search?q=weir">A search</a>, each query stored separately</li>
<li><a href="/api/time">The time as JSON</a>, fresh for 5 seconds</li>
<li><a href="/basket">A basket</a>, not stored because it sets a cookie</li>
<li><a href="/account">An account</a>, never stored</li></ul></body></html>
"#;

const STYLE: &str = "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:3rem auto;\
padding:0 1rem;color:#123}a{color:#06c}\n";

const SCRIPT: &str = "fetch('/api/time').then(r => r.json()).then(t => {\n  \
document.getElementById('time').textContent = new Date(t.unix * 1000).toISOString();\n});\n";

const LOGO: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 120 60\" \
fill=\"none\" stroke=\"#06c\" stroke-width=\"6\"><path d=\"M5 20q14-14 28 0t28 0 28 0 28 0\"/>\
<path d=\"M5 42q14-14 28 0t28 0 28 0 28 0\" opacity=\".5\"/></svg>\n";

const PARAGRAPH: &str = "<p>A weir holds a river back a little, so that what is below it has water \
when above it there is none, and is not swept away when there is much. Boats go by the lock, fish by \
the ladder, and the river, which was there before, goes on to the sea as if nothing had been put in \
its way.</p>\n";

const HTML: &str = "text/html; charset=utf-8";

/// Adds the demo site's routes: `/`, `/style.css`, `/app.3f9a1c.js` (a fingerprinted name that
/// says nothing about freshness), `/logo.svg`, `/articles/N` and `/img/N.svg` (with Surrogate-Key),
/// `/search?q=…` and `/api/time` (short-lived), `/basket` (sets a cookie) and `/account…` (private).
pub fn add_to(builder: Builder) -> Builder {
    at_a_distance(builder, Duration::ZERO)
}

/// The same, each answer after `delay`: an origin far away.
pub fn at_a_distance(builder: Builder, delay: Duration) -> Builder {
    let later = move |reply: Reply| reply.delay(delay);
    let index = asset(INDEX, HTML, "\"index-1\"").max_age(60);
    let style = asset(STYLE, "text/css; charset=utf-8", "\"style-1\"").max_age(3600);
    let script = asset(SCRIPT, "text/javascript; charset=utf-8", "\"app-1\"");
    let logo = asset(LOGO, "image/svg+xml", "\"logo-1\"").max_age(86_400);
    let missing = reply("no such page\n").status(404).content_type("text/plain");
    builder
        .route("/", later(index))
        .route("/style.css", later(style))
        .route("/app.3f9a1c.js", later(script))
        .route("/logo.svg", later(logo))
        .route("/articles/*", answer_with(move |request| later(article(&name(request)))))
        .route("/img/*", answer_with(move |request| later(image(&name(request)))))
        .route("/search", answer_with(move |_| later(search())))
        .route("/api/time", answer_with(move |_| later(time())))
        .route("/basket", later(basket()))
        .route("/account*", later(account()))
        .default_route(later(missing))
}

/// The last segment of the path, as far as it is no more than a name: it is shown in bodies and
/// fields.
fn name(request: &Recorded) -> String {
    let last = request.path().rsplit('/').next().unwrap_or_default();
    let last = last.strip_suffix(".svg").unwrap_or(last);
    last.chars().filter(char::is_ascii_alphanumeric).take(40).collect()
}

/// A number from 0 to 359 for a name, always the same: its colour, its length.
fn number(name: &str) -> u32 {
    name.bytes().fold(7, |number: u32, byte| (number * 31 + u32::from(byte)) % 360)
}

fn asset(body: impl Into<bytes::Bytes>, media_type: &str, etag: &str) -> Reply {
    reply(body).content_type(media_type).etag(etag).conditional(true).ranges(true)
}

fn article(name: &str) -> Reply {
    let text = PARAGRAPH.repeat(3 + number(name) as usize % 20);
    let body = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <title>Article {name}</title><link rel=\"stylesheet\" href=\"/style.css\"></head>\
         <body><h1>Article {name}</h1><img src=\"/img/{name}.svg\" alt=\"\" width=\"120\">\
         <p>Purge it by its path, or by the tag articles.</p>{text}\
         <p><a href=\"/\">Back</a></p></body></html>\n"
    );
    asset(body, HTML, &format!("\"article-{name}\""))
        .max_age(600)
        .header("Surrogate-Key", format!("article-{name} articles"))
}

fn image(name: &str) -> Reply {
    let hue = number(name);
    let body = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 120 60\">\
         <rect width=\"120\" height=\"60\" fill=\"hsl({hue} 60% 45%)\"/>\
         <circle cx=\"90\" cy=\"20\" r=\"12\" fill=\"#fff\" opacity=\".6\"/></svg>\n"
    );
    asset(body, "image/svg+xml", &format!("\"img-{name}\""))
        .max_age(86_400)
        .header("Surrogate-Key", "images")
}

fn search() -> Reply {
    reply("<!doctype html>\n<title>Search</title><p>Nothing found, but quickly.</p>\n")
        .content_type(HTML)
        .max_age(20)
}

fn time() -> Reply {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    reply(format!("{{\"unix\":{}}}\n", now.as_secs())).content_type("application/json").max_age(5)
}

fn basket() -> Reply {
    reply("<!doctype html>\n<title>Basket</title><p>Still empty.</p>\n")
        .content_type(HTML)
        .max_age(60)
        .set_cookie("basket=new; Path=/")
}

fn account() -> Reply {
    reply("<!doctype html>\n<title>Account</title><p>Only for you.</p>\n")
        .content_type(HTML)
        .header("Cache-Control", "private, no-store")
        .set_cookie("visit=1; Path=/")
}
