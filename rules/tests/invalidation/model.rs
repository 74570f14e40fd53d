//! Purges and responses of a few hosts, paths and tags, and what a list of all purges says.

use proptest::prelude::*;
use weir_rules::invalidation::{KeyedPurge, Purge, Seq, SiteUrls, Subject, Target, Validity};
use weir_rules::key::QueryRules;
use weir_rules::site_rules::SiteRules;

/// Paths in several spellings; `spelled` knows them all.
const PATHS: &[&str] = &[
    "/",
    "/a",
    "/%61",
    "/a/",
    "/a/b",
    "/a/%62",
    "/ab",
    "/a%2fb",
    "/a%2Fb",
    "/a/b/c",
    "/a//b",
    "/app.js",
    "/app.3f9a1c.js",
    "/app.v2.js",
    "/%61pp.v3.js",
    "/a.b",
    "/é",
    "/%c3%a9",
];
const QUERIES: &[&str] = &["", "x=1", "x=%31", "v=2", "a/b"];
const PATTERNS: &[&str] =
    &["/*", "/a*", "/a/*", "*b", "/a*b", "/a*?x=*", "/*.js", "/%61/*c", "/app.*.js", "/*?"];
const PREFIXES: &[&str] =
    &["/", "/a", "/a/", "/%61", "/a/b", "/app.js", "h1/a", "h1/", "h2:81/", "h2/a/b", "/a/"];
const HOSTS: &[&str] = &["h1", "H1", "h2", "h2:81"];
const URLS: &[&str] = &[
    "http://h1/a",
    "https://h1:443/a",
    "http://H1/%61",
    "http://h2:81/a?x=1",
    "http://h1",
    "http://h1/?",
];
const TAGS: &[&str] = &["t1", "t2", "T1", "t 3"];
const SITES: &[&str] = &["s1", "s2"];

#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) site: &'static str,
    pub(crate) host: &'static str,
    pub(crate) path: &'static str,
    pub(crate) query: Option<&'static str>,
    pub(crate) tags: Vec<&'static str>,
    pub(crate) filled_at: Seq,
}

impl Response {
    pub(crate) fn subject(&self) -> Subject<'_> {
        Subject {
            site: self.site,
            host: self.host,
            path: self.path,
            query: self.query,
            tags: &self.tags,
            filled_at: self.filled_at,
        }
    }
}

/// The site that has a host.
fn site_of(host: &str) -> &'static str {
    if host.to_lowercase().starts_with("h1") { "s1" } else { "s2" }
}

impl Response {
    /// The same of the site that has its host, as on any node.
    pub(crate) fn of_its_host(self) -> Self {
        Self { site: site_of(self.host), ..self }
    }
}

/// A purge as a node with these sites has it.
pub(crate) fn keyed(purge: &Purge) -> KeyedPurge {
    let query = QueryRules { sort: false, ..QueryRules::default() };
    let rules = SiteRules::default();
    let urls = |site| SiteUrls { site, query: &query, rules: &rules };
    let sites = SITES.iter().map(|site| urls(*site));
    KeyedPurge::new(purge.clone(), sites, |host| Some(urls(site_of(host))))
}

fn pick(from: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    proptest::sample::select(from)
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        3 => (pick(PATHS), proptest::option::of(pick(QUERIES)))
            .prop_map(|(path, query)| Target::Path(with_query(path, query))),
        2 => pick(PATTERNS).prop_map(|text| Target::Pattern(text.into())),
        2 => pick(PREFIXES).prop_map(|text| Target::Prefix(text.into())),
        1 => pick(URLS).prop_map(|text| Target::Url(text.into())),
        2 => pick(TAGS).prop_map(|text| Target::Tag(text.into())),
        2 => pick(TAGS).prop_map(|text| Target::AnyCaseTag(text.into())),
        1 => pick(HOSTS).prop_map(|text| Target::Host(text.into())),
        1 => Just(Target::All),
    ]
}

/// A purge without its seq.
fn purge() -> impl Strategy<Value = Purge> {
    (
        proptest::collection::vec(target(), 1..4),
        proptest::option::weighted(0.4, pick(SITES)),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(targets, site, soft, versions)| Purge {
            seq: 0,
            targets,
            site: site.map(str::to_owned),
            soft,
            versions,
        })
}

pub(crate) fn log(most: usize) -> impl Strategy<Value = Vec<Purge>> {
    proptest::collection::vec(purge(), 0..most).prop_map(|mut purges| {
        for (seq, purge) in (1..).zip(&mut purges) {
            purge.seq = seq;
        }
        purges
    })
}

