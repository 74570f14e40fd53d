//! What one client fills is what any other with its key would have fetched, under generated rules of every kind, and
//! a parent that is told of them comes to the same. Each request is read as a node reads it.
#![allow(clippy::unwrap_used)]

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use std::net::IpAddr;
use weir_rules::cookies::{CookieNames, CookieRules};
use weir_rules::country::Country;
use weir_rules::key::{KeyParts, KeyRules, QueryKeep, QueryRules, origin_query, write_key};
use weir_rules::site_rules::{
    Conditions, HeaderCondition, HeaderEdits, Ignored, PathPattern, Readings, Rewrite, Rule,
    RuleCookies, RuleRequest, RuleResponse, RuleSet, Settings, SiteRules, StaleSettings, Template,
};
use weir_rules::storability::SitePolicy;

/// A request as a node gets it.
#[derive(Clone, Debug)]
struct Asked {
    method: Method,
    path: String,
    query: Option<String>,
    scheme: &'static str,
    client: IpAddr,
    country: Option<Country>,
    headers: HeaderMap,
}

/// What becomes of a request before the store is looked at.
#[derive(Debug)]
struct Read {
    key: Vec<u8>,
    /// Whether it goes past the store: then it fills nothing, and nothing answers it.
    skips: bool,
    fetched: Fetched,
    /// As it goes on to a parent.
    onward: Asked,
}

/// All that rules say of what the origin is asked and of how its answer is stored.
#[derive(Debug, PartialEq)]
struct Fetched {
    target: String,
    pool: Option<String>,
    /// What is made of the fields and cookies that a client may send, whatever it did send.
    fields: HeaderMap,
    ignored: Vec<Ignored>,
    tags: Vec<String>,
    /// For each of some responses.
    terms: Vec<(SitePolicy, Option<u64>)>,
}

impl Asked {
    fn matching(&self, rules: &SiteRules) -> RuleSet {
        let Self { method, path, query, scheme, client, country, headers } = self;
        let (query, client, country) = (query.as_deref(), *client, *country);
        let host = "example.com";
        let request = RuleRequest { method, scheme, host, query, client, country, headers };
        rules.matching(&request, &Readings::of(path, query))
    }

    /// Reads it under the rules that it matches. A parent does not rewrite again.
    fn read(&self, rules: &SiteRules, set: RuleSet, site: &KeyRules, is_first: bool) -> Read {
        let applied = rules.applied(set);
        let key_rules = rules.key(applied, site);
        let cookies = rules.cookies(applied, None);
        let mut headers = self.headers.clone();
        let judged = cookies.map(|(cookies, _)| cookies.judge(&key_rules, &headers));
        let skips = rules.bypasses(applied) || judged.as_ref().is_some_and(|judged| judged.bypass);
        judged.into_iter().for_each(|judged| judged.remaining.put(&mut headers));
        let mut fields = probe();
        if let Some((cookies, _)) = cookies {
            cookies.judge(&key_rules, &fields).remaining.put(&mut fields);
        }
        if is_first {
            headers = rules.edited_request(applied, &headers, self.country).into_owned();
            fields = rules.edited_request(applied, &fields, self.country).into_owned();
        }
        let (path, query) = (&*self.path, self.query.as_deref());
        let rewritten = match is_first {
            true => rules.keyed_target(applied, path, query).unwrap(),
            false => None,
        };
        let (path, query) = match &rewritten {
            Some(target) => split(target),
            None => (path, query),
        };
        let parts =
            KeyParts { scheme: self.scheme, host: "example.com", path, query, release: None };
        let mut key = Vec::new();
        write_key(&mut key, &parts, &key_rules, &headers);
        rules.write_key(&mut key, set);
        let kept = origin_query(query, &key_rules.query);
        let keyed = joined(path, kept.as_deref());
        let target = rules.origin_target(applied, path, kept.as_deref()).unwrap().unwrap_or(keyed);
        let fetched = Fetched {
            target,
            pool: rules.origin(applied).map(str::to_owned),
            fields,
            ignored: rules.ignored(applied).to_vec(),
            tags: rules.tags(applied, path, query),
            terms: terms(rules, set),
        };
        let onward = Asked {
            path: path.to_owned(),
            query: query.map(str::to_owned),
            headers,
            // The edge's own address; no country is looked up there.
            client: [203, 0, 113, 1].into(),
            country: None,
            ..self.clone()
        };
        Read { key, skips, fetched, onward }
    }
}

