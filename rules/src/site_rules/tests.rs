#![allow(clippy::unwrap_used)]

use super::*;
use http::Method;
use proptest::prelude::*;

fn rule(name: &str, path: &[&str], settings: Settings) -> Rule {
    let path = path.iter().map(|path| PathPattern::parse(path).unwrap()).collect();
    let conditions = Conditions { path, ..Conditions::default() };
    Rule { name: name.into(), conditions, is_final: false, settings }
}

fn ttl(seconds: u32) -> Settings {
    Settings { default_ttl: Some(seconds), ..Settings::default() }
}

fn negative(seconds: u32) -> Settings {
    Settings { negative_ttl: Some(seconds), ..Settings::default() }
}

/// A request as the tests write it.
#[derive(Clone, Debug)]
struct Asked {
    method: Method,
    path: String,
    query: Option<String>,
    client: IpAddr,
    country: Option<Country>,
    headers: HeaderMap,
}

use std::net::IpAddr;

impl Asked {
    fn get(path: &str) -> Self {
        let client = "192.0.2.7".parse().unwrap();
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
            None => (path.to_owned(), None),
        };
        let headers = HeaderMap::new();
        Self { method: Method::GET, path, query, client, country: None, headers }
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.append(name, HeaderValue::from_str(value).unwrap());
        self
    }

    fn matching(&self, rules: &SiteRules) -> RuleSet {
        let Self { method, path, query, client, country, headers } = self;
        let query = query.as_deref();
        let request = RuleRequest {
            method,
            scheme: "http",
            host: "example.com:8080",
            query,
            client: *client,
            country: *country,
            headers,
        };
        rules.matching(&request, &Readings::of(path, query))
    }

    fn names(&self, rules: &SiteRules) -> Vec<String> {
        rules.those(rules.applied(self.matching(rules))).map(|rule| rule.name.clone()).collect()
    }
}

fn key(rules: &SiteRules, asked: &Asked) -> String {
    let mut key = Vec::new();
    rules.write_key(&mut key, asked.matching(rules));
    String::from_utf8(key).unwrap()
}

#[test]
fn all_matching_rules_apply_and_a_later_one_overrides_for_each_setting() {
    let rules = SiteRules::new(
        vec![
            rule("all", &[], Settings { negative_ttl: Some(5), ..ttl(10) }),
            rule("static", &["/static/*"], ttl(20)),
            rule("other", &["/other/*"], ttl(30)),
        ],
        true,
    );
    let asked = Asked::get("/static/a.css");
    assert_eq!(asked.names(&rules), ["all", "static"]);
    let applied = rules.applied(asked.matching(&rules));
    let decided: Vec<_> =
        rules.decided(applied).map(|(setting, rule)| (setting.word(), &*rule.name)).collect();
    assert_eq!(decided, [("default_ttl", "static"), ("negative_ttl", "all")]);
    let policy = rules.policy(applied, &SitePolicy::default()).into_owned();
    let expected = SitePolicy { default_ttl: 20, negative_ttl: 5, ..SitePolicy::default() };
    assert_eq!(policy, expected);
}

#[test]
fn a_final_rule_ends_the_reading_where_it_matches() {
    let last = Rule { is_final: true, ..rule("last", &["/a/*"], ttl(1)) };
    let rules = SiteRules::new(vec![last, rule("below", &[], negative(2))], true);
    assert_eq!(Asked::get("/a/b").names(&rules), ["last"]);
    assert_eq!(Asked::get("/b").names(&rules), ["below"]);
}