pub(crate) fn responses() -> impl Strategy<Value = Vec<Response>> {
    let response = (
        pick(SITES),
        proptest::sample::select(&["h1", "h2", "h2:81"][..]),
        pick(PATHS),
        proptest::option::of(pick(QUERIES)),
        proptest::sample::subsequence(TAGS, 0..=2),
        0..40_u64,
    )
        .prop_map(|(site, host, path, query, tags, filled_at)| Response {
            site,
            host,
            path,
            query,
            tags,
            filled_at,
        });
    proptest::collection::vec(response, 1..20)
}

fn with_query(path: &str, query: Option<&str>) -> String {
    query.map_or(path.to_owned(), |query| format!("{path}?{query}"))
}

/// The one spelling of everything in the lists above, by hand.
fn spelled(text: &str) -> String {
    text.replace("%61", "a")
        .replace("%62", "b")
        .replace("%31", "1")
        .replace("%2f", "%2F")
        .replace("%c3%a9", "%C3%A9")
        .replace('é', "%C3%A9")
}

pub(crate) fn takes(purge: &Purge, target: &Target, response: &Response) -> bool {
    let path = spelled(response.path);
    let full = spelled(&with_query(response.path, response.query));
    let bare = response.host.split(':').next().expect("split yields one part");
    let in_site = purge.site.as_deref().is_none_or(|site| site == response.site);
    match target {
        Target::All => in_site,
        Target::Tag(tag) => in_site && response.tags.contains(&tag.as_str()),
        Target::AnyCaseTag(tag) => {
            in_site && response.tags.iter().any(|own| own.eq_ignore_ascii_case(tag))
        }
        Target::Host(host) => {
            let host = host.to_lowercase();
            host == response.host || host == bare
        }
        Target::Url(url) => {
            let url = spelled(url).replace(":443/", "/");
            let url = url.split("://").nth(1).expect("a URL has a scheme").to_lowercase();
            let url = if url.contains('/') { url } else { format!("{url}/") };
            // Every path of these lists is in lower case once it is spelled, except for escapes.
            url == format!("{}{full}", response.host).to_lowercase()
        }
        Target::Prefix(prefix) => {
            let prefix = spelled(prefix);
            let (host, under) = prefix.split_at(prefix.find('/').expect("all have a slash"));
            let under = under.strip_suffix('/').unwrap_or(under);
            let on_host = host.is_empty() || host == response.host || host == bare;
            in_site && on_host && (path == under || path.starts_with(&format!("{under}/")))
        }
        Target::Pattern(pattern) => {
            let pattern = spelled(pattern);
            let without_query = !pattern.contains('?') && glob(&pattern, &path);
            in_site && (without_query || glob(&pattern, &full))
        }
        Target::Path(wanted) => {
            let wanted = spelled(wanted);
            let (name, query) = match wanted.split_once('?') {
                Some((name, query)) => (name.to_owned(), Some(query.to_owned())),
                None => (wanted, None),
            };
            // `v=2` is the one version among the queries.
            let query = query.filter(|query| !purge.versions || query != "v=2");
            let same_name =
                name == path || (purge.versions && plain_name(&name) == plain_name(&path));
            let same_query = query.is_none_or(|query| full == format!("{path}?{query}"));
            in_site && same_name && same_query
        }
    }
}

/// The versioned names of the lists, by hand.
fn plain_name(path: &str) -> &str {
    if path.starts_with("/app.") { "/app.js" } else { path }
}

fn glob(pattern: &str, text: &str) -> bool {
    match pattern.chars().next() {
        None => text.is_empty(),
        Some('*') => text
            .char_indices()
            .map(|(at, _)| at)
            .chain([text.len()])
            .any(|at| glob(&pattern[1..], &text[at..])),
        Some(first) => text.strip_prefix(first).is_some_and(|rest| glob(&pattern[1..], rest)),
    }
}

/// What a list of all purges says.
pub(crate) fn model(log: &[Purge], response: &Response) -> Validity {
    let last = |soft: bool| {
        log.iter()
            .filter(|purge| purge.soft == soft && purge.seq > response.filled_at)
            .filter(|purge| purge.targets.iter().any(|target| takes(purge, target, response)))
            .map(|purge| purge.seq)
            .max()
    };
    match (last(false), last(true)) {
        (Some(hard), _) => Validity::Hard(hard),
        (None, Some(soft)) => Validity::Soft(soft),
        (None, None) => Validity::Valid,
    }
}
