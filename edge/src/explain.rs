//! What the node knows of a URL, for `weir explain`: reads, changes nothing, fetches nothing. It may wait
//! for the disk store, and walk over the whole memory store.

mod cookies;
mod shape;

pub use shape::{
    ExplainedAccess, ExplainedCoding, ExplainedCookies, ExplainedDecision, ExplainedOrigin,
    ExplainedPurge, ExplainedRewrite, ExplainedRule, ExplainedVariant, Explanation,
};

use crate::coding::permit;
use crate::disk::{DiskStore, SeenOnDisk};
use crate::error::ClientError;
use crate::host::without_port;
use crate::lookup::{Lookup, Query, lookup_again, lookup_among};
use crate::purge::FollowedLog;
use crate::rewrite::{self, Asked};
use crate::state::{NodeState, Site};
use crate::store::{Form, KeyText, Stored, select};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, header};
use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::ControlFlow;
use std::sync::Arc;
use weir_rules::access::signed::remaining_query;
use weir_rules::access::spellings::EverySpelling;
use weir_rules::coding::{Coding, CodingRules};
use weir_rules::freshness::State;
use weir_rules::invalidation::{Subject, Validity};
use weir_rules::key::{KeyParts, write_key};
use weir_rules::range::Span;
use weir_rules::remedy::remedy;
use weir_rules::site_rules::{Readings, RuleRequest, RuleResponse, RuleSet, Setting};
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
    let is_redirected = state.leads_to_https(site, without_port(&asked.host), &asked.path);
    if is_redirected && url.starts_with('/') {
        asked.scheme = "https".to_owned();
    } else if is_redirected && asked.scheme == "http" {
        return Ok(redirected(state, site, &asked));
    }
    if url.starts_with('/') && !is_known(state, &asked.key(state, site, headers)) {
        let https = ExplainedUrl { scheme: "https".to_owned(), ..asked.clone() };
        if is_known(state, &https.key(state, site, headers)) {
            asked = https;
        }
    }
    let access = asked.access(site, headers);
    if !site.access.keys.is_empty() {
        asked.query = asked.query.and_then(|query| remaining_query(&query).map(Cow::into_owned));
    }
    let rewritten = match asked.rewritten(site, headers, live.limits().target_bytes) {
        Ok(rewritten) => rewritten,
        Err(error) => return Ok(refused(state, site, &asked, &error)),
    };
    let key = asked.key(state, site, headers);
    let (rules, matching) = (&site.config.rules, asked.matching(site, headers));
    let mut headers = headers.clone();
    let cookies = cookies::explain(&site.config, matching, KeyText::of(&key).path, &mut headers);
    let headers = rules.edited_request(rules.applied(matching), &headers, None).into_owned();
    let mut explanation = explain_key(state, site, &key, &headers, matching);
    if let Some(sentence) = cookies.as_ref().and_then(ExplainedCookies::skipped) {
        (explanation.state, explanation.sentence) = ("bypass", sentence);
    }
    if let Some((rule, _)) = rules.maintenance(rules.applied(matching)) {
        let sentence = format!("The rule {} answers with 503 (maintenance).", rule.name);
        (explanation.state, explanation.sentence) = ("maintenance", sentence);
    }
    (explanation.access, explanation.cookies) = (access, cookies);
    explanation.rewrite = rewritten;
    Ok(explanation)
}

/// Which rule decides each setting. Those with conditions on the response are judged by the stored one, if there is
/// one.
fn decided(site: &Site, matching: RuleSet, stored: Option<&Stored>) -> Vec<ExplainedRule> {
    let rules = &site.config.rules;
    if rules.is_empty() {
        return Vec::new();
    }
    let applied = match stored {
        Some(stored) => {
            let headers = stored.fields().to_map();
            rules.applied_to(matching, &RuleResponse { status: stored.status, headers: &headers })
        }
        None => rules.applied(matching),
    };
    // No rule overrides another one's access settings: those stand apart.
    let decided = rules.decided(applied).filter(|(setting, _)| !setting.is_of_access());
    decided
        .map(|(setting, rule)| ExplainedRule { setting: setting.word(), rule: rule.name.clone() })
        .collect()
}

