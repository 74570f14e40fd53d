//! What the node knows of a URL, for `weir explain`: reads, changes nothing, fetches nothing. It may wait
//! for the disk store, and walk over the whole memory store.

mod shape;

pub use shape::{
    ExplainedDecision, ExplainedOrigin, ExplainedPurge, ExplainedVariant, Explanation,
};

use crate::disk::{DiskStore, SeenOnDisk};
use crate::lookup::{Lookup, Query, lookup, lookup_among};
use crate::purge::FollowedLog;
use crate::state::{NodeState, Site};
use crate::store::{KeyText, Stored, select};
use http::{HeaderMap, header};
use std::ops::ControlFlow;
use std::sync::Arc;
use weir_rules::freshness::State;
use weir_rules::invalidation::{Subject, Validity};
use weir_rules::key::{KeyParts, write_key};
use weir_rules::range::Span;
use weir_rules::target::spelled_url;
use weir_rules::time::Time;
use weir_store::Geometry;

/// Explains `url`, absolute or a path of the first site (in the scheme under which it is known, http if
/// both), as a client with these fields meets it.
pub(crate) fn explain(
    state: &NodeState,
    url: &str,
    headers: &HeaderMap,
) -> Result<Explanation, String> {
    let live = state.live.load();
    let mut asked = ExplainedUrl::parse(url, live.sites.all())?;
    if asked.of_any_host
        && let Some((scheme, host)) = stored_host(state, &asked)
    {
        (asked.scheme, asked.host) = (scheme, host);
    }
    let Some(site) = live.sites.of(&asked.host) else {
        return Ok(unknown_host(state, &asked));
    };
    if url.starts_with('/') && !is_known(state, &asked.key(state, site, headers)) {
        let https = ExplainedUrl { scheme: "https".to_owned(), ..asked.clone() };
        if is_known(state, &https.key(state, site, headers)) {
            asked = https;
        }
    }
    let key = asked.key(state, site, headers);
    Ok(explain_key(state, site, &key, headers))
}

/// Whether something is stored, being fetched or remembered under a key.
fn is_known(state: &NodeState, key: &[u8]) -> bool {
    let digest = state.digest(key);
    let disk = state.disk.as_ref();
    state.store.get(digest, key).is_some()
        || disk.is_some_and(|disk| disk.may_have(state.store.url_of(key), key))
        || !state.inflight.of(digest).is_empty()
        || state.decisions.of(digest).is_some()
}

/// Where a site takes every host, a path alone means the host under which it is stored: the one
/// with the most answers, if several.
fn stored_host(state: &NodeState, asked: &ExplainedUrl) -> Option<(String, String)> {
    let under = |stored: &Arc<Stored>| {
        let text = KeyText::of(stored.key());
        (text.path == asked.path && text.query == asked.query.as_deref()).then(|| {
            let scheme = if stored.key().starts_with(b"https:") { "https" } else { "http" };
            (stored.served.times(), scheme.to_owned(), text.host.to_owned())
        })
    };
    let mut most = None;
    let _ = state.store.visit(|_, resource| {
        most = most.take().max(resource.variants().first().and_then(under));
        ControlFlow::Continue(())
    });
    most.map(|(_, scheme, host)| (scheme, host))
}

/// Clients that wait on, or read from, the fills that run for a URL without selecting fields.
pub(crate) fn waiting(state: &NodeState, url: &str) -> usize {
    let live = state.live.load();
    let Ok(asked) = ExplainedUrl::parse(url, live.sites.all()) else { return 0 };
    let Some(site) = live.sites.of(&asked.host) else { return 0 };
    let key = asked.key(state, site, &HeaderMap::new());
    state.inflight.of(state.digest(&key)).iter().map(|fill| fill.readers()).sum()
}

