//! Sitemaps (sitemaps.org): what they list, and fetching them. What is fetched is a stranger's:
//! bytes, URLs, sitemaps and nesting are bounded, and nothing leads to another host.

use flate2::read::MultiGzDecoder;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use std::collections::HashSet;
use std::io::Read;
use std::time::Duration;

/// Bytes of one sitemap, unpacked, as sitemaps.org has it.
const LARGEST: usize = 50 << 20;

/// Sitemaps of one index, together with those below it.
const MOST_SITEMAPS: usize = 1000;

/// How deep indexes may lie in each other; sitemaps.org allows none in another.
const DEEPEST: usize = 2;

/// Redirects for one sitemap, on its own host.
const MOST_REDIRECTS: usize = 5;

/// For one sitemap.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a sitemap lists.
#[derive(Debug, PartialEq, Eq)]
enum Listed {
    /// Pages.
    Urls(Vec<String>),
    /// Further sitemaps.
    Sitemaps(Vec<String>),
}

/// The URLs of a sitemap, and of all it leads to, in their order; at most `most`.
///
/// # Errors
/// What cannot be fetched or read, by its URL.
pub(super) async fn urls(start: &str, most: usize) -> Result<Vec<String>, String> {
    let accepted = "accepted: an http or https URL";
    let start_url =
        Url::parse(start).map_err(|error| format!("sitemap {start:?}: {error}; {accepted}"))?;
    if !matches!(start_url.scheme(), "http" | "https") {
        return Err(format!("sitemap {start:?}: scheme {}; {accepted}", start_url.scheme()));
    }
    let client = client()?;
    let mut seen = HashSet::from([start_url.clone()]);
    // The next to be fetched is the last, so that the order is that of the index.
    let mut waiting = vec![(start_url.clone(), 0)];
    let mut urls = Vec::new();
    while let Some((url, depth)) = waiting.pop() {
        let failed = |why: String| format!("sitemap {url}: {why}");
        match read(&fetch(&client, &url).await.map_err(failed)?).map_err(failed)? {
            Listed::Urls(listed) => {
                if urls.len() + listed.len() > most {
                    return Err(failed(format!("more than {most} URLs in all")));
                }
                urls.extend(listed);
            }
            Listed::Sitemaps(_) if depth == DEEPEST => {
                return Err(failed(format!("indexes nested more than {DEEPEST} deep")));
            }
            Listed::Sitemaps(listed) => {
                for named in listed.iter().rev() {
                    let next = url.join(named).map_err(|e| failed(format!("{named:?}: {e}")))?;
                    if !same_host(&next, &start_url) {
                        let why = format!("it refers to another host, {next}");
                        return Err(failed(why));
                    }
                    if seen.insert(next.clone()) {
                        waiting.push((next, depth + 1));
                    }
                }
                if seen.len() > MOST_SITEMAPS {
                    return Err(failed(format!("more than {MOST_SITEMAPS} sitemaps in all")));
                }
            }
        }
    }
    Ok(urls)
}

fn same_host(a: &Url, b: &Url) -> bool {
    a.host() == b.host() && matches!(a.scheme(), "http" | "https")
}