#[test]
fn a_table_matches_if_all_its_keys_do_and_a_list_if_any_item_does() {
    let mut both = rule("both", &["/a", "/b"], ttl(1));
    both.conditions.cookie = vec!["session".into(), "wp_*".into()];
    both.conditions.header = vec![HeaderCondition {
        name: "x-device".parse().unwrap(),
        values: vec!["mobile*".into(), "tablet".into()],
    }];
    both.conditions.query = vec!["page".into()];
    let rules = SiteRules::new(vec![both], true);
    let asked = |path| Asked::get(path).with("cookie", "x=1; wp_a=2").with("x-device", "Mobile-5");
    for (asked, matches) in [
        (asked("/a?page=1"), true),
        (asked("/b?x&page"), true),
        (asked("/c?page=1"), false),
        (asked("/a?pages=1"), false),
        (asked("/a"), false),
        (Asked::get("/a?page=1").with("cookie", "session").with("x-device", "TABLET"), true),
        (Asked::get("/a?page=1").with("cookie", "sessions=1").with("x-device", "tablet"), false),
        (Asked::get("/a?page=1").with("cookie", "session=1").with("x-device", "tablets"), false),
        (Asked::get("/a?page=1").with("x-device", "tablet"), false),
    ] {
        assert_eq!(!asked.names(&rules).is_empty(), matches, "{asked:?}");
    }
}

/// What a client writes beside what a rule looks for does not hide it.
#[test]
fn a_header_is_compared_whatever_bytes_it_has() {
    let mut robots = rule("robots", &[], ttl(1));
    let name = http::header::USER_AGENT;
    robots.conditions.header =
        vec![HeaderCondition { name: name.clone(), values: vec!["*badbot*".into()] }];
    let rules = SiteRules::new(vec![robots], true);
    for (value, is_met) in [
        (&b"BadBot/1"[..], true),
        (b"BadBot/1 \xe9", true),
        (b"\xff\xfeBADBOT", true),
        (b"\xc3\xa9 badbot\t", true),
        (b"bad\xe9bot", false),
    ] {
        let mut asked = Asked::get("/");
        asked.headers.insert(name.clone(), HeaderValue::from_bytes(value).unwrap());
        assert_eq!(!asked.names(&rules).is_empty(), is_met, "{value:?}");
    }
}

/// Where servers may read a path in two ways, a rule that lets more be stored needs both, one that keeps requests
/// from the store either.
#[test]
fn a_rule_that_keeps_requests_away_is_for_each_reading_of_a_path() {
    let bypass = Settings { bypass: Some(true), ..Settings::default() };
    let down = Maintenance::On(MaintenancePage::new(None, 1));
    let down = Settings { maintenance: Some(down), ..Settings::default() };
    let cookies = RuleCookies {
        rules: crate::cookies::CookieRules {
            bypass: crate::cookies::CookieNames::in_any_spelling(["sid"]),
            ..Default::default()
        },
        key: crate::key::KeyRules::default(),
    };
    let cookies = Settings { cookies: Some(cookies), ..Settings::default() };
    let rules = SiteRules::new(
        vec![
            rule("bypass", &["/own/*"], bypass),
            rule("down", &["/own/*"], down),
            rule("cookies", &["/own/*"], cookies),
            rule("off", &["/own/*"], Settings { bypass: Some(false), ..Settings::default() }),
            rule("ttl", &["/own/*"], ttl(1)),
        ],
        true,
    );
    let all = &["bypass", "down", "cookies", "off", "ttl"][..];
    for (path, cookie, names) in [
        ("/own/a", "", all),
        ("/other", "sid=1", &[]),
        ("//own/a", "", &["bypass", "down"]),
        ("//own/a", "sid=1", &["bypass", "down", "cookies"]),
        ("//own/a", "side=1", &["bypass", "down"]),
        ("/own/../other", "sid=1", &["bypass", "down", "cookies"]),
        ("/x/..%2fown/a", "", &["bypass", "down"]),
        ("/own;x/a", "", &["bypass", "down"]),
        ("//other", "sid=1", &[]),
        // Case is told apart where there is one reading, and this one has one.
        ("/Own/a", "", &[]),
    ] {
        assert_eq!(Asked::get(path).with("cookie", cookie).names(&rules), names, "{path} {cookie}");
    }
}