/// Whether rules have a GET for this URL without any fields keyed as one for another.
pub(crate) fn is_rewritten(site: &Site, url: &str) -> bool {
    let Ok(asked) = ExplainedUrl::parse(url, &[]) else { return false };
    asked.keyed(site, &HeaderMap::new(), usize::MAX) != Ok(None)
}

/// Whether something is stored, being fetched or remembered under a key.
fn is_known(state: &NodeState, key: &[u8]) -> bool {
    let (digest, url) = (state.digest(key), state.store.url_of(key));
    let disk = state.disk.as_ref();
    state.store.get_again(digest, key).is_some()
        || disk.is_some_and(|disk| disk.may_have(url, key))
        || !state.inflight.of((url, digest)).is_empty()
        || state.decisions.of(digest).is_some()
}

/// Where a site takes every host, a path alone means the host under which it is stored: in memory the one
/// with the most answers, else the newest on disk.
fn stored_host(state: &NodeState, asked: &ExplainedUrl) -> Option<(String, String)> {
    let of = |key: &[u8]| {
        let scheme = if key.starts_with(b"https:") { "https" } else { "http" };
        (scheme.to_owned(), KeyText::of(key).host.to_owned())
    };
    let under = |stored: &Arc<Stored>| {
        let text = KeyText::of(stored.key());
        let is_it = text.path == asked.path && text.query == asked.query.as_deref();
        is_it.then(|| (stored.served.times(), of(stored.key())))
    };
    let mut most = None;
    let _ = state.store.visit(|_, resource| {
        most = most.take().max(resource.variants().first().and_then(under));
        ControlFlow::Continue(())
    });
    let on_disk = |disk: &Arc<DiskStore>| disk.key_of_any_host(&asked.path, asked.query.as_deref());
    match most {
        Some((_, stored)) => Some(stored),
        None => state.disk.as_ref().and_then(on_disk).map(|key| of(&key)),
    }
}

/// Clients that wait on, or read from, the fills that run for a URL without selecting fields.
pub(crate) fn waiting(state: &NodeState, url: &str) -> usize {
    let live = state.live.load();
    let Ok(asked) = ExplainedUrl::parse(url, live.sites.all()) else { return 0 };
    let Some(site) = live.sites.of(&asked.host) else { return 0 };
    let key = asked.key(state, site, &HeaderMap::new());
    let place = (state.store.url_of(&key), state.digest(&key));
    state.inflight.of(place).iter().map(|fill| fill.readers()).sum()
}

fn explain_key(
    state: &NodeState,
    site: &Site,
    key: &[u8],
    headers: &HeaderMap,
    matching: RuleSet,
) -> Explanation {
    let digest = state.digest(key);
    let query = Query::new(state, site, digest, key, headers);
    let now = query.now;
    let mut found = lookup_again(&state.store, &state.purges, &query);
    let resource = state.store.get_again(digest, key);
    let url = state.store.url_of(key);
    let look = |disk: &Arc<DiskStore>| disk.look(url, key, &site.id, now);
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
    let is_stored = of_chosen.is_some() || !others.is_empty();
    let decision = state.decisions.of(digest);
    let followed = state.purges.standing();
    let filling = !state.inflight.of((url, digest)).is_empty();
    let met = Met { found: &found, chosen, place: of_chosen.map(|(_, place)| place), filling };
    let (word, sentence) = met.told(state, &on_disk, now);
    let compress = site.config.compress.as_ref();
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
        origins: origins(site, matching, text.host),
        access: Vec::new(),
        rules: decided(site, matching, chosen.map(|stored| &**stored)),
        rewrite: None,
        key: String::from_utf8_lossy(key).into_owned(),
        cookies: None,
        state: word,
        sentence,
        selected: of_chosen.map(|(stored, place)| variant(stored, place, compress, &followed, now)),
        variants: others
            .into_iter()
            .map(|(stored, place)| variant(stored, place, compress, &followed, now))
            .collect(),
        hidden_on_disk: on_disk.is_hidden,
        not_stored: decision.map(|decision| ExplainedDecision {
            word: decision.why.word().to_owned(),
            sentence: decision.why.sentence(),
            remedy: remedy(decision.why.word()),
            seconds_ago: now.millis_since(decision.at) / 1000,
            status: decision.status.map(|status| status.as_u16()),
        }),
        last_purge: last_purge(state, &subject, (!is_stored).then_some(key), &followed),
    }
}