fn explain_key(state: &NodeState, site: &Site, key: &[u8], headers: &HeaderMap) -> Explanation {
    let digest = state.digest(key);
    let query = Query::new(state, site, digest, key, headers);
    let now = query.now;
    let mut found = lookup(&state.store, &state.purges, &query);
    let resource = state.store.get(digest, key);
    let look = |disk: &Arc<DiskStore>| disk.look(state.store.url_of(key), key, &site.id, now);
    let on_disk = state.disk.as_ref().map(look).unwrap_or_default();
    // As a request that memory cannot answer.
    if matches!(found, Lookup::UriMiss | Lookup::VaryMiss(_)) {
        let looked = lookup_among(&on_disk.variants, &state.purges, &query);
        if looked.stored().is_some() || matches!(found, Lookup::UriMiss) {
            found = looked;
        }
    }
    let selected = || select(resource.as_ref()?.variants(), headers).map(|selected| selected.best);
    let chosen = found.stored().or_else(selected);
    let in_memory = || resource.iter().flat_map(|resource| resource.variants());
    // The head of a longer body may be in memory, too: that is one response.
    let is_apart = |stored: &&Arc<Stored>| {
        let is_it = |held: &Arc<Stored>| is_on_disk(held) && held.is_selected_like(stored);
        !in_memory().any(is_it)
    };
    let copies = on_disk.variants.iter().filter(is_apart).map(|stored| (stored, DISK));
    let variants = in_memory().map(|stored| (stored, place_of(stored))).chain(copies);
    let (of_chosen, others): (Vec<_>, Vec<_>) =
        variants.partition(|(stored, _)| chosen.is_some_and(|chosen| Arc::ptr_eq(chosen, stored)));
    let of_chosen = of_chosen.first().copied();
    let decision = state.decisions.of(digest);
    let followed = state.purges.standing();
    let filling = !state.inflight.of(digest).is_empty();
    let met = Met { found: &found, chosen, place: of_chosen.map(|(_, place)| place), filling };
    let (word, sentence) = met.told(state, &on_disk, now);
    let text = KeyText::of(key);
    let tags = chosen.map(|stored| stored.tags.iter().map(|tag| &**tag).collect::<Vec<_>>());
    let subject = Subject {
        site: &site.id,
        host: text.host,
        path: text.path,
        query: text.query,
        tags: tags.as_deref().unwrap_or_default(),
        filled_at: 0,
    };
    Explanation {
        node: state.name.to_string(),
        site: Some(site.id.to_string()),
        origins: origins(site, text.host),
        key: String::from_utf8_lossy(key).into_owned(),
        state: word,
        sentence,
        selected: of_chosen.map(|(stored, place)| variant(stored, place, &followed, now)),
        variants: others
            .into_iter()
            .map(|(stored, place)| variant(stored, place, &followed, now))
            .collect(),
        hidden_on_disk: on_disk.is_hidden,
        not_stored: decision.map(|decision| ExplainedDecision {
            word: decision.why.word().to_owned(),
            sentence: decision.why.sentence(),
            seconds_ago: now.millis_since(decision.at) / 1000,
            status: decision.status.map(|status| status.as_u16()),
        }),
        last_purge: state
            .purges
            .last_match(&subject)
            // What the index knows is of the log that is followed: the floor took the rest.
            .and_then(|(own, soft)| Some(ExplainedPurge { seq: followed.of_log(own)?, soft })),
    }
}

/// The origins of a site, and the Host that each is asked with for a visitor's `host`.
fn origins(site: &Site, host: &str) -> Vec<ExplainedOrigin> {
    let origins = site.config.origins.iter();
    let explained = origins.map(|origin| {
        let scheme = if origin.tls { "https" } else { "http" };
        let host = if origin.visitors_host { host } else { &origin.authority };
        ExplainedOrigin { url: format!("{scheme}://{}", origin.authority), host: host.to_owned() }
    });
    explained.collect()
}

/// Where a stored response is.
const MEMORY: &str = "memory";
const DISK: &str = "disk";

/// Where a response is that the memory store has: of a longer body it has only the head.
fn place_of(stored: &Stored) -> &'static str {
    if is_on_disk(stored) { DISK } else { MEMORY }
}

fn is_on_disk(stored: &Stored) -> bool {
    stored.body.kept_below().is_some()
}

