//! The origin: what it holds, how that changes, and what bodies tell of when they were fetched.

use crate::random::Random;
use std::collections::BTreeMap;
use weir_rules::invalidation::{KeyedPurge, Purge, Seq, SiteUrls, Subject, Target};
use weir_rules::key::QueryRules;
use weir_rules::site_rules::SiteRules;

/// Sites, and the hosts of each.
pub(crate) const SITES: [&str; 2] = ["one", "two"];
const HOSTS: [(&str, usize); 3] = [("a.example", 0), ("www.a.example", 0), ("b.example", 1)];
const PATHS: [&str; 7] =
    ["/", "/img/1.jpg", "/img/x/2.jpg", "/doc/a", "/app.js", "/app.v1.js", "/app.v2.js"];
const QUERIES: [Option<&str>; 2] = [None, Some("q=1")];
const TAGS: [&str; 4] = ["red", "green", "blue", "grey"];

/// When something happened, in steps of the simulation; each step has its own.
pub(crate) type Moment = u64;

/// What a node stores a response under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    host: usize,
    path: usize,
    query: usize,
    /// The release that the site shows.
    release: u64,
}

impl Key {
    pub(crate) fn any(random: &mut Random) -> Self {
        Self {
            host: random.below(HOSTS.len() as u64) as usize,
            path: random.below(PATHS.len() as u64) as usize,
            query: random.below(2) as usize,
            release: 0,
        }
    }

    /// The same under this release.
    pub(crate) fn under(self, release: u64) -> Self {
        Self { release, ..self }
    }

    pub(crate) fn site(self) -> &'static str {
        SITES[HOSTS[self.host].1]
    }

    fn host(self) -> &'static str {
        HOSTS[self.host].0
    }

    fn path(self) -> &'static str {
        PATHS[self.path]
    }

    fn full(self) -> String {
        match QUERIES[self.query] {
            None => self.path().to_owned(),
            Some(query) => format!("{}?{query}", self.path()),
        }
    }

    /// Asks `judge` about a response that carries these tags.
    pub(crate) fn judged<T>(
        self,
        tags: u8,
        filled_at: Seq,
        judge: impl FnOnce(&Subject<'_>) -> T,
    ) -> T {
        let tags: Vec<&str> = tags_of(tags).collect();
        judge(&Subject {
            site: self.site(),
            host: self.host(),
            path: self.path(),
            query: QUERIES[self.query],
            tags: &tags,
            filled_at,
        })
    }

    /// A purge as every node has it.
    pub(crate) fn keyed(purge: &Purge) -> KeyedPurge {
        let query = QueryRules { sort: false, ..QueryRules::default() };
        let rules = SiteRules::default();
        let urls = |site| SiteUrls { site, query: &query, rules: &rules };
        KeyedPurge::new(purge.clone(), SITES.map(urls).into_iter(), |host| {
            let found = HOSTS.iter().find(|(known, _)| *known == host);
            found.map(|(_, site)| urls(SITES[*site]))
        })
    }

    /// Whether a purge takes it, told the simple way.
    pub(crate) fn is_taken_by(self, tags: u8, purge: &Purge) -> bool {
        let in_site = purge.site.as_deref().is_none_or(|site| site == self.site());
        purge.targets.iter().any(|target| match target {
            Target::Url(url) => url == &format!("http://{}{}", self.host(), self.full()),
            Target::Host(host) => host == self.host(),
            target => in_site && self.is_in(tags, target, purge.versions),
        })
    }

    fn is_in(self, tags: u8, target: &Target, versions: bool) -> bool {
        let (path, full) = (self.path(), self.full());
        match target {
            Target::All => true,
            Target::Tag(tag) => tags_of(tags).any(|own| own == tag),
            Target::AnyCaseTag(tag) => tags_of(tags).any(|own| own.eq_ignore_ascii_case(tag)),
            Target::Path(wanted) if versions => {
                path == wanted || path.starts_with("/app") && wanted == "/app.js"
            }
            Target::Path(wanted) => wanted == if wanted.contains('?') { &full } else { path },
            Target::Prefix(prefix) => {
                let (host, prefix) = prefix.split_once('/').unwrap_or((prefix, ""));
                let rest = path.strip_prefix('/').and_then(|path| path.strip_prefix(prefix));
                (host.is_empty() || host == self.host())
                    && rest.is_some_and(|rest| {
                        prefix.is_empty() || rest.is_empty() || rest.starts_with('/')
                    })
            }
            Target::Pattern(pattern) => {
                let (head, tail) = pattern.split_once('*').unwrap_or((pattern, ""));
                [path, &full].into_iter().any(|text| {
                    text.len() >= head.len() + tail.len()
                        && text.starts_with(head)
                        && text.ends_with(tail)
                })
            }
            Target::Url(_) | Target::Host(_) => false,
        }
    }
}