/// What the stars of such a rule stand for is not guessed.
#[test]
fn what_is_for_one_reading_alone_has_no_target_of_its_stars() {
    let to = |text| Template::parse(text).unwrap();
    let status = StatusCode::FOUND;
    let bypass = |settings| Settings { bypass: Some(true), ..settings };
    let redirect =
        Settings { redirect: Some(Redirect { status, to: to("/b/{1}") }), ..Settings::default() };
    let rewrite = Rewrite { to: Template::parse_rewrite("/c/{1}").unwrap(), key: false };
    let rewrite = Settings { rewrite: Some(rewrite), ..Settings::default() };
    let rules = |settings| SiteRules::new(vec![rule("a", &["/a/*"], bypass(settings))], true);
    let (redirecting, rewriting) = (rules(redirect), rules(rewrite));
    for (path, location, target) in [
        ("/a/x", Some("/b/x"), Ok(Some("/c/x"))),
        ("/a//x", Some("/b//x"), Ok(Some("/c//x"))),
        ("//a/x", None, Err(AmbiguousPath)),
        ("/y/..%2fa/x", None, Err(AmbiguousPath)),
        ("/other//x", None, Ok(None)),
    ] {
        let asked = Asked::get(path);
        let (applied, host) = (redirecting.applied(asked.matching(&redirecting)), "example.com");
        let request = RedirectedRequest { host, path, query: None, captures: &[] };
        let found = redirecting.redirect(applied, &request);
        let found = found.map(|(_, to)| to.to_str().unwrap().to_owned());
        assert_eq!(found.as_deref(), location, "{path}");
        let applied = rewriting.applied(asked.matching(&rewriting));
        let found = rewriting.origin_target(applied, path, None);
        assert_eq!(found.as_ref().map(Option::as_deref), target.as_ref().copied(), "{path}");
    }
}

#[test]
fn methods_schemes_and_networks_match() {
    let mut of_clients = rule("clients", &[], ttl(1));
    of_clients.conditions.client = vec!["192.0.2.0/24".parse().unwrap()];
    let mut of_post = rule("post", &[], ttl(1));
    of_post.conditions.method = vec![Method::POST];
    let mut of_get = rule("get", &[], ttl(1));
    of_get.conditions.method = vec![Method::GET];
    let mut secure = rule("secure", &[], ttl(1));
    secure.conditions.scheme = Some("https");
    let rules = SiteRules::new(vec![of_clients, of_post, of_get, secure], true);
    assert!(rules.look_at_client());
    let get = Asked::get("/");
    assert_eq!(get.names(&rules), ["clients", "get"]);
    let head = Asked { method: Method::HEAD, ..get.clone() };
    assert_eq!(head.names(&rules), ["clients", "get"], "one key, one answer");
    let mapped = Asked { client: "::ffff:192.0.2.9".parse().unwrap(), ..get.clone() };
    assert_eq!(mapped.names(&rules), ["clients", "get"]);
    let post = Asked { method: Method::POST, client: "198.51.100.1".parse().unwrap(), ..get };
    assert_eq!(post.names(&rules), ["post"]);
}