/// What a request would meet now.
struct Met<'a> {
    found: &'a Lookup,
    chosen: Option<&'a Arc<Stored>>,
    /// Where that is.
    place: Option<&'static str>,
    /// Whether the URL is being fetched.
    filling: bool,
}

impl Met<'_> {
    /// A word and a sentence.
    fn told(&self, state: &NodeState, on_disk: &SeenOnDisk, now: Time) -> (&'static str, String) {
        let (word, sentence) = now_met(state, self, now);
        if word != "not-stored" {
            return (word, sentence);
        }
        match &on_disk.unread {
            _ if on_disk.is_hidden => {
                let hidden = "What is stored on disk is hidden until the log was replayed";
                (word, format!("{hidden}: the next request fetches it."))
            }
            Some(why) => {
                let unread = format!("Stored on disk, where it could not be read ({why})");
                (word, format!("{unread}: the next request may fetch it."))
            }
            None => (word, sentence),
        }
    }
}

fn now_met(state: &NodeState, met: &Met<'_>, now: Time) -> (&'static str, String) {
    let Met { found, chosen, place, filling } = *met;
    let stored_there = if place == Some(DISK) { "Stored on disk" } else { "Stored" };
    let purged = chosen.filter(|stored| matches!(state.purges.validity(stored), Validity::Hard(_)));
    match found {
        Lookup::Fresh { stored, .. } => {
            let left = ttl(stored, now);
            (
                "fresh",
                format!("{stored_there} and fresh for {left} s more: the next request is a hit."),
            )
        }
        Lookup::Partial(stored) => {
            let held = bytes_of(stored);
            (
                "partial",
                format!("Only {held} bytes of it are stored: the next request fetches the rest."),
            )
        }
        Lookup::Stale { stored, stale } => {
            let validity = state.purges.validity(stored);
            let why = match validity {
                Validity::Soft(own) => {
                    let seq = state.purges.standing().of_log(own).unwrap_or(own);
                    format!("soft-purged (seq {seq})")
                }
                _ if state.lease.validates(now) => "control is lost".to_owned(),
                _ if stored.freshness.validate_always => "stored under no-cache".to_owned(),
                _ => format!("stale for {} s", -ttl(stored, now)),
            };
            let tagged = stored.fields().first(&header::ETAG).is_some();
            let validates = tagged || stored.fields().first(&header::LAST_MODIFIED).is_some();
            let then = match (stale.while_revalidating, stale.validates && validates) {
                (true, _) => "the next request gets it while weir refreshes it in the background",
                (false, true) => "the next request validates it with the origin",
                (false, false) => "the next request fetches it again",
            };
            ("stale", format!("{stored_there}, but {why}: {then}."))
        }
        _ if purged.is_some_and(|stored| stored.filled_at < state.purges.standing().floor) => {
            let why = "The log no longer shows whether it was purged";
            ("purged", format!("{why}: the next request fetches it again."))
        }
        _ if purged.is_some() => {
            ("purged", "It was purged: the next request fetches it again.".to_owned())
        }
        _ if filling => {
            ("filling", "It is being fetched: the next request waits for that fetch.".to_owned())
        }
        Lookup::VaryMiss(selecting) => {
            let fields: Vec<&str> = selecting.fields.iter().map(|name| name.as_str()).collect();
            let fields = fields.join(", ");
            (
                "not-stored",
                format!("Stored for other values of {fields}: the next request fetches it."),
            )
        }
        Lookup::UriMiss => ("not-stored", "Not stored: the next request fetches it.".to_owned()),
    }
}

/// Bytes of a body that are held, in memory or on disk.
fn bytes_of(stored: &Stored) -> u64 {
    let Some(body) = stored.body.kept_below() else { return stored.body.held() };
    let (length, slice) = (body.length().unwrap_or(0), Geometry::SLICE as usize);
    let slices = (0..length).step_by(slice);
    let spans = slices.map(|start| Span { start, end: length.min(start + slice as u64) });
    spans.filter(|span| body.covers(*span)).map(|span| span.end - span.start).sum()
}

