//! `weir check FILE --request`: which rules a request matches, and which of them decides what.

use super::access;
use super::pages::{error_pages, maintenance};
use crate::commands::{Exit, complain, print};
use crate::text::{columns, harmless};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};
use weir_config::Config;
use weir_edge::error::StartError;
use weir_edge::geo::country_of;
use weir_rules::access::signed::{remaining_query, remove_cookies};
use weir_rules::access::spellings::EverySpelling;
use weir_rules::assets::may_be_anonymous;
use weir_rules::country::Country;
use weir_rules::key::{KeyParts, write_key};
use weir_rules::site_rules::{Readings, RedirectedRequest, Rule, RuleRequest};
use weir_rules::target::spelled_url;

const FORM: &str = "a method and an absolute URL, such as \"GET https://example.com/a\"";

/// A request that is asked about.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    method: Method,
    scheme: String,
    host: String,
    path: String,
    query: Option<String>,
}

impl Asked {
    /// Reads `METHOD URL`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{why}; accepted: {FORM}");
        let (method, url) = text.split_once(' ').ok_or_else(|| wrong("not two words"))?;
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| wrong("not a method"))?;
        let url: Uri =
            spelled_url(url.trim()).parse().map_err(|error| wrong(&format!("{error}")))?;
        let scheme = match url.scheme_str() {
            Some(scheme @ ("http" | "https")) => scheme.to_owned(),
            _ => return Err(wrong("not an absolute http or https URL")),
        };
        let name = url.host().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
        let default = if scheme == "https" { 443 } else { 80 };
        let host = match url.port_u16() {
            Some(port) if port != default => format!("{name}:{port}"),
            _ => name,
        };
        let query = url.query().map(str::to_owned);
        Ok(Self { method, scheme, host, path: url.path().to_owned(), query })
    }

    /// Prints the site, the rules that apply before there is a response, what each decides, and the key.
    pub(super) fn answer(
        &self,
        config: &Config,
        headers: HeaderMap,
        client: Option<IpAddr>,
    ) -> Exit {
        let name = match self.host.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => name,
            _ => &self.host,
        };
        let Some(site) = config.site_for(name) else {
            return complain(&format!("no site has the host {name}"), Exit::Failed);
        };
        let (rules, query) = (&site.rules, self.query.as_deref());
        let country = match client.filter(|_| rules.look_at_country()).map(|c| country(config, c)) {
            None => None,
            Some(Ok(country)) => Some(country),
            Some(Err(error)) => return complain(&error.to_string(), Exit::Failed),
        };
        let address = client.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        let asked = RuleRequest {
            method: &self.method,
            scheme: &self.scheme,
            host: &self.host,
            query,
            client: address,
            country,
            headers: &headers,
        };
        let every = EverySpelling::of(&self.path, query);
        let demanding: Vec<&Rule> = rules.those(rules.access(&asked, &every)).collect();
        let refusal = access::refusal(&demanding, name, query, &headers, client);
        // What is judged is removed, as by nodes: nothing else sees it.
        let mut left = headers.clone();
        let query = match site.signing_keys.is_empty() {
            true => query.map(Cow::Borrowed),
            false => {
                remove_cookies(&mut left);
                query.and_then(remaining_query)
            }
        };
        let (query, mut headers) = (query.as_deref(), left);
        let admitted = RuleRequest { query, headers: &headers, ..asked };
        let matching = rules.matching(&admitted, &Readings::of(&self.path, query));
        let applied = rules.applied(matching);
        let mut rows = vec![("site", site.id.clone())];
        rows.extend(country.map(|country| ("country", country.to_string())));
        let names: Vec<&str> = rules.those(applied).map(|rule| rule.name.as_str()).collect();
        rows.push(("rules", if names.is_empty() { "none".to_owned() } else { names.join(", ") }));
        rows.extend(access::demands(&demanding));
        for (setting, rule) in rules.decided(applied).filter(|(setting, _)| !setting.is_of_access())
        {
            rows.push((setting.word(), rule.name.clone()));
        }
        let later = rules.awaiting_response(matching).map(|rule| rule.name.as_str());
        let later: Vec<&str> = later.collect();
        if !later.is_empty() {
            rows.push(("by response", later.join(", ")));
        }
        let is_preflight = rules.preflight(applied, &self.method, &headers).is_some();
        let redirected =
            RedirectedRequest { host: &self.host, path: &self.path, query, captures: &[] };
        if let Some(refusal) = refusal {
            rows.push(("answer", format!("{} {}", refusal.status().as_u16(), refusal.word())));
        } else if let Some(answer) = maintenance(rules, applied) {
            rows.push(("answer", answer));
        } else if is_preflight {
            rows.push(("answer", "204".to_owned()));
        } else if let Some((status, to)) = rules.redirect(applied, &redirected) {
            let to = harmless(&String::from_utf8_lossy(to.as_bytes()));
            rows.push(("answer", format!("{} {to}", status.as_u16())));
        }
        rows.extend(error_pages(rules, applied));
        let release = site.release.as_ref().and_then(|release| release.initial.as_deref());
        let keyed = rules.keyed_target(applied, &self.path, query);
        let for_origin = rules.origin_target(applied, &self.path, query);
        let (keyed, for_origin) = match (keyed, for_origin) {
            (Ok(keyed), Ok(for_origin)) => (keyed, for_origin),
            _ => {
                rows.push(("answer", "400 the path can be read in two ways".to_owned()));
                (None, None)
            }
        };
        if let Some(target) = keyed.as_deref() {
            rows.push(("rewritten", harmless(target)));
        } else if let Some(target) = for_origin {
            rows.push(("rewritten", format!("{} (at the origin)", harmless(&target))));
        }
        let (path, query) = match keyed.as_deref().map(|target| target.split_once('?')) {
            Some(Some((path, query))) => (path, Some(query)),
            Some(None) => (keyed.as_deref().unwrap_or_default(), None),
            None => (&*self.path, query),
        };
        let parts = KeyParts { scheme: &self.scheme, host: &self.host, path, query, release };
        let mut key = Vec::new();
        let key_rules = rules.key(applied, &site.key);
        let cookies = rules.cookies(applied, site.cookies.as_ref());
        let judged =
            cookies.map(|(cookies, of_path)| (cookies.judge(&key_rules, &headers), of_path));
        if let Some((judged, _)) = &judged {
            judged.remaining.clone().put(&mut headers);
        }
        let edited = rules.edited_request(applied, &headers, country);
        let is_for_everyone =
            || site.anonymous_assets && may_be_anonymous(&self.method, path, &edited);
        // In the words of Cache-Status.
        if judged.is_some_and(|(judged, of_path)| judged.bypass && (of_path || !is_for_everyone()))
        {
            rows.push(("store", "skipped, bypass-cookie".to_owned()));
        } else if rules.bypasses(applied) {
            rows.push(("store", "skipped, rule-bypass".to_owned()));
        }
        write_key(&mut key, &parts, &key_rules, &edited);
        rules.write_key(&mut key, matching);
        let key = String::from_utf8_lossy(&key).into_owned();
        rows.push(("key", key.split('\n').map(harmless).collect::<Vec<_>>().join(" | ")));
        print(&columns(&rows));
        Exit::Done
    }
}

/// The country of a client.
fn country(config: &Config, client: IpAddr) -> Result<Country, StartError> {
    config.geo.as_ref().map_or(Ok(Country::UNKNOWN), |geo| country_of(geo, client))
}

/// Reads `Name: value`.
pub(super) fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let read = text.split_once(':').and_then(|(name, value)| {
        let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
        Some((name, HeaderValue::from_str(value.trim()).ok()?))
    });
    read.ok_or_else(|| "not a header; accepted: \"Name: value\"".to_owned())
}