#[test]
fn countries_match_by_code_and_are_in_the_key_by_the_rule() {
    let country = |code: &str| Country::parse(code).unwrap();
    let of = |name: &str, codes: &[&str]| {
        let mut rule = rule(name, &[], ttl(1));
        rule.conditions.country = codes.iter().map(|code| country(code)).collect();
        rule
    };
    let rules = SiteRules::new(vec![of("near", &["DE", "AT"]), of("nowhere", &["ZZ"])], true);
    assert!(rules.look_at_country() && !SiteRules::default().look_at_country());
    for (code, names) in
        [(Some("DE"), &["near"][..]), (Some("SE"), &[]), (Some("ZZ"), &["nowhere"]), (None, &[])]
    {
        let asked = Asked { country: code.map(country), ..Asked::get("/") };
        assert_eq!(asked.names(&rules), names, "{code:?}");
        let keyed: String = names.iter().map(|name| format!("\nrule={name}")).collect();
        assert_eq!(key(&rules, &asked), keyed, "{code:?}");
    }
    let mut sending = rule("sending", &[], Settings::default());
    let edits =
        HeaderEdits { country: vec!["x-country".parse().unwrap()], ..HeaderEdits::default() };
    sending.settings.request_headers = Some(edits);
    let rules = SiteRules::new(vec![sending], true);
    assert!(rules.look_at_country());
    let asked = Asked { country: Some(country("SE")), ..Asked::get("/").with("x-country", "DE") };
    let applied = rules.applied(asked.matching(&rules));
    let sent = rules.edited_request(applied, &asked.headers, asked.country);
    assert_eq!(sent.get_all("x-country").iter().collect::<Vec<_>>(), ["SE"]);
}

#[test]
fn hosts_match_whatever_the_port_is() {
    let of = |host: &str| {
        let mut of_host = rule("host", &[], ttl(1));
        of_host.conditions.host = vec![host.to_owned()];
        let rules = SiteRules::new(vec![of_host], true);
        let matching = Asked::get("/").matching(&rules);
        (!matching.is_empty(), key(&rules, &Asked::get("/")))
    };
    assert_eq!(of("example.com"), (true, String::new()), "a host is in the key");
    assert_eq!(of("*.com"), (true, String::new()));
    assert_eq!(of("www.example.com"), (false, String::new()));
}

#[test]
fn a_redirect_is_decided_like_any_setting_and_has_no_part_in_keys() {
    let to = |to: &str| Settings {
        redirect: Some(Redirect { status: StatusCode::FOUND, to: Template::parse(to).unwrap() }),
        ..Settings::default()
    };
    let mut of_cookie = rule("cookie", &["/a/*"], to("/b/{1}"));
    of_cookie.conditions.cookie = vec!["c".into()];
    let rules = SiteRules::new(vec![rule("all", &["/a/*"], to("/c")), of_cookie], true);
    let asked = Asked::get("/a/x%20/y").with("cookie", "c");
    let request = RedirectedRequest { host: "h", path: "/a/x%20/y", query: None, captures: &[] };
    let redirected = |asked: &Asked| {
        let redirect = rules.redirect(rules.applied(asked.matching(&rules)), &request);
        redirect.map(|(_, to)| to.to_str().unwrap().to_owned())
    };
    assert_eq!(redirected(&asked).as_deref(), Some("/b/x%20/y"));
    assert_eq!(redirected(&Asked::get("/a/x")).as_deref(), Some("/c"));
    assert_eq!(redirected(&Asked::get("/b")), None);
    assert_eq!((key(&rules, &asked), rules.names(asked.matching(&rules))), (String::new(), None));
}

#[test]
fn edits_of_all_rules_are_made_from_top_to_bottom() {
    let set = |name: &str, value: &'static str| Settings {
        response_headers: Some(HeaderEdits {
            set: vec![(name.parse().unwrap(), HeaderValue::from_static(value))],
            ..HeaderEdits::default()
        }),
        ..Settings::default()
    };
    let mut of_errors = rule("errors", &[], set("x-b", "error"));
    of_errors.conditions.status = vec![StatusCode::NOT_FOUND];
    let rules =
        vec![rule("one", &[], set("x-a", "1")), rule("two", &["/a"], set("x-a", "2")), of_errors];
    let rules = Arc::new(SiteRules::new(rules, true));
    let sent = |status, path: &str| {
        let (mut fields, set) = (HeaderMap::new(), Asked::get(path).matching(&rules));
        let mut matched =
            MatchedRules { rules: Arc::clone(&rules), set, edits: true, origin: None };
        matched.sent(status, &mut fields);
        let value =
            |name| fields.get(name).map(|value: &HeaderValue| value.to_str().unwrap().to_owned());
        (value("x-a"), value("x-b"), matched.names().collect::<Vec<_>>().join(" "))
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(sent(StatusCode::OK, "/a"), (some("2"), None, "one two".into()));
    assert_eq!(sent(StatusCode::NOT_FOUND, "/b"), (some("1"), some("error"), "one errors".into()));
    let set = Asked::get("/a").with("cookie", "a").matching(&rules);
    assert!(rules.has_edits(set) && rules.names(set).is_none(), "parents need not know");
}

