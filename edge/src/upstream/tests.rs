//! A pool whose names have several addresses.
#![allow(clippy::unwrap_used)]

use super::*;
use roster::MOST_ADDRESSES;
use std::net::IpAddr;
use weir_config::Config;

fn upstream(origins: &[String], resolved: &[(&str, usize)]) -> Result<Upstream, String> {
    let config = Config::from_toml(&format!("[[site]]\norigins = {origins:?}")).unwrap();
    let site = &config.sites[0];
    let (limits, lookup) = (&config.limits, Lookup::System);
    let upstream = Upstream::new(site, &site.pools[0], limits, &[Arc::default()], &lookup, None)?;
    for (name, count) in resolved {
        upstream.resolved_to(&((*name).to_owned(), 80), &addresses(*count));
    }
    Ok(upstream)
}

fn addresses(count: usize) -> Vec<IpAddr> {
    (0..count).map(|n| [10, 0, (n >> 8) as u8, n as u8].into()).collect()
}

fn members(upstream: &Upstream) -> Vec<String> {
    upstream.pool().members().iter().map(|member| member.name.to_string()).collect()
}

#[test]
fn each_of_several_addresses_is_a_member_and_one_alone_is_looked_up_for_each_connection() {
    let origins = ["http://a".to_owned(), "http://b".to_owned(), "http://10.9.9.9".to_owned()];
    let upstream = upstream(&origins, &[("a", 2), ("b", 1)]).unwrap();
    let named = ["http://a (10.0.0.0)", "http://a (10.0.0.1)", "http://b", "http://10.9.9.9"];
    assert_eq!(members(&upstream), named);
    let name = ("a".to_owned(), 80);
    let before = upstream.pool();
    // In another order, and twice, they are the same.
    let mut same = addresses(2);
    same.reverse();
    same.push(same[0]);
    assert!(!upstream.resolved_to(&name, &same));
    // Who stays goes on as it is.
    assert!(upstream.resolved_to(&name, &addresses(3)));
    let after = upstream.pool();
    assert_eq!(after.members().len(), 5);
    assert!(Arc::ptr_eq(&before.members()[0], &after.members()[0]));
    assert!(upstream.resolved_to(&name, &addresses(1)));
    assert_eq!(members(&upstream), ["http://a", "http://b", "http://10.9.9.9"]);
}

#[test]
fn members_are_bounded_however_many_addresses_names_have() {
    let one = upstream(&["http://a".to_owned()], &[("a", 500)]).unwrap();
    assert_eq!(members(&one).len(), MOST_ADDRESSES);
    let names: Vec<String> = (0..100).map(|n| format!("n{n}")).collect();
    let origins: Vec<String> = names.iter().map(|name| format!("http://{name}")).collect();
    let resolved: Vec<(&str, usize)> = names.iter().map(|name| (&**name, 10)).collect();
    let many = upstream(&origins, &resolved).unwrap();
    assert_eq!(members(&many).len(), 200);
    assert!(many.pool().members().len() <= MOST_MEMBERS);
}

#[test]
fn only_names_are_looked_up() {
    let origins = [
        "http://a",
        "http://a/b",
        "http://127.0.0.1",
        "http://[::1]",
        "http://localhost",
        "http://app.localhost",
        "unix:/run/a.sock",
    ];
    let origins = origins.map(str::to_owned);
    let upstream = Arc::new(upstream(&origins, &[]).unwrap());
    let names: Vec<Name> = upstream.names().map(|named| named.name).collect();
    assert_eq!(names, [("a".to_owned(), 80)]);
}

#[test]
fn too_many_members_are_refused() {
    let config = Config::for_origin("http://a").unwrap();
    let address = Address::of(&config.sites[0].pools[0].origins[0]).unwrap();
    let settings = upstream(&["http://a".to_owned()], &[]).unwrap().settings;
    let many = vec![address; MOST_MEMBERS + 1];
    let refused = Upstream::of(many, settings, &config.limits, &[], None);
    assert!(refused.is_err_and(|error| error.contains("256")));
}