fn variant(
    stored: &Stored,
    place: &'static str,
    followed: &FollowedLog,
    now: Time,
) -> ExplainedVariant {
    let text = |name| {
        let value = stored.fields().first(name);
        value.map(|value| String::from_utf8_lossy(value).into_owned())
    };
    let selecting = stored.selecting.as_ref();
    let complete = stored.body.complete_length();
    ExplainedVariant {
        stored_in: place,
        selecting: selecting.map_or_else(Vec::new, |selecting| {
            weir_rules::vary::shown_values(&selecting.fields, &selecting.values)
        }),
        status: stored.status.as_u16(),
        bytes: bytes_of(stored),
        complete_length: complete.filter(|_| !stored.body.is_complete()),
        age: stored.freshness.age(now),
        lifetime: stored.freshness.lifetime,
        lifetime_source: stored.lifetime_source.to_string(),
        ttl: ttl(stored, now),
        etag: text(&header::ETAG),
        last_modified: text(&header::LAST_MODIFIED),
        tags: stored.tags.iter().map(ToString::to_string).collect(),
        // Those from disk are not counted for each response.
        hits: (place == MEMORY).then(|| stored.served.times().into()),
        filled_at_seq: followed.of_log(stored.filled_at),
    }
}

/// Seconds of freshness left; negative once stale.
fn ttl(stored: &Stored, now: Time) -> i64 {
    match stored.freshness.state(now) {
        State::Fresh { left } => i64::from(left),
        State::Refreshable { past } | State::Stale { past, .. } => -i64::from(past),
    }
}

fn unknown_host(state: &NodeState, asked: &ExplainedUrl) -> Explanation {
    Explanation {
        node: state.name.to_string(),
        site: None,
        origins: Vec::new(),
        key: format!("{}://{}{}", asked.scheme, asked.host, asked.path),
        state: "unknown-host",
        sentence: format!("No site has the host {}: requests are refused with 421.", asked.host),
        selected: None,
        variants: Vec::new(),
        hidden_on_disk: false,
        not_stored: None,
        last_purge: None,
    }
}

/// A URL, read.
#[derive(Clone)]
struct ExplainedUrl {
    scheme: String,
    host: String,
    path: String,
    query: Option<String>,
    /// A path alone, at a site that takes every host.
    of_any_host: bool,
}

impl ExplainedUrl {
    fn key(&self, state: &NodeState, site: &Site, headers: &HeaderMap) -> Vec<u8> {
        let mut key = Vec::new();
        let release = state.release_of(site);
        let parts = KeyParts {
            scheme: &self.scheme,
            host: &self.host,
            path: &self.path,
            query: self.query.as_deref(),
            release: release.as_deref(),
        };
        write_key(&mut key, &parts, &site.config.key, headers);
        key
    }

    fn parse(url: &str, sites: &[Arc<Site>]) -> Result<Self, String> {
        let accepted = "accepted: an absolute http or https URL, or a path that begins with /";
        let first = sites.first().and_then(|site| site.config.hosts.first());
        let named = first.filter(|host| !host.starts_with('*'));
        let base = named.map_or("http://localhost".to_owned(), |host| format!("http://{host}"));
        let of_any_host = named.is_none() && url.starts_with('/');
        let whole = if url.starts_with('/') { format!("{base}{url}") } else { url.to_owned() };
        let uri: http::Uri =
            spelled_url(&whole).parse().map_err(|error| format!("{url:?}: {error}; {accepted}"))?;
        let scheme = match uri.scheme_str() {
            Some(scheme @ ("http" | "https")) => scheme.to_owned(),
            _ => return Err(format!("{url:?} has no known scheme; {accepted}")),
        };
        let host = uri.host().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
        let default = if scheme == "https" { 443 } else { 80 };
        let host = match uri.port_u16() {
            Some(port) if port != default => format!("{host}:{port}"),
            _ => host,
        };
        let path = uri.path().to_owned();
        let query = uri.query().map(str::to_owned);
        Ok(Self { scheme, host, path, query, of_any_host })
    }
}