/// The last purge that matches, or that removed what was stored under a key where nothing is.
fn last_purge(
    state: &NodeState,
    subject: &Subject<'_>,
    empty: Option<&[u8]>,
    followed: &FollowedLog,
) -> Option<ExplainedPurge> {
    let named = state.purges.last_match(subject);
    let removed = empty.and_then(|key| state.purges.swept.of(key));
    let (own, soft) = match (named, removed) {
        (Some((seq, soft)), Some(removed)) if seq > removed => (seq, soft),
        (_, Some(removed)) => (removed, false),
        (named, None) => named?,
    };
    // What the index knows is of the log that is followed: the floor took the rest.
    Some(ExplainedPurge { seq: followed.of_log(own)?, soft, removed: removed.is_some() })
}

/// The origins that a request which matches these rules is sent to, and the Host that each is asked with for a
/// visitor's `host`.
fn origins(site: &Site, matching: RuleSet, host: &str) -> Vec<ExplainedOrigin> {
    let (pool, _) = site.origins(matching);
    let explained = pool.origins.iter().map(|origin| {
        let host = if origin.visitors_host { host } else { &origin.authority };
        ExplainedOrigin { url: origin.to_string(), host: host.to_owned(), pool: pool.name.clone() }
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
            let then = match is_on_disk(stored) {
                true => {
                    " on disk: the next request fetches the slices that it asks for and that are missing"
                }
                false => ": the next request fetches the rest",
            };
            ("partial", format!("Only {held} bytes of it are stored{then}."))
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
    rules: Option<&Arc<CodingRules>>,
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
        codings: rules.map_or_else(Vec::new, |rules| codings(stored, rules)),
        not_compressed: rules
            .and_then(|rules| permit(stored, rules).err())
            .map(|why| why.sentence().to_owned()),
    }
}

/// The forms in which a response is stored beside the original.
fn codings(stored: &Stored, rules: &Arc<CodingRules>) -> Vec<ExplainedCoding> {
    let made = Coding::ALL.into_iter().filter_map(|coding| match stored.forms.get(coding, rules) {
        Form::Coded(form) => {
            Some(ExplainedCoding { coding: coding.name(), bytes: bytes_of(&form) })
        }
        Form::Absent | Form::Useless => None,
    });
    made.collect()
}

/// Seconds of freshness left; negative once stale.
fn ttl(stored: &Stored, now: Time) -> i64 {
    match stored.freshness.state(now) {
        State::Fresh { left } => i64::from(left),
        State::Refreshable { past } | State::Stale { past, .. } => -i64::from(past),
    }
}

fn unknown_host(state: &NodeState, asked: &ExplainedUrl) -> Explanation {
    let sentence = format!("No site has the host {}: requests are refused with 421.", asked.host);
    never_looked_up(state, asked, "unknown-host", sentence)
}

fn redirected(state: &NodeState, site: &Site, asked: &ExplainedUrl) -> Explanation {
    let sentence = "Requests in the clear are redirected to https: ask for the URL with https.";
    let told = never_looked_up(state, asked, "redirected", sentence.to_owned());
    Explanation { site: Some(site.id.to_string()), ..told }
}

/// A URL that is answered with an error.
fn refused(
    state: &NodeState,
    site: &Site,
    asked: &ExplainedUrl,
    error: &ClientError,
) -> Explanation {
    let sentence = format!("Refused with {}: {}", error.status.as_u16(), error.message);
    let told = never_looked_up(state, asked, "refused", sentence);
    Explanation { site: Some(site.id.to_string()), ..told }
}

/// A URL that no request is looked up for.
fn never_looked_up(
    state: &NodeState,
    asked: &ExplainedUrl,
    word: &'static str,
    sentence: String,
) -> Explanation {
    Explanation {
        node: state.name.to_string(),
        site: None,
        origins: Vec::new(),
        access: Vec::new(),
        rules: Vec::new(),
        rewrite: None,
        key: format!("{}://{}{}", asked.scheme, asked.host, asked.path),
        cookies: None,
        state: word,
        sentence,
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
        let rewritten = self.keyed(site, headers, usize::MAX).unwrap_or_default();
        let rewritten = rewritten.as_ref();
        let parts = KeyParts {
            scheme: &self.scheme,
            host: &self.host,
            path: rewritten.map_or(&self.path, |target| target.path()),
            query: rewritten.map_or(self.query.as_deref(), |target| target.query()),
            release: release.as_deref(),
        };
        let (rules, matching) = (&site.config.rules, self.matching(site, headers));
        let applied = rules.applied(matching);
        let headers = rules.edited_request(applied, headers, None);
        write_key(&mut key, &parts, &rules.key(applied, &site.config.key), &headers);
        rules.write_key(&mut key, matching);
        key
    }

    /// The rules that a GET for it matches; neither a client's address nor its country is known.
    fn matching(&self, site: &Site, headers: &HeaderMap) -> RuleSet {
        let query = self.query.as_deref();
        let client = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let (method, scheme, host) = (&Method::GET, &*self.scheme, &*self.host);
        let country = None;
        let request = RuleRequest { method, scheme, host, query, client, country, headers };
        site.config.rules.matching(&request, &Readings::of(&self.path, query))
    }

    /// What its key has in its place.
    fn keyed(
        &self,
        site: &Site,
        headers: &HeaderMap,
        most: usize,
    ) -> Result<Option<PathAndQuery>, ClientError> {
        let asked = Asked { path: &self.path, query: self.query.as_deref() };
        rewrite::for_key(site, self.matching(site, headers), asked, most)
    }

    /// What a rule makes of it.
    fn rewritten(
        &self,
        site: &Site,
        headers: &HeaderMap,
        most: usize,
    ) -> Result<Option<ExplainedRewrite>, ClientError> {
        let asked = Asked { path: &self.path, query: self.query.as_deref() };
        let for_origin = rewrite::for_origin(site, self.matching(site, headers), asked, most)?;
        let explained =
            |key| move |to: PathAndQuery| ExplainedRewrite { to: to.as_str().to_owned(), key };
        let for_key = self.keyed(site, headers, most)?.map(explained(true));
        Ok(for_key.or(for_origin.map(explained(false))))
    }

    /// The access settings that a GET for it must satisfy.
    fn access(&self, site: &Site, headers: &HeaderMap) -> Vec<ExplainedAccess> {
        let rules = &site.config.rules;
        let (query, client) = (self.query.as_deref(), IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        let (method, scheme, host) = (&Method::GET, self.scheme.as_str(), self.host.as_str());
        let country = None;
        let request = RuleRequest { method, scheme, host, query, client, country, headers };
        let demanding = rules.those(rules.access(&request, &EverySpelling::of(&self.path, query)));
        let explained = demanding.map(|rule| {
            let settings = rule.settings.of_access().map(Setting::word).collect();
            ExplainedAccess { rule: rule.name.clone(), settings }
        });
        explained.collect()
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