fn client() -> Result<Client, String> {
    let policy = Policy::custom(|attempt| {
        let first = attempt.previous().first();
        if first.is_none_or(|first| !same_host(attempt.url(), first)) {
            return attempt.error("it redirects to another host");
        }
        if attempt.previous().len() > MOST_REDIRECTS {
            return attempt.error("too many redirects");
        }
        attempt.follow()
    });
    let trust = weir_edge::trust(None)?;
    Client::builder()
        .no_proxy()
        .redirect(policy)
        .tls_backend_preconfigured(trust)
        .timeout(PATIENCE)
        .user_agent(concat!("weir-warm/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| format!("no HTTP client: {error}"))
}

async fn fetch(client: &Client, url: &Url) -> Result<Vec<u8>, String> {
    let failed = |error: reqwest::Error| crate::client::root_cause(&error);
    let mut response = client.get(url.clone()).send().await.map_err(failed)?;
    let status = response.status();
    if !status.is_success() {
        return Err(format!("answered with {}", status.as_u16()));
    }
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(failed)? {
        if body.len() + part.len() > LARGEST {
            return Err(format!("more than {LARGEST} bytes"));
        }
        body.extend_from_slice(&part);
    }
    unpacked(body)
}

/// What a gzip holds; anything else as it is.
fn unpacked(body: Vec<u8>) -> Result<Vec<u8>, String> {
    const GZIP: [u8; 2] = [0x1f, 0x8b];
    if !body.starts_with(&GZIP) {
        return Ok(body);
    }
    let mut plain = Vec::new();
    let most = LARGEST as u64 + 1;
    let unpacked = MultiGzDecoder::new(&*body).take(most).read_to_end(&mut plain);
    unpacked.map_err(|error| format!("not a valid gzip file: {error}"))?;
    if plain.len() > LARGEST {
        return Err(format!("more than {LARGEST} bytes"));
    }
    Ok(plain)
}

/// Reads a sitemap or a sitemap index. No document type, so no entities but XML's own.
fn read(body: &[u8]) -> Result<Listed, String> {
    let text = std::str::from_utf8(body).map_err(|_| "not UTF-8".to_owned())?;
    let text = text.trim_start_matches('\u{feff}');
    let mut reader = quick_xml::Reader::from_str(text);
    let mut reading = Reading::default();
    loop {
        let event = reader.read_event().map_err(|error| format!("not XML: {error}"))?;
        match event {
            Event::Start(start) => reading.begin(start.local_name().as_ref())?,
            Event::End(_) => reading.end(),
            Event::Text(text) => reading.text(&text)?,
            Event::CData(text) => reading.text(&text)?,
            Event::GeneralRef(reference) => {
                let character = reference.resolve_char_ref();
                match character.map_err(|error| format!("not XML: {error}"))? {
                    Some(character) => reading.text(character.encode_utf8(&mut [0; 4]))?,
                    None => {
                        let entity = resolve_predefined_entity(&reference);
                        reading
                            .text(entity.ok_or("it uses an entity that XML does not define")?)?;
                    }
                }
            }
            Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::DocType(_) => return Err("a document type is not accepted".to_owned()),
            Event::Eof => return reading.finish(),
        }
    }
}

/// Elements in each other; a sitemap has a handful.
const MOST_OPEN: usize = 32;

/// Longest URL, bytes; sitemaps.org allows 2048 characters.
const LONGEST_URL: usize = 8192;

/// Of one sitemap, as sitemaps.org has it.
const MOST_LISTED: usize = 50_000;

/// What was read so far.
#[derive(Default)]
struct Reading {
    open: Vec<String>,
    /// Whether it is an index.
    index: Option<bool>,
    loc: String,
    listed: Vec<String>,
}

impl Reading {
    fn begin(&mut self, name: &str) -> Result<(), String> {
        if self.open.is_empty() {
            self.index = match name {
                "urlset" => Some(false),
                "sitemapindex" => Some(true),
                _ => return Err("neither a sitemap nor an index of sitemaps".to_owned()),
            };
        }
        if self.open.len() == MOST_OPEN {
            return Err("elements are nested too deeply".to_owned());
        }
        self.open.push(name.to_owned());
        Ok(())
    }

    /// Whether what comes is the text of an URL. Images and the like have theirs further in.
    fn is_loc(&self) -> bool {
        let open: Vec<&str> = self.open.iter().map(String::as_str).collect();
        matches!(*open, ["urlset", "url", "loc"] | ["sitemapindex", "sitemap", "loc"])
    }

    fn text(&mut self, text: &str) -> Result<(), String> {
        if self.is_loc() {
            if self.loc.len() + text.len() > LONGEST_URL {
                return Err(format!("it has a URL over {LONGEST_URL} bytes"));
            }
            self.loc.push_str(text);
        }
        Ok(())
    }

    fn end(&mut self) {
        if self.is_loc() {
            let loc = std::mem::take(&mut self.loc);
            let loc = loc.trim();
            if !loc.is_empty() {
                self.listed.push(loc.to_owned());
            }
        }
        self.open.pop();
    }

    fn finish(self) -> Result<Listed, String> {
        if !self.open.is_empty() {
            return Err("it ends inside an element".to_owned());
        }
        if self.listed.len() > MOST_LISTED {
            return Err(format!("more than {MOST_LISTED} URLs"));
        }
        match self.index {
            Some(true) => Ok(Listed::Sitemaps(self.listed)),
            Some(false) => Ok(Listed::Urls(self.listed)),
            None => Err("neither a sitemap nor an index of sitemaps".to_owned()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;
    use weir_origin_sim::{Origin, reply};

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(text).unwrap();
        packed.finish().unwrap()
    }

    fn set(urls: &[&str]) -> String {
        let urls: String = urls.iter().map(|url| format!("<url><loc>{url}</loc></url>")).collect();
        format!(
            "<?xml version=\"1.0\"?><urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">{urls}</urlset>"
        )
    }

    fn index(sitemaps: &[&str]) -> String {
        let list: String =
            sitemaps.iter().map(|url| format!("<sitemap><loc>{url}</loc></sitemap>")).collect();
        format!("<sitemapindex>{list}</sitemapindex>")
    }

    #[test]
    fn pages_are_read_and_nothing_else_that_has_a_place() {
        let text = "\u{feff}<urlset xmlns:image=\"i\"><!-- c --><url><loc>\n http://h/?a&amp;b&#38;c \
                    </loc><lastmod>2026</lastmod><image:image><image:loc>http://h/i</image:loc>\
                    </image:image></url><url><loc><![CDATA[http://h/d?e&f]]></loc></url>\
                    <url/></urlset>";
        let urls = ["http://h/?a&b&c".to_owned(), "http://h/d?e&f".to_owned()];
        assert_eq!(read(text.as_bytes()), Ok(Listed::Urls(urls.into())));
        let sitemaps = Listed::Sitemaps(vec!["http://h/1.xml".into()]);
        assert_eq!(read(index(&["http://h/1.xml"]).as_bytes()), Ok(sitemaps));
    }

    #[test]
    fn what_is_no_sitemap_is_refused() {
        let deep = "<urlset>".to_owned() + &"<a>".repeat(MOST_OPEN);
        let long = set(&[&"x".repeat(LONGEST_URL + 1)]);
        for (text, part) in [
            ("", "neither"),
            ("<html><body/></html>", "neither"),
            ("<urlset>", "ends inside"),
            ("<urlset></url>", "not XML"),
            ("<!DOCTYPE a [<!ENTITY b \"c\">]><urlset/>", "document type"),
            ("<urlset><url><loc>&b;</loc></url></urlset>", "entity"),
            (&deep, "nested too deeply"),
            (&long, "over 8192 bytes"),
        ] {
            let error = read(text.as_bytes()).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(read(b"<urlset>\xff</urlset>").unwrap_err().contains("UTF-8"));
    }

    #[test]
    fn what_is_packed_is_bounded_by_what_it_holds() {
        assert_eq!(unpacked(b"<a/>".to_vec()).unwrap(), b"<a/>");
        assert_eq!(unpacked(gzip(b"<a/>")).unwrap(), b"<a/>");
        assert!(unpacked(gzip(b"<a/>")[..8].to_vec()).unwrap_err().contains("gzip"));
        let bomb = gzip(&vec![0; LARGEST + 1]);
        assert!(bomb.len() < LARGEST / 100);
        assert!(unpacked(bomb).unwrap_err().contains("more than"));
    }

    #[tokio::test]
    async fn an_index_leads_to_its_sitemaps_in_order() {
        let origin = Origin::start().await;
        let at = |path: &str| format!("{}{path}", origin.url());
        origin.route("/index.xml", reply(index(&[&at("/a.xml.gz"), "/b.xml", &at("/index.xml")])));
        origin.route("/a.xml.gz", reply(gzip(set(&["http://h/1", "http://h/2"]).as_bytes())));
        origin.route("/b.xml", reply("").status(301).header("Location", "/c.xml"));
        origin.route("/c.xml", reply(set(&["http://h/3"])));
        let listed = urls(&at("/index.xml"), 3).await.unwrap();
        assert_eq!(listed, ["http://h/1", "http://h/2", "http://h/3"]);
        assert_eq!(origin.fetches("/index.xml"), 1);
        let error = urls(&at("/index.xml"), 2).await.unwrap_err();
        assert!(error.contains("/b.xml") && error.contains("more than 2 URLs"), "{error}");
    }

    #[tokio::test]
    async fn nothing_leads_elsewhere_or_on_for_ever() {
        let (origin, other) = (Origin::start().await, Origin::start().await);
        let elsewhere = format!("http://localhost:{}/a.xml", other.addr().port());
        let at = |path: &str| format!("{}{path}", origin.url());
        origin.route("/to.xml", reply("").status(302).header("Location", elsewhere.as_str()));
        origin.route("/list.xml", reply(index(&[&elsewhere])));
        origin.route("/loop.xml", reply("").status(302).header("Location", "/loop.xml"));
        origin.route("/1.xml", reply(index(&["/2.xml"])));
        origin.route("/2.xml", reply(index(&["/3.xml"])));
        origin.route("/3.xml", reply(index(&["/4.xml"])));
        origin.route("/gone.xml", reply("").status(404));
        for (path, part) in [
            ("/to.xml", "redirects to another host"),
            ("/list.xml", "refers to another host"),
            ("/loop.xml", "too many redirects"),
            ("/1.xml", "indexes nested more than 2 deep"),
            ("/gone.xml", "answered with 404"),
        ] {
            let error = urls(&at(path), 10).await.unwrap_err();
            assert!(error.contains(part), "{path}: {error}");
        }
        assert_eq!(other.fetches("/a.xml"), 0);
        for wrong in ["ftp://h/a", "a.xml", "http://"] {
            assert!(urls(wrong, 10).await.unwrap_err().contains("accepted"), "{wrong}");
        }
    }
}