#[test]
fn a_rule_of_which_nothing_comes_is_found() {
    let idle = |rules: Vec<Rule>| {
        let rules = SiteRules::new(rules, true);
        rules
            .idle()
            .map(|(rule, why)| format!("{} {why:?}", rule.name))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let last =
        |name, path: &[&str]| Rule { is_final: true, ..rule(name, path, Settings::default()) };
    assert_eq!(idle(vec![last("a", &[]), rule("b", &["/b"], ttl(1))]), "b NeverRead(\"a\")");
    assert_eq!(idle(vec![last("a", &["/b"]), rule("b", &["/b"], ttl(1))]), "b NeverRead(\"a\")");
    assert_eq!(idle(vec![last("a", &["/a"]), rule("b", &["/b"], ttl(1))]), "");
    assert_eq!(
        idle(vec![rule("a", &["/a"], ttl(1)), rule("b", &[], ttl(2))]),
        "a Overridden(\"b\")"
    );
    let both = Settings { negative_ttl: Some(1), ..ttl(1) };
    assert_eq!(idle(vec![rule("a", &["/a"], both), rule("b", &[], ttl(2))]), "");
    let between = vec![rule("a", &[], ttl(1)), last("f", &["/f"]), rule("b", &[], ttl(2))];
    assert_eq!(idle(between), "", "what is final at /f leaves the first to decide");
    let (narrow, wide) =
        (rule("n", &["/s/*.css", "/s/a"], ttl(1)), rule("w", &["/s/*", "/t"], ttl(2)));
    assert_eq!(idle(vec![narrow.clone(), wide.clone()]), "n Overridden(\"w\")");
    assert_eq!(idle(vec![wide.clone(), narrow.clone()]), "");
    let wide = Rule { is_final: true, ..wide };
    assert_eq!(idle(vec![wide.clone(), narrow.clone()]), "n NeverRead(\"w\")");
    let of = |rule: &Rule, change: &dyn Fn(&mut Conditions)| {
        let mut rule = rule.clone();
        change(&mut rule.conditions);
        rule
    };
    type Change = fn(&mut Conditions, bool);
    let changes: [Change; 9] = [
        |c, wide| c.host = vec![if wide { "*.example" } else { "a.example" }.into()],
        |c, wide| c.method = [Method::GET, Method::POST][..1 + usize::from(wide)].to_vec(),
        |c, wide| {
            let values = vec![if wide { "*bot*" } else { "a-bot" }.into()];
            c.header = vec![HeaderCondition { name: http::header::USER_AGENT, values }];
        },
        |c, wide| c.cookie = vec![if wide { "wp_*" } else { "wp_a" }.into()],
        |c, wide| c.query = vec![if wide { "utm_*" } else { "utm_source" }.into()],
        |c, wide| c.scheme = (!wide).then_some("https"),
        |c, wide| {
            c.client = vec![if wide { "192.0.2.0/24" } else { "192.0.2.7/32" }.parse().unwrap()];
        },
        |c, wide| {
            let known = ["DE", "AT"].map(|code| Country::parse(code).unwrap());
            c.country = known[..1 + usize::from(wide)].to_vec();
        },
        |c, wide| c.content_type = vec![if wide { "text/*" } else { "text/css" }.into()],
    ];
    for (n, change) in changes.iter().enumerate() {
        let narrower = of(&narrow, &|c| change(c, false));
        let wider = of(&wide, &|c| change(c, true));
        let both = idle(vec![narrower.clone(), wider.clone()]);
        assert_eq!(both, "n Overridden(\"w\")", "{n}");
        let narrowed = of(&wide, &|c| change(c, false));
        assert_eq!(idle(vec![narrow.clone(), narrowed.clone()]), "", "{n}");
        let widened = of(&narrow, &|c| change(c, true));
        assert_eq!(idle(vec![widened, narrowed]), "", "{n}");
    }
}

#[test]
fn rules_on_the_response_wait_for_it() {
    let mut of_errors = rule("errors", &["/a"], negative(9));
    of_errors.conditions.status = vec![StatusCode::NOT_FOUND];
    of_errors.is_final = true;
    let mut of_images = rule("images", &[], ttl(9));
    of_images.conditions.content_type = vec!["image/*".into()];
    let rules = SiteRules::new(vec![of_errors, of_images, rule("all", &[], ttl(1))], true);
    let matching = Asked::get("/a").matching(&rules);
    let applied = |status, content_type: &'static str| {
        let headers = HeaderMap::from_iter([(
            http::header::CONTENT_TYPE,
            HeaderValue::from_static(content_type),
        )]);
        let response = RuleResponse { status, headers: &headers };
        let applied = rules.applied_to(matching, &response);
        rules.those(applied).map(|rule| rule.name.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(Asked::get("/a").names(&rules), ["all"]);
    assert_eq!(applied(StatusCode::OK, "Image/PNG; q=1"), ["images", "all"]);
    assert_eq!(applied(StatusCode::NOT_FOUND, "image/png"), ["errors"]);
    assert_eq!(applied(StatusCode::OK, "text/html"), ["all"]);
}

#[test]
fn a_part_matches_like_the_whole() {
    let mut whole = rule("whole", &[], ttl(9));
    whole.conditions.status = vec![StatusCode::OK];
    let rules = SiteRules::new(vec![whole], true);
    let headers = HeaderMap::new();
    let response = RuleResponse { status: StatusCode::PARTIAL_CONTENT, headers: &headers };
    assert!(!rules.applied_to(Asked::get("/").matching(&rules), &response).is_empty());
}

#[test]
fn what_is_not_in_the_key_is_put_there_by_the_rule_that_looks_at_it() {
    let mut mobile = rule("mobile", &["/a"], ttl(1));
    mobile.conditions.cookie = vec!["mobile".into()];
    let mut last = Rule { is_final: true, ..rule("last", &["/b"], Settings::default()) };
    last.conditions.cookie = vec!["mobile".into()];
    let rules = SiteRules::new(vec![mobile, last, rule("all", &["/b"], ttl(5))], true);
    let cookie = |path| Asked::get(path).with("cookie", "mobile=1");
    assert_eq!(key(&rules, &Asked::get("/a")), "");
    assert_eq!(key(&rules, &cookie("/a")), "\nrule=mobile");
    assert_eq!(key(&rules, &Asked::get("/b")), "", "a path is in the key");
    assert_eq!(key(&rules, &cookie("/b")), "\nrule=last", "it keeps another from applying");
    assert_eq!(rules.shaping().count(), 2);
}

#[test]
fn a_query_counts_as_keyed_only_where_the_whole_of_it_is() {
    let rules = || vec![rule("page", &["/a?page=1"], ttl(1))];
    let asked = Asked::get("/a?page=1");
    assert_eq!(key(&SiteRules::new(rules(), true), &asked), "");
    assert_eq!(key(&SiteRules::new(rules(), false), &asked), "\nrule=page");
}

#[test]
fn rules_travel_by_name_and_an_unknown_name_is_refused() {
    let mut mobile = rule("mobile", &[], ttl(1));
    mobile.conditions.cookie = vec!["mobile".into()];
    let rules = SiteRules::new(vec![mobile, rule("all", &[], ttl(5))], true);
    let matching = Asked::get("/a").with("cookie", "mobile").matching(&rules);
    let names = rules.names(matching).unwrap();
    assert_eq!(names, "mobile,all");
    assert_eq!(rules.named(&names), Ok(matching));
    assert_eq!(rules.named("all, other"), Err(UnknownRule));
    assert_eq!(SiteRules::default().named("all"), Err(UnknownRule));
    assert_eq!(SiteRules::default().names(RuleSet::default()), None);
}

#[test]
fn names_stand_in_keys_and_fields() {
    for (name, fits) in [
        ("a", true),
        ("A-b_c.9", true),
        ("", false),
        ("a b", false),
        ("a,b", false),
        ("a\nb", false),
        ("caf\u{e9}", false),
        ("12345678901234567890123456789012", true),
        ("123456789012345678901234567890123", false),
    ] {
        assert_eq!(check_name(name).is_ok(), fits, "{name:?}");
    }
}

prop_compose! {
    fn a_rewrite()(
        to in proptest::sample::select(vec!["/a", "/ab{query}", "{path}{query}", "/b{path}"]),
        key in any::<bool>(),
    ) -> Rewrite {
        Rewrite { to: Template::parse_rewrite(to).unwrap(), key }
    }
}

prop_compose! {
    fn a_rule()(
        path in proptest::sample::subsequence(vec!["/a*", "*b", "/a?x=1", "/ab"], 0..=2),
        cookie in proptest::option::weighted(0.3, Just("c")),
        query in proptest::option::weighted(0.3, Just("x")),
        device in proptest::option::weighted(0.3, Just("m*")),
        of_post in proptest::bool::weighted(0.2),
        of_client in proptest::bool::weighted(0.2),
        country in proptest::option::weighted(0.2, proptest::sample::select(vec!["DE", "ZZ"])),
        status in proptest::option::weighted(0.2, Just(404u16)),
        is_final in proptest::bool::weighted(0.3),
        default_ttl in proptest::option::of(1..4u32),
        negative_ttl in proptest::option::of(1..4u32),
        origin in proptest::option::weighted(0.3, proptest::sample::select(vec!["one", "two"])),
        rewrite in proptest::option::weighted(0.3, a_rewrite()),
    ) -> Rule {
        let origin = origin.map(str::to_owned);
        let path = if rewrite.is_some() { path.into_iter().filter(|p| !p.contains('?')).collect() } else { path };
        let settings = Settings { default_ttl, negative_ttl, origin, rewrite, ..Settings::default() };
        let mut rule = rule("", &path, settings);
        // Refused with a condition on the response.
        let status = status.filter(|_| {
            rule.settings.origin.is_none() && rule.settings.rewrite.is_none()
        });
        rule.is_final = is_final;
        let conditions = &mut rule.conditions;
        conditions.cookie = cookie.into_iter().map(str::to_owned).collect();
        conditions.query = query.into_iter().map(str::to_owned).collect();
        conditions.header = device.into_iter().map(|value| HeaderCondition {
            name: "x-device".parse().unwrap(),
            values: vec![value.to_owned()],
        }).collect();
        conditions.method = of_post.then_some(Method::POST).into_iter().collect();
        conditions.client = of_client.then(|| "192.0.2.0/24".parse().unwrap()).into_iter().collect();
        conditions.country = country.into_iter().map(|code| Country::parse(code).unwrap()).collect();
        conditions.status = status.into_iter().map(|s| StatusCode::from_u16(s).unwrap()).collect();
        rule
    }
}

prop_compose! {
    fn an_asked()(
        path in proptest::sample::select(vec!["/a", "/ab", "/b", "/a?x=1", "/a?x=2", "/b?y&x=1", "/%61b"]),
        cookie in any::<bool>(),
        device in any::<bool>(),
        near in any::<bool>(),
        country in proptest::option::of(proptest::sample::select(vec!["DE", "SE", "ZZ"])),
        post in any::<bool>(),
    ) -> Asked {
        let mut asked = Asked::get(path);
        if cookie { asked = asked.with("cookie", "c=1"); }
        if device { asked = asked.with("x-device", "mobile"); }
        if !near { asked.client = "198.51.100.1".parse().unwrap(); }
        if post { asked.method = Method::POST; }
        asked.country = country.map(|code| Country::parse(code).unwrap());
        asked
    }
}

proptest! {
    /// The invariant of this module: two requests with one key have the same terms, whatever the response is.
    #[test]
    fn requests_with_one_key_have_the_same_terms(
        rules in proptest::collection::vec(a_rule(), 0..6),
        one in an_asked(),
        other in an_asked(),
        ignores_query in any::<bool>(),
    ) {
        let named = rules.into_iter().enumerate();
        let named = named.map(|(n, rule)| Rule { name: format!("r{n}"), ..rule }).collect();
        let rules = SiteRules::new(named, !ignores_query);
        // What the origin is asked for, and the whole key of a site that ignores queries or not.
        let target = |asked: &Asked| {
            let applied = rules.applied(asked.matching(&rules));
            let asked_for = |path: &str, query: Option<&str>| match query {
                Some(query) if !ignores_query => format!("{path}?{query}"),
                _ => path.to_owned(),
            };
            let query = asked.query.as_deref();
            let keyed = rules.keyed_target(applied, &asked.path, query).unwrap();
            let keyed = keyed.unwrap_or_else(|| asked_for(&asked.path, query));
            let (path, query) = match keyed.split_once('?') {
                Some((path, query)) => (path, Some(query)),
                None => (&*keyed, None),
            };
            let keyed = asked_for(path, query);
            let query = query.filter(|_| !ignores_query);
            let at_origin = rules.origin_target(applied, &asked.path, query).unwrap();
            (at_origin.unwrap_or_else(|| keyed.clone()), keyed + &key(&rules, asked))
        };
        let ((target, key), (other_target, other_key)) = (target(&one), target(&other));
        if key != other_key {
            return Ok(());
        }
        prop_assert_eq!(target, other_target);
        let headers = HeaderMap::new();
        for status in [StatusCode::OK, StatusCode::NOT_FOUND] {
            let terms = |asked: &Asked| {
                let response = RuleResponse { status, headers: &headers };
                let applied = rules.applied_to(asked.matching(&rules), &response);
                rules.policy(applied, &SitePolicy::default()).into_owned()
            };
            prop_assert_eq!(terms(&one), terms(&other));
        }
        let origin = |asked: &Asked| rules.origin(rules.applied(asked.matching(&rules))).map(str::to_owned);
        prop_assert_eq!(origin(&one), origin(&other));
    }

    /// A parent that is told the names has the key and the terms of the node that asks.
    #[test]
    fn a_parent_has_the_key_and_the_terms_of_the_first_node(
        rules in proptest::collection::vec(a_rule(), 0..6),
        asked in an_asked(),
    ) {
        let named = rules.into_iter().enumerate();
        let named = named.map(|(n, rule)| Rule { name: format!("r{n}"), ..rule }).collect();
        let rules = SiteRules::new(named, true);
        let here = asked.matching(&rules);
        let there = rules.names(here).map_or(Ok(RuleSet::default()), |names| rules.named(&names));
        let there = there.unwrap();
        let written = |set| { let mut key = Vec::new(); rules.write_key(&mut key, set); key };
        prop_assert_eq!(written(here), written(there));
        let headers = HeaderMap::new();
        for status in [StatusCode::OK, StatusCode::NOT_FOUND] {
            let terms = |set| {
                let response = RuleResponse { status, headers: &headers };
                rules.policy(rules.applied_to(set, &response), &SitePolicy::default()).into_owned()
            };
            prop_assert_eq!(terms(here), terms(there));
        }
        prop_assert_eq!(rules.origin(rules.applied(here)), rules.origin(rules.applied(there)));
    }
}
