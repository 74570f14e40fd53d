//! The index against a model that keeps every purge and reads them all.

use proptest::prelude::*;
use weir_rules::invalidation::{Bounds, Index, Purge, Seq, Subject, Target, Validity};

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
struct Response {
    site: &'static str,
    host: &'static str,
    path: &'static str,
    query: Option<&'static str>,
    tags: Vec<&'static str>,
    filled_at: Seq,
}

impl Response {
    fn subject(&self) -> Subject<'_> {
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

fn log(most: usize) -> impl Strategy<Value = Vec<Purge>> {
    proptest::collection::vec(purge(), 0..most).prop_map(|mut purges| {
        for (seq, purge) in (1..).zip(&mut purges) {
            purge.seq = seq;
        }
        purges
    })
}

fn responses() -> impl Strategy<Value = Vec<Response>> {
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

fn takes(purge: &Purge, target: &Target, response: &Response) -> bool {
    let path = spelled(response.path);
    let full = spelled(&with_query(response.path, response.query));
    let bare = response.host.split(':').next().expect("split yields one part");
    let in_site = purge.site.as_deref().is_none_or(|site| site == response.site);
    match target {
        Target::All => in_site,
        Target::Tag(tag) => in_site && response.tags.contains(&tag.as_str()),
        Target::Host(host) => {
            let host = host.to_lowercase();
            host == response.host || host == bare
        }
        Target::Url(url) => {
            let url = spelled(url).replace(":443/", "/");
            let url = url.split("://").nth(1).expect("a URL has a scheme").to_lowercase();
            let url = if url.contains('/') { url } else { format!("{url}/") };
            // Every path of these lists is in lower case once it is spelled, but for escapes.
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
fn model(log: &[Purge], response: &Response) -> Validity {
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

fn severity(validity: Validity) -> u8 {
    match validity {
        Validity::Valid => 0,
        Validity::Soft(_) => 1,
        Validity::Hard(_) => 2,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_index_says_what_a_list_of_all_purges_says(log in log(40), responses in responses()) {
        let mut index = Index::default();
        for purge in &log {
            index.apply(purge);
            index.apply(purge);
        }
        for response in &responses {
            prop_assert_eq!(index.validity(&response.subject()), model(&log, response), "{:?}", response);
            let from_the_start = Response { filled_at: 0, ..response.clone() };
            let last = match model(&log, &from_the_start) {
                Validity::Valid => None,
                _ => log.iter().rev()
                    .find(|purge| purge.targets.iter().any(|t| takes(purge, t, response)))
                    .map(|purge| (purge.seq, purge.soft)),
            };
            prop_assert_eq!(index.last_match(&response.subject()), last);
        }
    }

    #[test]
    fn a_full_index_is_never_more_lenient(
        log in log(40),
        responses in responses(),
        targets in 1..12_usize,
        patterns in 0..4_usize,
    ) {
        let mut index = Index::new(Bounds { targets, patterns });
        for (applied, purge) in (1..).zip(&log) {
            index.apply(purge);
            prop_assert!(index.len() <= targets && index.patterns_len() <= patterns);
            for response in &responses {
                let says = index.validity(&response.subject());
                let model = model(&log[..applied], response);
                prop_assert!(severity(says) >= severity(model), "{:?} {:?} {:?}", says, model, response);
                if response.filled_at >= purge.seq {
                    prop_assert_eq!(says, Validity::Valid, "nothing is later than its fill");
                }
            }
        }
    }

    #[test]
    fn what_was_checked_may_be_forgotten(
        log in log(40),
        responses in responses(),
        mark in 0..45_u64,
        targets in 3..60_usize,
    ) {
        let mut index = Index::new(Bounds { targets, patterns: 3 });
        let (before, after) = log.split_at(log.len() / 2);
        before.iter().for_each(|purge| index.apply(purge));
        index.forget_below(mark);
        let floor_when_told = index.floor();
        after.iter().for_each(|purge| index.apply(purge));
        let unchecked: Vec<_> = log.iter().filter(|purge| purge.seq >= mark).cloned().collect();
        for response in &responses {
            let says = index.validity(&response.subject());
            // What is older has been checked: only later purges can take it.
            let least = model(&unchecked, response);
            prop_assert!(severity(says) >= severity(least), "{:?} {:?} {:?}", says, least, response);
            if index.floor() == floor_when_told && response.filled_at >= index.floor() && response.filled_at + 1 >= mark {
                prop_assert_eq!(says, model(&log, response));
            }
        }
    }

    #[test]
    fn no_text_is_too_odd(path in "\\PC{0,40}", text in "\\PC{0,40}", versions: bool) {
        let mut index = Index::default();
        for target in [Target::Path(text.clone()), Target::Pattern(text.clone()), Target::Prefix(text.clone()),
            Target::Url(text.clone()), Target::Tag(text.clone()), Target::Host(text.clone())] {
            index.apply(&Purge { seq: 1, targets: vec![target], site: None, soft: false, versions });
        }
        let (path, query) = path.split_once('?').map_or((&*path, None), |(p, q)| (p, Some(q)));
        let subject = Subject { site: "", host: &text, path, query, tags: &[&text], filled_at: 0 };
        prop_assert_eq!(index.validity(&subject), Validity::Hard(1), "its tag was purged");
        for parse in [Target::parse_path, Target::parse_prefix, Target::parse_url, Target::parse_tag, Target::parse_host] {
            if let Err(message) = parse(&text) {
                prop_assert!(message.contains("accepted") && !message.chars().any(char::is_control));
            }
        }
    }
}

fn one(seq: Seq, target: Target, soft: bool) -> Purge {
    Purge { seq, targets: vec![target], site: None, soft, versions: false }
}

const PAGE: Subject<'static> =
    Subject { site: "s1", host: "h1", path: "/a", query: None, tags: &["t1"], filled_at: 5 };

#[test]
fn a_later_soft_purge_does_not_make_a_hard_one_milder() {
    let mut index = Index::default();
    index.apply(&one(6, Target::Path("/a".into()), false));
    index.apply(&one(7, Target::Path("/a".into()), true));
    assert_eq!(index.validity(&PAGE), Validity::Hard(6));
    assert_eq!(index.validity(&Subject { filled_at: 6, ..PAGE }), Validity::Soft(7));
    assert_eq!(index.validity(&Subject { filled_at: 7, ..PAGE }), Validity::Valid);
    assert_eq!(index.last_match(&PAGE), Some((7, true)));
}

#[test]
fn a_full_index_raises_its_floor_only_over_what_was_not_checked() {
    let fill = |checked| {
        let mut index = Index::new(Bounds { targets: 4, patterns: 4 });
        for seq in 1..=4 {
            index.apply(&one(seq, Target::Tag(seq.to_string()), false));
        }
        index.forget_below(checked);
        index.apply(&one(5, Target::Tag("5".into()), false));
        index
    };
    let unchecked = fill(0);
    assert!(unchecked.floor() > 0 && unchecked.len() <= 4);
    assert_eq!(
        unchecked.validity(&Subject { filled_at: 0, ..PAGE }),
        Validity::Hard(unchecked.floor())
    );
    let checked = fill(4);
    assert_eq!((checked.floor(), checked.len()), (0, 2));
    assert_eq!(checked.validity(&Subject { filled_at: 0, ..PAGE }), Validity::Valid);
}

#[test]
fn a_raised_floor_takes_everything_older() {
    let mut index = Index::default();
    index.apply(&one(3, Target::Tag("x".into()), false));
    index.raise_floor(6);
    assert_eq!(index.validity(&PAGE), Validity::Hard(6));
    assert_eq!(index.validity(&Subject { filled_at: 6, ..PAGE }), Validity::Valid);
    assert!(index.is_empty(), "what the floor takes anyway need not be kept");
}

#[test]
fn thousands_of_segments_are_no_trouble() {
    let deep = "/a".repeat(4000);
    let mut index = Index::new(Bounds { targets: 5000, patterns: 1 });
    index.apply(&one(6, Target::Prefix(deep.clone()), false));
    assert_eq!(index.validity(&Subject { path: &deep, ..PAGE }), Validity::Hard(6));
    assert_eq!(index.validity(&PAGE), Validity::Valid);
    // A second one does not fit: both go, and everything before them.
    index.apply(&one(7, Target::Prefix("/b".repeat(4000)), false));
    assert!(index.len() <= 5000);
    assert_eq!(index.validity(&Subject { path: &deep, ..PAGE }), Validity::Hard(index.floor()));
}
