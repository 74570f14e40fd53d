//! Our own rules and http-cache-semantics held against each other over random exchanges: they
//! agree, or the difference is on the written list and its stated condition is true.

mod exchanges;

use exchanges::{Case, NOW, case, fields, http_date, policy};
use http::{Method, StatusCode};
use proptest::prelude::*;
use weir_rules::cache_control::Qualified;
use weir_rules::freshness::{State, date};
use weir_rules::semantics::{Agreement, Opinion, Overruled, review};
use weir_rules::storability::{SitePolicy, Storability, storability};
use weir_rules::targeted::governing;
use weir_rules::time::Time;
use weir_rules::vary::Vary;

/// What the decision comes to: the freshness left on arrival, if stored.
fn stored_left(decision: &Storability, now: Time) -> Option<u32> {
    match decision {
        Storability::Skip(_) => None,
        Storability::Store(terms) => Some(match terms.freshness.state(now) {
            State::Fresh { left } => left,
            State::Refreshable { .. } | State::Stale { .. } => 0,
        }),
    }
}

/// The condition that the list states for each case, asked of the raw exchange.
fn condition(
    overruled: Overruled,
    case: &Case,
    policy: &SitePolicy,
    own: Option<u32>,
    opinion: Opinion,
) -> bool {
    let governing = governing(&case.response);
    let said = &governing.directives;
    let has = |name: &str| case.response.contains_key(name);
    let longer = own.is_some_and(|left| left > opinion.time_to_live);
    let shorter = own.is_some_and(|left| left < opinion.time_to_live);
    let refused = own.is_none() && opinion.storable;
    let allowed = own.is_some() && !opinion.storable;
    let site = [policy.versioned_ttl, policy.default_ttl, policy.negative_ttl];
    match overruled {
        Overruled::Status => {
            allowed
                && ![200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 501]
                    .contains(&case.status.as_u16())
        }
        Overruled::MustUnderstand => allowed && said.no_store && said.must_understand,
        Overruled::QualifiedPrivate => allowed && matches!(said.private, Qualified::Fields(_)),
        Overruled::QualifiedNoCache => longer && matches!(said.no_cache, Qualified::Fields(_)),
        Overruled::ProxyRevalidate => longer && said.proxy_revalidate,
        Overruled::SharedSetCookie => {
            longer
                && has("set-cookie")
                && !said.public
                && (said.s_maxage.is_some() || governing.source.is_targeted())
        }
        Overruled::SiteLifetime => {
            (longer || shorter) && !said.gives_lifetime() && site.iter().any(|ttl| *ttl > 0)
        }
        Overruled::RuleLifetime => {
            let status = case.status.as_u16();
            (longer || shorter)
                && policy.ttl.is_some()
                && [200, 203, 206, 300, 301, 308].contains(&status)
        }
        Overruled::Immutable => shorter && said.immutable && !said.gives_lifetime(),
        Overruled::HeuristicBound => {
            shorter
                && !said.gives_lifetime()
                && has("last-modified")
                && (!has("expires") || governing.source.is_targeted())
        }
        Overruled::MaxTtl => shorter && policy.max_ttl > 0 && own <= Some(policy.max_ttl),
        Overruled::SetCookie => {
            refused
                && has("set-cookie")
                && !said.public
                && said.s_maxage.is_none()
                && !governing.source.is_targeted()
        }
        Overruled::Cookie => {
            refused && case.request.contains_key("cookie") && !said.gives_lifetime()
        }
        Overruled::VaryAny => refused && Vary::from_headers(&case.response) == Vary::Any,
        Overruled::Useless => {
            let etag = case.response.get("etag").is_some_and(|value| !value.is_empty());
            let changed = case.response.get("last-modified");
            refused
                && !etag
                && changed.is_none_or(|value| date::parse(value.as_bytes(), None).is_none())
        }
        Overruled::Method => refused && case.method != Method::GET,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn every_difference_is_listed_and_its_condition_true(case in case(), policy in policy()) {
        let exchange = case.exchange();
        let decision = storability(&exchange, &policy);
        let own = stored_left(&decision, case.response_time);
        let reviewed = review(&exchange, &policy);
        let opinion = reviewed.opinion;
        let same = match own {
            None => !opinion.storable,
            Some(left) => opinion.storable && left == opinion.time_to_live,
        };
        match reviewed.agreement {
            Agreement::Same => prop_assert!(same, "{decision:?} against {opinion:?}"),
            Agreement::Overruled(overruled) => {
                prop_assert!(!same, "{overruled:?} without a difference");
                prop_assert!(
                    condition(overruled, &case, &policy, own, opinion),
                    "{overruled:?} does not explain {decision:?} against {opinion:?}",
                );
            }
            Agreement::Unlisted => prop_assert!(false, "{decision:?} against {opinion:?}"),
        }
    }
}

/// The list holds nothing that never happens, so that an entry that is no longer needed shows.
#[test]
fn every_listed_case_happens() {
    let get =
        |status: u16, request: &[(&'static str, &str)], response: &[(&'static str, &str)]| Case {
            method: Method::GET,
            path: "/",
            request: fields(&owned(request)),
            status: StatusCode::from_u16(status).expect("a status"),
            response: fields(&owned(response)),
            request_time: Time::from_secs(NOW),
            response_time: Time::from_secs(NOW),
        };
    let day_ago = http_date(NOW - 86_400);
    let cc = |value| [("cache-control", value)];
    let rows = [
        (Overruled::Status, get(503, &[], &cc("max-age=9"))),
        (Overruled::MustUnderstand, get(200, &[], &cc("max-age=9, no-store, must-understand"))),
        (Overruled::QualifiedPrivate, get(200, &[], &cc("max-age=9, private=\"x-a\""))),
        (Overruled::QualifiedNoCache, get(200, &[], &cc("max-age=9, no-cache=\"x-a\""))),
        (Overruled::ProxyRevalidate, get(200, &[], &cc("max-age=9, proxy-revalidate"))),
        (
            Overruled::SharedSetCookie,
            get(200, &[], &[("set-cookie", "a"), ("cache-control", "s-maxage=9")]),
        ),
        (Overruled::SiteLifetime, Case { path: "/app.3f9a1c2b.js", ..get(200, &[], &[]) }),
        (Overruled::RuleLifetime, get(200, &[], &cc("max-age=9"))),
        (Overruled::Immutable, get(200, &[], &[("cache-control", "immutable"), ("etag", "\"a\"")])),
        (Overruled::HeuristicBound, get(200, &[], &[("last-modified", &day_ago)])),
        (Overruled::MaxTtl, get(200, &[], &cc("max-age=99999999"))),
        (
            Overruled::SetCookie,
            get(200, &[], &[("set-cookie", "a"), ("cache-control", "max-age=9")]),
        ),
        (Overruled::Cookie, get(200, &[("cookie", "a")], &[("last-modified", &day_ago)])),
        (Overruled::VaryAny, get(200, &[], &[("vary", "*"), ("cache-control", "max-age=9")])),
        (Overruled::Useless, get(200, &[], &[])),
        (Overruled::Method, Case { method: Method::HEAD, ..get(200, &[], &cc("max-age=9")) }),
    ];
    let shown: Vec<_> = rows.iter().map(|(overruled, _)| *overruled).collect();
    assert_eq!(shown, Overruled::ALL);
    for (overruled, case) in &rows {
        let ttl = (*overruled == Overruled::RuleLifetime).then_some(5);
        let reviewed = review(&case.exchange(), &SitePolicy { ttl, ..SitePolicy::default() });
        assert_eq!(reviewed.agreement, Agreement::Overruled(*overruled), "{case:?}");
        assert!(overruled.section().starts_with("RFC "));
    }
}

fn owned(lines: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    lines.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}