/// Each field and cookie that the rules look at or change.
fn probe() -> HeaderMap {
    let lines = [("x-device", "probe"), ("cookie", "c=1; d=2; e=3; f=4")];
    lines
        .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
        .into_iter()
        .collect()
}

fn terms(rules: &SiteRules, set: RuleSet) -> Vec<(SitePolicy, Option<u64>)> {
    let responses = [(200, "text/html"), (200, "image/png"), (404, "text/html"), (500, "a/b")];
    let site = SitePolicy::default();
    let terms = responses.map(|(status, content_type)| {
        let value = HeaderValue::from_static(content_type);
        let headers = HeaderMap::from_iter([(http::header::CONTENT_TYPE, value)]);
        let response =
            RuleResponse { status: StatusCode::from_u16(status).unwrap(), headers: &headers };
        let policy = rules.policy(rules.applied_to(set, &response), &site);
        (policy.into_owned(), rules.max_object(set, &response))
    });
    terms.into()
}

fn split(target: &str) -> (&str, Option<&str>) {
    match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    }
}

fn joined(path: &str, query: Option<&str>) -> String {
    query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
}

fn key_rules(query: QueryKeep, device: bool, cookies: &[&str]) -> KeyRules {
    KeyRules {
        query: QueryRules { sort: false, keep: query },
        headers: device.then(|| HeaderName::from_static("x-device")).into_iter().collect(),
        cookies: cookies.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn a_key() -> impl Strategy<Value = KeyRules> {
    let keep = prop_oneof![
        4 => Just(QueryKeep::All),
        1 => Just(QueryKeep::Nothing),
        1 => Just(QueryKeep::Only(vec!["x".into()])),
        1 => Just(QueryKeep::Except(vec!["x".into()])),
    ];
    let cookies = subsequence(vec!["c", "d"], 0..=1);
    (keep, any::<bool>(), cookies)
        .prop_map(|(keep, device, cookies)| key_rules(keep, device, &cookies))
}

prop_compose! {
    fn a_condition()(
        path in subsequence(vec!["/a*", "*b", "/a?x=1", "/ab"], 0..=2),
        cookie in proptest::option::weighted(0.2, select(vec!["c", "e"])),
        query in proptest::option::weighted(0.2, Just("x")),
        device in proptest::option::weighted(0.2, Just("m*")),
        method in proptest::option::weighted(0.2, Just(Method::GET)),
        secure in proptest::option::weighted(0.2, select(vec!["http", "https"])),
        near in proptest::bool::weighted(0.2),
        country in proptest::option::weighted(0.2, select(vec!["DE", "ZZ"])),
    ) -> Conditions {
        Conditions {
            path: path.iter().map(|path| PathPattern::parse(path).unwrap()).collect(),
            cookie: cookie.into_iter().map(str::to_owned).collect(),
            query: query.into_iter().map(str::to_owned).collect(),
            header: device.into_iter().map(|value| HeaderCondition {
                name: "x-device".parse().unwrap(),
                values: vec![value.to_owned()],
            }).collect(),
            method: method.into_iter().collect(),
            scheme: secure,
            client: near.then(|| "192.0.2.0/24".parse().unwrap()).into_iter().collect(),
            country: country.into_iter().map(|code| Country::parse(code).unwrap()).collect(),
            ..Conditions::default()
        }
    }
}

/// One setting of the kinds that bear on what is fetched or stored.
fn a_setting() -> impl Strategy<Value = Settings> {
    let of = Settings::default;
    let edits = (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(set, remove, country)| {
        HeaderEdits {
            set: set
                .then(|| ("x-device".parse().unwrap(), HeaderValue::from_static("desktop")))
                .into_iter()
                .collect(),
            remove: remove.then_some(http::header::COOKIE).into_iter().collect(),
            country: country.then(|| "x-country".parse().unwrap()).into_iter().collect(),
            add: vec![("x-added".parse().unwrap(), HeaderValue::from_static("1"))],
        }
    });
    let cookies =
        (subsequence(vec!["c", "d", "e"], 0..=2), subsequence(vec!["e", "f"], 0..=1), a_key());
    let cookies = cookies.prop_map(|(ignore, bypass, key)| RuleCookies {
        rules: CookieRules {
            ignore: CookieNames::new(ignore),
            bypass: CookieNames::in_any_spelling(bypass),
        },
        key,
    });
    let rewrite = (select(vec!["/a", "/ab{query}", "{path}{query}", "/b{path}"]), any::<bool>());
    let rewrite =
        rewrite.prop_map(|(to, key)| Rewrite { to: Template::parse_rewrite(to).unwrap(), key });
    let stale = StaleSettings { while_revalidate: 1, if_error: 2 };
    prop_oneof![
        edits.prop_map(move |edits| Settings { request_headers: Some(edits), ..of() }),
        cookies.prop_map(move |cookies| Settings { cookies: Some(cookies), ..of() }),
        a_key().prop_map(move |key| Settings { key: Some(key), ..of() }),
        rewrite.prop_map(move |rewrite| Settings { rewrite: Some(rewrite), ..of() }),
        select(vec!["one", "two"])
            .prop_map(move |pool| Settings { origin: Some(pool.to_owned()), ..of() }),
        any::<bool>().prop_map(move |bypass| Settings { bypass: Some(bypass), ..of() }),
        subsequence(vec![Ignored::NoStore, Ignored::Private, Ignored::SetCookie], 1..=2)
            .prop_map(move |ignore| Settings { ignore: Some(ignore), ..of() }),
        select(vec!["t", "u"]).prop_map(move |tag| Settings {
            tags: Some(vec![Template::parse_tag(tag).unwrap()]),
            ..of()
        }),
        (1..4u32).prop_map(move |ttl| Settings { ttl: Some(ttl), ..of() }),
        (1..4u32).prop_map(move |ttl| Settings { default_ttl: Some(ttl), ..of() }),
        (1..4u32).prop_map(move |ttl| Settings { negative_ttl: Some(ttl), ..of() }),
        (1..4u32).prop_map(move |ttl| Settings { heuristic_max: Some(ttl), ..of() }),
        (1..4u64).prop_map(move |bytes| Settings { max_object: Some(bytes), ..of() }),
        Just(Settings { stale: Some(stale), ..of() }),
        // It ends the reading, or says nothing of the store.
        Just(of()),
        Just(Settings { browser_ttl: Some(1), ..of() }),
    ]
}

prop_compose! {
    fn a_rule()(
        conditions in a_condition(),
        settings in a_setting(),
        status in proptest::option::weighted(0.3, Just(StatusCode::NOT_FOUND)),
        content_type in proptest::option::weighted(0.2, Just("image/*")),
        is_final in proptest::bool::weighted(0.2),
    ) -> Rule {
        let mut rule = Rule { name: String::new(), conditions, is_final, settings };
        let set = &rule.settings;
        // As in the configuration: only what counts when there is a response may look at it.
        let is_late = set.ttl.is_some()
            || set.default_ttl.is_some()
            || set.negative_ttl.is_some()
            || set.heuristic_max.is_some()
            || set.max_object.is_some()
            || set.stale.is_some()
            || *set == Settings::default();
        let has_query = rule.conditions.path.iter().any(PathPattern::has_query);
        if is_late {
            rule.conditions.status = status.into_iter().collect();
            rule.conditions.content_type = content_type.into_iter().map(str::to_owned).collect();
        }
        if rule.settings.rewrite.is_some() && has_query {
            rule.conditions.path.clear();
        }
        rule
    }
}

prop_compose! {
    fn an_asked()(
        path in select(vec!["/a", "/ab", "/b", "/%61b"]),
        query in proptest::option::of(select(vec!["x=1", "x=2", "y&x=1", ""])),
        cookies in subsequence(vec!["c=1", "d=1", "e=1", "f=1"], 0..=2),
        device in proptest::option::of(select(vec!["mobile", "desktop"])),
        told in proptest::option::weighted(0.2, Just("SE")),
        near in any::<bool>(),
        country in proptest::option::of(select(vec!["DE", "SE", "ZZ"])),
        method in select(vec![Method::GET, Method::GET, Method::HEAD]),
        scheme in select(vec!["http", "http", "http", "https"]),
    ) -> Asked {
        let lines = [
            ("cookie", (!cookies.is_empty()).then(|| cookies.join("; "))),
            ("x-device", device.map(str::to_owned)),
            ("x-country", told.map(str::to_owned)),
        ];
        let lines = lines.into_iter().filter_map(|(name, value)| Some((name, value?)));
        Asked {
            method,
            path: path.to_owned(),
            query: query.map(str::to_owned),
            scheme,
            client: if near { [192, 0, 2, 7] } else { [198, 51, 100, 1] }.into(),
            country: country.map(|code| Country::parse(code).unwrap()),
            headers: lines.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect(),
        }
    }
}

/// Two requests, most of which are for one URL: others hardly ever have one key.
fn two_asked() -> impl Strategy<Value = (Asked, Asked)> {
    (an_asked(), an_asked(), proptest::bool::weighted(0.8)).prop_map(|(one, other, is_same)| {
        let Asked { path, query, scheme, .. } = one.clone();
        let same = |other| Asked { path, query, scheme, ..other };
        let other = if is_same { same(other) } else { other };
        (one, other)
    })
}

/// A site's rules, and how it makes its keys.
fn a_site() -> impl Strategy<Value = (SiteRules, KeyRules)> {
    (proptest::collection::vec(a_rule(), 0..5), a_key()).prop_map(|(rules, key)| {
        let mut named = rules;
        for (n, rule) in named.iter_mut().enumerate() {
            rule.name = format!("r{n}");
            // As the configuration makes them: each has a part of its own, and the rest is the site's.
            if let Some(own) = &mut rule.settings.key {
                own.cookies.clone_from(&key.cookies);
            }
            if let Some(own) = &mut rule.settings.cookies {
                own.key = KeyRules { cookies: std::mem::take(&mut own.key.cookies), ..key.clone() };
            }
        }
        let of_rules = named.iter().filter_map(|rule| rule.settings.key.as_ref());
        let is_plain = of_rules.chain([&key]).all(|key| key.query == QueryRules::default());
        (SiteRules::new(named, is_plain), key)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn what_one_client_fills_any_other_with_its_key_would_have_fetched(
        (rules, site) in a_site(),
        (one, other) in two_asked(),
    ) {
        let [one, other] = [one, other].map(|asked| asked.read(&rules, asked.matching(&rules), &site, true));
        if one.key == other.key && !one.skips && !other.skips {
            prop_assert_eq!(one.fetched, other.fetched, "{}", String::from_utf8_lossy(&one.key));
        }
    }

    #[test]
    fn a_parent_has_the_key_and_fetches_what_the_first_node_would(
        (rules, site) in a_site(),
        asked in an_asked(),
    ) {
        let here = asked.read(&rules, asked.matching(&rules), &site, true);
        let names = rules.names(asked.matching(&rules));
        let told = names.map_or(Ok(RuleSet::default()), |names| rules.named(&names)).unwrap();
        let there = here.onward.read(&rules, told, &site, false);
        prop_assert_eq!(String::from_utf8_lossy(&here.key), String::from_utf8_lossy(&there.key));
        // An edge tells of a cookie that made it skip the store.
        prop_assert!(here.skips || !there.skips);
        let fields = here.fetched.fields.clone();
        prop_assert_eq!(here.fetched, Fetched { fields, ..there.fetched });
    }
}