fn tags_of(tags: u8) -> impl Iterator<Item = &'static str> {
    TAGS.into_iter().enumerate().filter(move |(n, _)| tags & (1 << n) != 0).map(|(_, tag)| tag)
}

/// A target of any kind.
fn any_target(random: &mut Random) -> Target {
    let key = Key::any(random);
    match random.below(11) {
        10 => Target::AnyCaseTag(random.of(&TAGS).to_ascii_uppercase()),
        0 | 1 => Target::Path(key.path().to_owned()),
        2 => Target::Path(key.full()),
        3 => Target::Pattern(random.of(&["/img/*", "/*.jpg", "/app*", "/d*a"]).to_owned()),
        4 => Target::Prefix(random.of(&["/img", "/doc/a", "/im", "a.example/img"]).to_owned()),
        5 => Target::Url(format!("http://{}{}", key.host(), key.full())),
        6 | 7 => Target::Tag(random.of(&TAGS).to_owned()),
        8 => Target::Host(key.host().to_owned()),
        _ => Target::All,
    }
}

/// A purge of any kind, without its seq.
pub(crate) fn any_purge(random: &mut Random) -> Purge {
    let versions = random.once_in(8);
    let targets = match versions {
        true => vec![Target::Path("/app.js".to_owned())],
        false => (0..1 + random.below(2)).map(|_| any_target(random)).collect(),
    };
    let site = random.once_in(3).then(|| random.of(&SITES).to_owned());
    Purge { seq: 0, targets, site, soft: random.once_in(3), versions }
}

/// What the origin holds under a URL, whatever the release.
#[derive(Clone, Copy, Debug)]
struct Resource {
    version: u64,
    tags: u8,
    /// Its validator does not change with it.
    constant: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Origin(BTreeMap<Key, Resource>);

/// A body, as a node got it.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    key: Key,
    version: u64,
    constant: bool,
    /// When its fetch began, and when the last validation that it passed.
    fetched: Moment,
    proved: Moment,
    /// Its tags: what it was said to carry, and when.
    tags: Vec<(Moment, u8)>,
    judged_by: u8,
}

impl Body {
    /// The tags that a node judges it by: all it ever carried, for a purge by one of them may still
    /// be on its way.
    pub(crate) fn tags(&self) -> u8 {
        self.judged_by
    }

    /// A fault: judged by the tags alone that it was last said to carry.
    pub(crate) fn with_last_tags(mut self) -> Self {
        let last = self.tags.iter().max_by_key(|(since, _)| *since);
        self.judged_by = last.map_or(0, |(_, tags)| *tags);
        self
    }

    pub(crate) fn key(&self) -> Key {
        self.key
    }

    /// Whether it must not answer a request that came after a node acknowledged this purge.
    pub(crate) fn is_old(&self, purge: &Purge, ordered: Moment, fresh: bool) -> bool {
        let since = if purge.soft { self.proved } else { self.fetched };
        let carried = self.tags.iter().filter(|(since, _)| *since < ordered);
        let tags = carried.fold(0, |all, (_, tags)| all | tags);
        (fresh || !purge.soft) && since < ordered && self.key.is_taken_by(tags, purge)
    }

    /// What a validation of this body makes of it, `brought` being what the other side holds.
    pub(crate) fn validated(self, brought: Self) -> Self {
        if self.version != brought.version && !self.constant {
            return brought;
        }
        let same = self.version == brought.version;
        let fetched = if same { self.fetched.max(brought.fetched) } else { self.fetched };
        let proved = self.proved.max(brought.proved);
        let tags = self.tags.into_iter().chain(brought.tags).collect();
        Self { fetched, proved, tags, judged_by: self.judged_by | brought.judged_by, ..brought }
    }
}

impl Origin {
    /// What a fetch that begins now brings.
    pub(crate) fn fetch(&mut self, key: Key, now: Moment, random: &mut Random) -> Body {
        let resource = *self.0.entry(key).or_insert_with(|| Resource {
            version: 0,
            tags: random.below(16) as u8,
            constant: random.once_in(2),
        });
        Body {
            key,
            version: resource.version,
            constant: resource.constant,
            fetched: now,
            proved: now,
            tags: vec![(now, resource.tags)],
            judged_by: resource.tags,
        }
    }

    /// Changes what a purge takes; some of it gets other tags besides, or nothing but those.
    pub(crate) fn change(&mut self, purge: &Purge, random: &mut Random) {
        for (key, resource) in &mut self.0 {
            if key.is_taken_by(resource.tags, purge) {
                resource.version += u64::from(!random.once_in(4));
                if random.once_in(3) {
                    resource.tags = random.below(16) as u8;
                }
            }
        }
    }
}
