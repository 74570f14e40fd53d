#![allow(clippy::unwrap_used)]

use super::site::QueryWord;
use super::*;
use crate::LogEngine;
use crate::words::Word;
use crate::{
    Absent, AccessLog, AcmeChallenge, Balance, DiskAdmit, DiskDirectory, HostHeader, Level,
    OnPartition, ParentScope, Protocol, Scope, Secret, SiteTls, Via, file,
};
use proptest::prelude::*;
use weir_rules::coding::Coding;
use weir_rules::key::{QueryKeep, TRACKING};
use weir_rules::release::PathTemplate;

/// The shortest file that is right.
const LEAST: &str = "[[site]]\norigins = [\"http://127.0.0.1:3000\"]\n";

/// The mistakes of a text, one a line.
fn mistakes(text: &str) -> String {
    match Config::from_toml(text) {
        Ok(config) => panic!("accepted: {config:?}"),
        Err(mistakes) => mistakes.to_string(),
    }
}

/// A text, and what is told about it must say.
type Case = (&'static str, &'static [&'static str]);

/// Each case: what is added to the shortest file, and what the only mistake must say.
fn each_is_told(cases: &[Case]) {
    for (text, parts) in cases {
        let told = mistakes(&format!("{text}\n{LEAST}"));
        assert_eq!(told.lines().count(), 1, "{text}: {told}");
        for part in *parts {
            assert!(told.contains(part), "{text}: {told:?} does not say {part:?}");
        }
    }
}

#[test]
fn the_shortest_file_equals_the_origin_flag() {
    assert_eq!(Config::from_toml(LEAST), Config::for_origin("http://127.0.0.1:3000"));
    let config = Config::from_toml(LEAST).unwrap();
    assert_eq!(config.sites[0].id, "default");
    assert_eq!(config.sites[0].hosts, ["*"]);
    assert_eq!(config.sites[0].policy, weir_rules::storability::SitePolicy::default());
    assert_eq!(config.memory, Memory { size: 512 << 20, max_object: 64 << 20, connections: None });
    assert!(config.node.workers >= 1);
    assert!(config.limits.origin_idle < Duration::from_secs(5));
}

#[test]
fn a_mistake_names_place_key_value_and_what_is_accepted() {
    each_is_told(&[
        ("[node]\nlisten = \"8080\"", &["line 2: node.listen = \"8080\"", "0.0.0.0:8080"]),
        ("[node]\nlisten = 8080", &["node.listen = 8080: not a text"]),
        ("[node]\nname = \"a b\"", &["node.name = \"a b\"", "RFC 9110"]),
        ("[node]\nstate = \"\"", &["node.state = \"\"", "empty", "the absolute path"]),
        (
            "[node]\nstate = \"state\"",
            &["node.state = \"state\"", "not absolute", "the absolute path of a directory"],
        ),
        ("[node]\nephemeral = true", &["node.ephemeral = true", "control.url, which is missing"]),
        (
            "[node]\nephemeral = true\n[control]\nurl = \"http://c\"",
            &["node.ephemeral = true", "control.on_partition is not \"validate\"", "both"],
        ),
        ("[control]\njoin_rate = 0", &["control.join_rate = 0: out of bounds", "1 to 1000000"]),
        ("[control]\nnodes = 0", &["control.nodes = 0: out of bounds", "1 to 100000"]),
        ("[control]\nurl = \"http://c\"\nnodes = 9", &["control.nodes", "control.url is set too"]),
        ("[control]\nurl = \"http://c\"\nretention = 9", &["control.retention = 9: control.url"]),
        (
            "[control]\nurl = \"http://c\"\nretention_bytes = \"1MiB\"",
            &["control.retention_bytes = \"1MiB\": control.url"],
        ),
        ("[control]\nurl = \"http://c\"\narrivals = 9", &["control.arrivals = 9: control.url"]),
        (
            "[[token]]\nname = \"a\"\nsecret = \"0123456789abcdef\"\nscopes = [\"purge\"]\n\
             nodes = [\"e\"]",
            &["nodes", "does not have the scope \"node\""],
        ),
        (
            "[[token]]\nname = \"a\"\nsecret = \"0123456789abcdef\"\nscopes = [\"node\"]\n\
             nodes = []",
            &["nodes = []: empty; leave it out"],
        ),
        (
            "[[token]]\nname = \"a\"\nsecret = \"0123456789abcdef\"\nscopes = [\"node\"]\n\
             nodes = [\"e 1\"]",
            &["nodes[0] = \"e 1\"", "RFC 9110"],
        ),
        (
            "[[token]]\nname = \"a\"\nsecret = \"0123456789abcdef\"\nscopes = [\"node\"]\n\
             nodes = [\"e\"]\n[[token]]\nname = \"b\"\nsecret = \"1123456789abcdef\"\n\
             scopes = [\"node\"]\nnodes = [\"e\"]",
            &["nodes", "the token \"a\" has the node \"e\" too"],
        ),
        ("[node]\ndrain = \"30\"", &["node.drain", "30 has no unit", "1h30m", "from 0s to 1d"]),
        ("[node]\nworkers = -1", &["node.workers = -1: out of bounds", "0 to 1024"]),
        ("[node]\nworkers = 1.5", &["node.workers = 1.5: not a whole number"]),
        ("[node]\nadmin = \"127.0.0.1:8080\"", &["node.admin", "node.listen listens there"]),
        ("[node]\ntrusted_proxies = [\"10.0.0.1/8\"]", &["node.trusted_proxies[0]", "10.0.0.0/8"]),
        ("[node]\ntrusted_proxies = \"10.0.0.0/8\"", &["node.trusted_proxies", "not a list"]),
        (
            "[memory]\nsize = \"12XB\"",
            &["memory.size = \"12XB\"", "\"XB\" is not a unit", "512MiB"],
        ),
        ("[memory]\nsize = true", &["memory.size = true: not a size"]),
        ("[memory]\nsize = 99999999999999999999", &["memory.size = 99999999999999999999"]),
        ("[memory]\nsize = \"10MiB\"\nmax_object = \"20MiB\"", &["max_object", "at most 10MiB"]),
        ("[limits]\nidle = 75", &["limits.idle = 75: a number without a unit"]),
        ("[limits]\nheader_bytes = \"2KiB\"\ntarget_bytes = \"4KiB\"", &["limits.target_bytes"]),
        ("[log]\naccess = \"xml\"", &["log.access = \"xml\"", "\"off\", \"json\", \"combined\""]),
        ("[log]\npath = \"\"", &["log.path = \"\": empty"]),
        ("[log]\notlp = \"collector:4317\"", &["log.otlp = \"collector:4317\"", "http://"]),
        ("[log]\notlp_queue = 1", &["log.otlp_queue = 1", "nothing is exported without otlp"]),
        ("[log]\notlp = \"http://a\"\notlp_sample = \"1\"", &["log.otlp_sample", "0.01%"]),
        ("[control]\npurge_acl = [\"home\"]", &["control.purge_acl[0] = \"home\""]),
        ("[tls]", &["tls.certificates: none"]),
        ("[node]\ntier = \"middle\"", &["node.tier = \"middle\"", "\"edge\", \"parent\""]),
    ]);
}

#[test]
fn control_alone_may_be_told_of_no_site() {
    let token = "[[token]]\nname = \"a\"\nsecret = \"0123456789abcdef\"\nscopes = [\"purge\"]\n";
    let data = "[control]\ndata = \"/var/lib/weir\"\n";
    let alone = Config::from_toml(&format!("{data}{token}sites = [\"shop\"]\n")).unwrap();
    assert_eq!((alone.sites.len(), &*alone.tokens[0].sites[0]), (0, "shop"));
    assert!(mistakes(&format!("{data}{token}sites = [\"a/b\"]\n")).contains("other characters"));
    let told = mistakes(&format!("{data}{token}sites = [\"shop\"]\n{LEAST}"));
    assert!(told.contains("no such site"), "{told}");
    assert!(mistakes("[memory]\nsize = \"1GiB\"\n").contains("site: missing"));
}

#[test]
fn mistakes_about_control_are_told() {
    each_is_told(&[
        ("[control]\nurl = \"control:9090\"", &["control.url", "no scheme", "10.0.0.9:9090"]),
        ("[control]\nurl = \"ftp://c\"", &["control.url", "neither http nor https"]),
        ("[control]\nurl = \"http://c/weir\"", &["control.url", "a path"]),
        ("[control]\nurl = \"http://u:p@c\"", &["control.url", "control.token"]),
        ("[control]\nurl = []", &["control.url = []: empty"]),
        ("[control]\nurl = [\"http://c\", 7]", &["control.url[1] = 7: not a text"]),
        ("[control]\nurl = [\"http://c\", \"http://c:80\"]", &["control.url", "named twice"]),
        ("[control]\nlog = \"raft\"", &["control.log = \"raft\"", "\"redb\", \"etcd\""]),
        (
            "[control]\nurl = \"http://c\"\nlisten = \"0.0.0.0:9090\"",
            &["line 3: control.listen", "control.url is set too"],
        ),
        ("[control]\nurl = \"http://c\"\ndata = \"/d\"", &["control.data", "one of them"]),
        ("[control]\nurl = \"http://c\"\nrate = 1", &["control.rate", "one of them"]),
        ("[control]\nlisten = \"9090\"", &["control.listen", "0.0.0.0:8080"]),
        ("[control]\ndata = \"\"", &["control.data = \"\": empty", "a directory"]),
        ("[control]\nlease = \"500ms\"", &["control.lease", "from 1s to 1h"]),
        ("[control]\nlease = \"2h\"", &["control.lease", "from 1s to 1h"]),
        ("[control]\non_partition = \"stop\"", &["on_partition", "\"serve\", \"validate\""]),
        ("[control]\nforget_after = \"1s\"", &["control.forget_after", "from 1m to 365d"]),
        (
            "[control]\nforget_after = \"2m\"\nlease = \"3m\"",
            &["control.forget_after", "shorter than control.lease"],
        ),
        ("[control]\nretention = 0", &["control.retention", "1 to 1000000"]),
        ("[control]\nretention_bytes = \"1KiB\"", &["control.retention_bytes", "64KiB to 64GiB"]),
        ("[control]\nhistory = \"1KiB\"", &["control.history", "1MiB to 1GiB"]),
        ("[control]\narrivals = 0", &["control.arrivals", "1 to 100000000"]),
        ("[control]\nvia = \"parents\"", &["control.via", "control.url, which is missing"]),
        ("[control]\nurl = \"http://c\"\nvia = \"parents\"", &["control.via", "no parents.urls"]),
        (
            "[node]\ntier = \"parent\"\n[control]\nurl = \"http://c\"\nvia = \"parents\"",
            &["control.via", "a parent follows control itself"],
        ),
        ("[control]\nvia = \"parent\"", &["control.via", "did you mean parents?"]),
        ("[control]\nrelay_edges = 100001", &["control.relay_edges", "0 to 100000"]),
        ("[control]\nrelay_queue = \"1KiB\"", &["control.relay_queue", "64KiB"]),
        ("[control]\nrelay_entries = \"1KiB\"", &["control.relay_entries", "1MiB"]),
        ("[control]\nrate = 0", &["control.rate", "1 to 1000000"]),
        (
            "[control]\ntoken_wait = \"1s\"",
            &["control.token_wait", "about control.url, which is missing"],
        ),
        (
            "[control]\nurl = \"http://c\"\ntoken_wait = \"2h\"",
            &["control.token_wait", "from 0s to 1h"],
        ),
        ("[control]\nlaese = \"15s\"", &["did you mean lease?"]),
    ]);
    for (token, part) in [
        ("token = \"hunter2\"", "control.token: a secret of 7 bytes"),
        ("token = 7", "control.token: not a text"),
        ("token_file = \"/nowhere/at/all\"", "control.token_file = \"/nowhere/at/all\": cannot"),
        ("token = \"hunter2hunter2hunter2\"\ntoken_file = \"/a\"", "one of them"),
    ] {
        let told = mistakes(&format!("[control]\nurl = \"http://c\"\n{token}\n{LEAST}"));
        assert!(told.contains(part), "{token}: {told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
    let told = mistakes(&format!("[control]\ntoken = \"hunter2hunter2hunter2\"\n{LEAST}"));
    assert!(told.contains("control.token: a node shows it at control.url"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
}

#[test]
fn a_node_of_a_topology_is_told_where_control_is_and_what_to_show() {
    let path = std::env::temp_dir().join(format!("weir-token-{}", std::process::id()));
    std::fs::write(&path, " 0123456789abcdef \n").unwrap();
    let text = format!(
        "[node]\ntier = \"parent\"\n[control]\nurl = \"https://Control.example.com\"\n\
         token_file = {path:?}\nlease = \"5s\"\non_partition = \"validate\"\n{LEAST}"
    );
    let config = Config::from_toml(&text);
    let mut file = FileConfig::parse(LEAST).unwrap();
    file.override_with(
        [
            ("WEIR_NODE__TIER", "parent"),
            ("WEIR_CONTROL__URL", "https://control.example.com"),
            ("WEIR_CONTROL__TOKEN", "0123456789abcdef"),
            ("WEIR_CONTROL__LEASE", "5s"),
            ("WEIR_CONTROL__ON_PARTITION", "validate"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    std::fs::remove_file(&path).unwrap();
    let config = config.unwrap();
    assert_eq!(check(&file).as_ref(), Ok(&config));
    let (node, control) = (config.node, config.control);
    let url = control.url[0].clone();
    assert_eq!((url.tls, url.host.as_str(), url.port), (true, "control.example.com", 443));
    assert_eq!(control.token.as_ref().map(Secret::reveal), Some("0123456789abcdef"));
    assert!(!format!("{control:?}").contains("0123456789abcdef"));
    assert_eq!(node.tier, Tier::Parent);
    assert_eq!(control.lease, Duration::from_secs(5));
    assert_eq!(control.on_partition, OnPartition::Validate);
}

#[test]
fn a_variable_reaches_a_table_within_a_table() {
    let with = |variables: &[(&str, &str)]| {
        let text = "[control]\nlog = \"etcd\"\nlisten = \"0.0.0.0:1\"\n[control.etcd]\n\
                    endpoints = [\"http://a\"]\n";
        let mut file = FileConfig::parse(text).unwrap();
        file.override_with(variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        check(&file)
    };
    let advertise = ("WEIR_CONTROL__ETCD__ADVERTISE", "http://control-2:9090");
    let config = with(&[advertise, ("WEIR_CONTROL__ETCD__PREFIX", "/shop/")]).unwrap();
    let etcd = config.control.etcd.unwrap();
    assert_eq!(etcd.advertise.unwrap().authority, "control-2:9090");
    assert_eq!(&*etcd.prefix, "/shop/");
    let unknown = with(&[advertise, ("WEIR_CONTROL__ETCD__PREFX", "/shop/")]).unwrap_err();
    let told = unknown.to_string();
    assert!(told.contains("WEIR_CONTROL__ETCD__PREFX") && told.contains("prefix"), "{told}");
    let no_table = with(&[advertise, ("WEIR_CONTROL__RATE__ETCD", "1")]).unwrap_err().to_string();
    assert!(no_table.contains("WEIR_CONTROL__RATE__ETCD"), "{no_table}");
}

#[test]
fn mistakes_about_parents_are_told() {
    each_is_told(&[
        ("[parents]\nurls = [\"p:1\"]", &["parents.urls[0] = \"p:1\": no scheme", "10.0.0.5:3000"]),
        ("[parents]\nurls = [{ region = \"eu\" }]", &["parents.urls[0].url: missing"]),
        ("[parents]\nurls = [{ url = \"http://p\", region = \"\" }]", &["region = \"\": empty"]),
        ("[parents]\nurls = [{ url = \"http://p\", wieght = 1 }]", &["wieght: unknown key"]),
        ("[parents]\nurls = [\"http://p\", \"http://P/\"]", &["\"p\" is named twice"]),
        (
            "[parents]\nurls = [{ url = \"http://p\", protocol = \"h3\" }]",
            &["parents.urls[0].protocol = \"h3\"", "\"h1\", \"h2\""],
        ),
        (
            "[parents]\nurls = [\"http://p\"]\nca = \"Cargo.toml\"",
            &["parents.ca = \"Cargo.toml\": no parent's url is https"],
        ),
        (
            "[parents]\nurls = [\"https://p\"]\nca = \"/nowhere\"",
            &["parents.ca = \"/nowhere\": cannot be read", "PEM file"],
        ),
        (
            "[control]\nurl = \"http://c\"\nca = \"Cargo.toml\"",
            &["control.ca = \"Cargo.toml\"", "control.url is not one that is https"],
        ),
        ("[control]\nca = \"Cargo.toml\"", &["control.ca", "control.url, which is missing"]),
        ("[parents]\nscope = \"all\"", &["parents.scope = \"all\"", "\"region\", \"global\""]),
        ("[parents]\nvirtual_nodes = 0", &["parents.virtual_nodes = 0", "1 to 4096"]),
        ("[parents]\ncatch_up = \"1m\"", &["parents.catch_up", "from 0s to 10s"]),
        ("[parents]\nhealth = { path = \"/\" }", &["parents.health.path", "unknown key"]),
        ("[parents]\nhealth = { healthy = 0 }", &["parents.health.healthy", "1 to 100"]),
        ("[parents.timeouts]\nconnect = \"0s\"", &["parents.timeouts.connect", "from 1ms"]),
        (
            "[node]\ntier = \"parent\"\n[parents]\nurls = [\"http://p\"]",
            &["parents.urls", "asks origins only"],
        ),
    ]);
}

#[test]
fn parents_are_of_the_nodes_region_unless_said_otherwise() {
    let text = format!(
        "[node]\nregion = \"eu\"\n[parents]\nurls = [\"http://a:1\", \
         {{ url = \"http://b:2\", region = \"us\" }}]\n{LEAST}"
    );
    let parents = Config::from_toml(&text).unwrap().parents;
    let named: Vec<_> =
        parents.urls.iter().map(|p| (p.url.authority.as_str(), p.region.as_str())).collect();
    assert_eq!(named, [("a:1", "eu"), ("b:2", "us")]);
}

#[test]
fn how_long_anything_is_fresh_depends_on_the_tier() {
    let longest = |tables: &str| {
        Config::from_toml(&format!("{tables}\n{LEAST}")).unwrap().sites[0].policy.max_ttl
    };
    let day = 86_400;
    assert_eq!(longest(""), 365 * day);
    assert_eq!(longest("[parents]\nurls = [\"http://p\"]"), day);
    assert_eq!(longest("[node]\ntier = \"parent\""), 7 * day);
}

#[test]
fn mistakes_of_sites_are_told() {
    for (text, parts) in [
        ("", &["site: missing", "--origin"][..]),
        ("[site]\norigins = []", &["site = {…}: not a list of tables", "[[site]]"]),
        ("site = [1]", &["site[0] = 1: not a table"]),
        ("[[site]]", &["line 1: site[0].origins: missing", "http://10.0.0.5:3000"]),
        ("[[site]]\norigins = []", &["site[0].origins = []: empty"]),
        (
            "[[site]]\norigins = [\"http://a/?b\"]",
            &["site[0].origins[0] = \"http://a/?b\": the query"],
        ),
        ("[node]\nresolver = [\"dns\"]", &["node.resolver[0] = \"dns\"", "10.0.0.2"]),
        ("[node]\nresolver = [\"10.0.0.2:0\"]", &["node.resolver[0]", "port 0"]),
        ("[node]\nproxy_protocol = [\"10.0.0.1/8\"]", &["node.proxy_protocol[0]", "10.0.0.0/8"]),
        (
            "[[site]]\norigins = [{ url = \"http://a\", weight = 0 }]",
            &["origins[0].weight = 0", "1 to 1000"],
        ),
        ("[[site]]\norigins = [{}]", &["site[0].origins[0].url: missing"]),
        ("[[site]]\norigins = [7]", &["site[0].origins[0] = 7: not a URL"]),
        ("[[site]]\norigins = [\"http://a\", \"http://A:80\", \"http://a\"]", &["named twice"]),
        ("[[site]]\norigins = [\"http://a\"]\nhosts = [\"a:1\"]", &["site[0].hosts[0] = \"a:1\""]),
        ("[[site]]\norigins = [\"http://a\"]\nretries = 6", &["site[0].retries = 6", "0 to 5"]),
    ] {
        let told = mistakes(text);
        for part in parts {
            assert!(told.contains(part), "{text}: {told:?} does not say {part:?}");
        }
    }
    each_is_told(&[
        (
            "[[site]]\nid = \"b\"\norigins = [\"http://b\"]",
            &["site[1].hosts", "\"*\" is named twice"],
        ),
        ("[[site]]\nhosts = [\"b\"]\norigins = [\"http://b\"]", &["site[1].id", "\"default\""]),
    ]);
    let site = |line: &str| mistakes(&format!("{LEAST}{line}"));
    for (line, parts) in [
        ("key = { query = \"drop\" }", &["site[0].key.query = \"drop\"", "\"ignore\""][..]),
        ("key = { query = { drop = [\"a\"], keep = [\"b\"] } }", &["query.keep", "one of them"]),
        ("key = { query = { drop = [\"a&b\"] } }", &["query.drop[0] = \"a&b\""]),
        ("key = { headers = [\"Cookie\"] }", &["key.headers[0] = \"Cookie\"", "cookies"]),
        ("key = { headers = [\"a b\"] }", &["not a field name"]),
        ("key = { cookies = [\"a=b\"] }", &["key.cookies[0] = \"a=b\""]),
        (
            "key = { cookies = [\"a\"] }\ncookies = { key = [\"a\"] }",
            &["site[0].cookies.key", "key.cookies is set too; accepted: one of them"],
        ),
        ("cookies = { ignore = [\"\"] }", &["cookies.ignore[0] = \"\": empty", "\"analytics\""]),
        ("cookies = { bypass = [\"a*b\"] }", &["cookies.bypass[0] = \"a*b\": a * before its end"]),
        ("cookies = { key = [\"a;b\"] }", &["cookies.key[0] = \"a;b\": not a cookie name"]),
        (
            "cookies = { bypass = [\"analytics\"] }",
            &["cookies.bypass[0]", "that only ignore takes"],
        ),
        (
            "cookies = { ignored = [\"a\"] }",
            &["cookies.ignored: unknown key; did you mean ignore?"],
        ),
        (
            "cookies = { ignore = [\"lang\"], key = [\"lang\"] }",
            &["cookies.ignore", "\"lang\" has no effect, because key names it too"],
        ),
        (
            "cookies = { ignore = [\"wp_a\", \"b\"], bypass = [\"wp_*\"] }",
            &["cookies.ignore", "\"wp_a\" has no effect, because bypass names it too"],
        ),
        (
            "cookies = { key = [\"wp_a*\"], bypass = [\"wp_*\"] }",
            &["cookies.key", "\"wp_a*\" has no effect, because bypass names it too"],
        ),
        (
            "cookies = { ignore = [\"analytics\"], bypass = [\"*\"] }",
            &["cookies.ignore", "\"analytics\" has no effect, because bypass names it too"],
        ),
        ("timeouts = { connect = \"0s\" }", &["site[0].timeouts.connect = \"0s\"", "from 1ms"]),
        ("stale = { if_error = \"1500ms\" }", &["site[0].stale.if_error", "whole seconds"]),
        ("balance = \"best\"", &["site[0].balance = \"best\"", "\"ip_hash\""]),
        ("retries = { most = 6 }", &["site[0].retries.most = 6", "0 to 5"]),
        ("retries = { percent = 101 }", &["site[0].retries.percent = 101", "0 to 100"]),
        ("timeouts = { total = \"2d\" }", &["site[0].timeouts.total = \"2d\"", "1d"]),
        ("health = { path = \"healthz\" }", &["site[0].health.path", "begins with a slash"]),
        ("health = { path = \"/a b\" }", &["site[0].health.path = \"/a b\"", "not a path"]),
        ("health = { interval = \"1s\" }", &["site[0].health.interval", "without path"]),
        ("health = { path = \"/\", status = 99 }", &["health.status = 99", "100 to 599"]),
        ("health = { path = \"/\", host = \"a/b\" }", &["health.host = \"a/b\"", "not a host"]),
        ("health = { eject = \"2m\" }", &["site[0].health.eject = \"2m\"", "eject_max"]),
        ("host_header = \"mine\"", &["site[0].host_header", "\"origin\", \"client\""]),
        ("client_cache_control = \"yes\"", &["client_cache_control = \"yes\"", "true or false"]),
    ] {
        let told = site(line);
        for part in parts {
            assert!(told.contains(part), "{line}: {told:?} does not say {part:?}");
        }
    }
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_file() {
    let told = mistakes(
        "[node]\nlisten = 1\nnmae = \"x\"\n[memory]\nsize = \"x\"\n[[site]]\nretries = 9\n",
    );
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines.len(), 5, "{told}");
    for (line, begin) in lines.iter().zip([
        "line 2: node.listen",
        "line 3: node.nmae: unknown key; did you mean name?",
        "line 5: memory.size",
        "line 6: site[0].origins: missing",
        "line 7: site[0].retries",
    ]) {
        assert!(line.starts_with(begin), "{line:?} does not begin with {begin:?}");
    }
}

#[test]
fn unknown_keys_name_the_nearest() {
    each_is_told(&[
        ("[nodes]", &["nodes: unknown key; did you mean node?"]),
        ("[memory]\nsiez = 1", &["memory.siez: unknown key; did you mean size?"]),
        (
            "[limits]\nzzzzzzzz = 1",
            &["limits.zzzzzzzz", "known here: connections, private_clients"],
        ),
        ("[parent]", &["parent: unknown key; did you mean parents?"]),
    ]);
}

#[test]
fn compress_is_a_switch_or_a_table() {
    let compress = |toml: &str| {
        let config = Config::from_toml(&format!("{LEAST}{toml}")).unwrap();
        config.sites[0].compress.as_deref().cloned()
    };
    assert_eq!((compress(""), compress("compress = false")), (None, None));
    let rules = compress("compress = true").unwrap();
    assert_eq!(compress("compress = {}"), Some(rules.clone()));
    assert_eq!((rules.min, rules.max, rules.levels), (1024, 8 << 20, [6, 5, 9]));
    assert_eq!(rules.order, [Coding::Br, Coding::Zstd, Coding::Gzip]);
    assert!(rules.types.take(b"text/html; charset=utf-8") && !rules.types.take(b"image/png"));
    let rules = compress(
        "compress = { types = [\"text/css\"], min = 1, max = \"1KiB\", order = [\"zstd\", \"gzip\"], \
         levels = { gzip = 9, br = 11, zstd = 19 } }",
    );
    let rules = rules.unwrap();
    assert_eq!((rules.min, rules.max, rules.levels), (1, 1024, [9, 11, 19]));
    assert_eq!(rules.order, [Coding::Zstd, Coding::Gzip]);
    assert!(rules.types.take(b"text/css") && !rules.types.take(b"text/html"));
}

#[test]
fn mistakes_about_compress_are_told() {
    for (toml, told) in [
        ("compress = \"x\"", "not a table; accepted: true, false, or keys under"),
        ("compress.typs = []", "unknown key; did you mean types?"),
        ("compress.types = []", "a list of nothing; leave it out"),
        ("compress.types = [\"html\"]", "not a media type"),
        ("compress.types = [\"*/*\"]", "not a media type"),
        ("compress.types = [\"Text/HTML\"]", "a media type in lower case"),
        ("compress = { min = \"2KiB\", max = \"1KiB\" }", "larger than max"),
        ("compress.max = \"1GiB\"", "out of bounds; accepted"),
        ("compress.order = [\"deflate\"]", "no coding that weir makes"),
        ("compress.order = [\"br\", \"br\"]", "(zstd, br or gzip), each once"),
        ("compress.order = []", "accepted: one or more codings"),
        ("compress.levels.zstd = 20", "out of bounds; accepted: a whole number from 1 to 19"),
    ] {
        let mistakes = mistakes(&format!("{LEAST}{toml}"));
        assert!(mistakes.contains(told), "{toml}: {mistakes}");
    }
}

#[test]
fn unknown_words_name_the_nearest_as_unknown_keys_do() {
    each_is_told(&[
        ("[node]\ntier = \"parnet\"", &["known words; accepted: \"edge\"", "did you mean parent?"]),
        ("[control]\non_partition = \"valdate\"", &["did you mean validate?"]),
        ("[parents]\nscope = \"globl\"", &["did you mean global?"]),
        ("[parents]\nurls = [{ url = \"http://p\", protocol = \"H2\" }]", &["did you mean h2?"]),
        ("[log]\naccess = \"jsno\"", &["did you mean json?"]),
        ("[log]\nlevel = \"warning\"", &["did you mean warn?"]),
    ]);
    for (line, part) in [
        ("balance = \"ip-hash\"", "did you mean ip_hash?"),
        ("balance = \"least_conn\"", "did you mean least_connections?"),
        ("host_header = \"orign\"", "did you mean origin?"),
        ("key = { query = \"ignroe\" }", "sort, drop and keep; did you mean ignore?"),
    ] {
        let told = mistakes(&format!("{LEAST}{line}"));
        assert!(told.ends_with(part), "{line}: {told}");
    }
    let told = mistakes(&format!("[[token]]\nscopes = [\"raed\"]\n{LEAST}"));
    assert!(told.contains("token[0].scopes[0] = \"raed\": no such scope"), "{told}");
    assert!(told.contains("\"node\"; did you mean read?"), "{told}");
}

#[test]
fn tokens_are_checked_and_their_secrets_never_shown() {
    let good = "[[token]]\nname = \"ci\"\nsecret = \"0123456789abcdef\"\nscopes = [\"purge\"]\n";
    let config = Config::from_toml(&format!("{good}{LEAST}")).unwrap();
    assert_eq!(config.tokens[0].name, "ci");
    assert!(!format!("{config:?}").contains("0123456789abcdef"));
    let told = mistakes(&format!("{good}{good}{LEAST}"));
    assert!(told.contains("token[1].name = \"ci\": another token has this name"), "{told}");
    assert!(told.contains("token[1].secret: another token has this secret"), "{told}");
    for (token, part) in [
        ("secret = \"hunter2\"", "a secret of 7 bytes"),
        ("secret = [\"hunter2\"]", "token[0].secret: not a text"),
        ("secrt = \"hunter2hunter2hunter2\"", "did you mean secret?"),
        ("name = \"ci\"", "token[0].secret: missing"),
        ("secret_file = \"/nowhere/at/all\"", "cannot be read"),
        ("secret_file = \"/\"", "not a regular file"),
        ("secret = \"hunter2hunter2hunter2\"\nsecret_file = \"/a\"", "one of them"),
        ("secret = \"hunter2hunter2hunter2\"\nsecret_env = \"A\"", "one of them"),
        ("secret_env = \"weir-token\"", "not a variable's name"),
        (
            "secret_env = \"WEIR_NO_SUCH_TOKEN\"",
            "token[0].secret_env = \"WEIR_NO_SUCH_TOKEN\": not",
        ),
        ("generate = true", "token[0].generate = true: secret_file is missing"),
        ("generate = 1\nsecret_file = \"/nowhere\"", "accepted: true or false"),
        ("scopes = [\"purge\", \"nod\"]", "token[0].scopes[1] = \"nod\": no such scope"),
        ("scopes = []", "token[0].scopes = []: is empty"),
        ("sites = [\"shop\"]", "token[0].sites[0] = \"shop\": no such site"),
    ] {
        let told = mistakes(&format!("[[token]]\n{token}\n{LEAST}"));
        assert!(told.contains(part), "{token}: {told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
}

#[test]
fn a_secret_may_stand_in_a_file() {
    let path = std::env::temp_dir().join(format!("weir-secret-{}", std::process::id()));
    std::fs::write(&path, "0123456789abcdef\n").unwrap();
    let text =
        format!("[[token]]\nname = \"ci\"\nsecret_file = {path:?}\nscopes = [\"read\"]\n{LEAST}");
    let config = Config::from_toml(&text);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(config.unwrap().tokens[0].secret, "0123456789abcdef");
}

#[test]
fn nobody_knows_the_secret_that_stands_in_for_a_file_to_be_made() {
    let token =
        "[[token]]\nname = \"ci\"\nsecret_file = \"/nowhere/at/all\"\nscopes = [\"read\"]\n";
    let made = format!("{token}generate = true\n{LEAST}");
    let awaited = format!("{token}{LEAST}[control]\nurl = \"http://c\"\ntoken_wait = \"1s\"\n");
    for (text, made) in [(made, true), (awaited, false)] {
        let [one, other] = [(); 2].map(|()| Config::from_toml(&text).unwrap());
        let key = "token[0].secret_file".to_owned();
        assert_eq!(one.absent, [Absent { key, file: "/nowhere/at/all".into(), made }]);
        assert_eq!(one.tokens[0].secret.len(), 64);
        assert_ne!(one.tokens[0].secret, other.tokens[0].secret);
    }
}

#[test]
fn a_node_waits_for_what_control_is_to_show_it_and_makes_none_itself() {
    let node = "[control]\nurl = \"http://c\"\ntoken_file = \"/nowhere/at/all\"\n";
    let config = Config::from_toml(&format!("{node}token_wait = \"1s\"\n{LEAST}")).unwrap();
    assert_eq!(config.absent[0].key, "control.token_file");
    assert_eq!(config.control.token.unwrap().reveal().len(), 64);
    let token = "[[token]]\nname = \"a\"\nscopes = [\"read\"]\nsecret_file = \"/nowhere\"\n";
    let told = mistakes(&format!("{node}{LEAST}{token}generate = true\n"));
    assert!(told.contains("token[0].generate = true: control.url is there"), "{told}");
}

#[test]
fn only_a_file_that_is_not_there_is_to_be_made() {
    let path = std::env::temp_dir().join(format!("weir-empty-{}", std::process::id()));
    std::fs::write(&path, "").unwrap();
    let token = format!("[[token]]\nname = \"ci\"\nsecret_file = {path:?}\nscopes = [\"read\"]\n");
    let told = Config::from_toml(&format!("{token}generate = true\n{LEAST}"));
    std::fs::remove_file(&path).unwrap();
    assert!(told.unwrap_err().to_string().contains("a secret of 0 bytes is not accepted"));
}

#[test]
fn key_rules_are_read_from_words_and_tables() {
    let rules = |key: &str| {
        let config = Config::from_toml(&format!("{LEAST}key = {key}")).unwrap();
        config.sites[0].key.clone()
    };
    assert_eq!(rules("{ query = \"keep\" }"), Default::default());
    assert_eq!(rules("{ query = \"ignore\" }").query.keep, QueryKeep::Nothing);
    assert!(rules("{ query = \"sort\" }").query.sort);
    let table = rules("{ query = { sort = true, drop = [\"x\", \"tracking\", \"x\"] } }").query;
    let mut dropped: Vec<String> = TRACKING.iter().map(|name| (*name).to_owned()).collect();
    dropped.push("x".into());
    dropped.sort();
    assert_eq!((table.sort, table.keep), (true, QueryKeep::Except(dropped)));
    let kept = rules("{ query = { keep = [\"q\", \"page\"] } }").query.keep;
    assert_eq!(kept, QueryKeep::Only(vec!["page".into(), "q".into()]));
    let parts = rules("{ headers = [\"X-B\", \"accept-language\"], cookies = [\"b\", \"a\"] }");
    assert_eq!(parts.headers, ["accept-language", "x-b"]);
    assert_eq!(parts.cookies, ["a", "b"]);
}

#[test]
fn cookies_are_read_into_one_key_and_the_rules_beside_it() {
    let site = |line: &str| {
        let text = format!("{LEAST}{line}");
        Config::from_toml(&text).unwrap_or_else(|error| panic!("{text}\n{error}")).sites.remove(0)
    };
    // Nothing to do with a cookie costs nothing.
    for nothing in ["", "cookies = {}", "cookies = { ignore = [], bypass = [] }"] {
        assert_eq!(site(nothing), site(""), "{nothing}");
    }
    let new = site("cookies = { key = [\"b\", \"a\", \"b\"] }");
    assert_eq!(
        (new.key.cookies.clone(), new.cookies.clone()),
        (vec!["a".into(), "b".into()], None)
    );
    assert_eq!(new, site("key = { cookies = [\"b\", \"a\"] }"), "an alias");
    let rules = site("cookies = { ignore = [\"analytics\", \"lang*\"], bypass = [\"sid\"] }");
    let rules = rules.cookies.unwrap();
    for ignored in ["_ga", "_ga_X", "language"] {
        assert!(rules.ignore.has(ignored.as_bytes()), "{ignored}");
    }
    assert!(rules.bypass.has(b"sid") && !rules.ignore.has(b"sid"));
    // All that no other list names.
    let rest = "cookies = { ignore = [\"*\", \"_ga\"], key = [\"currency\"], bypass = [\"sid\"] }";
    assert!(site(rest).cookies.unwrap().ignore.has(b"anything"));
}

#[test]
fn the_environment_overrides_the_file_and_its_names_are_checked() {
    let checked = |variables: &[(&str, &str)]| {
        let mut file = FileConfig::parse(&format!("[node]\nname = \"file\"\n{LEAST}")).unwrap();
        file.override_with(variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        check(&file)
    };
    let config = checked(&[
        ("WEIR_NODE__NAME", "env"),
        ("WEIR_MEMORY__SIZE", "8MiB"),
        ("WEIR_LIMITS__CONNECTIONS", "7"),
        ("WEIR_NODE__TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.1"),
        ("WEIR_CONTROL", "http://127.0.0.1:9090"),
        ("WEIR_TOKEN", "secret"),
        ("WEIR_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("PATH", "/bin"),
    ])
    .unwrap();
    assert_eq!((config.node.name.as_str(), config.memory.size), ("env", 8 << 20));
    assert_eq!((config.limits.connections, config.node.trusted_proxies.len()), (7, 2));
    for (variable, value, part) in [
        ("WEIR_NODE__NAEM", "x", "WEIR_NODE__NAEM: node.naem: unknown key; did you mean name?"),
        ("WEIR_NOED__NAME", "x", "WEIR_NOED__NAME: noed: unknown key; did you mean node?"),
        ("WEIR_MEMORY__SIZE", "big", "WEIR_MEMORY__SIZE: memory.size = \"big\": not a size"),
        ("WEIR_LIMITS__TAGS", "x", "WEIR_LIMITS__TAGS: limits.tags = \"x\": not a whole number"),
        ("WEIR_SITE__HOSTS", "x", "WEIR_SITE__HOSTS: site.hosts: unknown key"),
        ("WEIR_TOKEN__SECRET", "hunter2", "WEIR_TOKEN__SECRET: token"),
    ] {
        let told = checked(&[(variable, value)]).unwrap_err().to_string();
        assert!(told.contains(part), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
}

#[test]
fn flags_override_file_and_environment() {
    let mut file = FileConfig::parse(LEAST).unwrap();
    file.override_with([("WEIR_NODE__LISTEN".to_owned(), "127.0.0.1:1".to_owned())]);
    file.set("--listen", "node", "listen", "127.0.0.1:2");
    file.front("--origin", "http://192.0.2.1").unwrap();
    let config = check(&file).unwrap();
    assert_eq!(config.node.listen.port(), 2);
    assert_eq!(config.sites[0].pools[0].origins[0].host, "192.0.2.1");
    file.set("--listen", "node", "listen", "x");
    let told = check(&file).unwrap_err().to_string();
    assert!(told.starts_with("--listen: node.listen = \"x\""), "{told}");
    let two = format!("{LEAST}[[site]]\nid = \"b\"\nhosts = [\"b\"]\norigins = [\"http://b\"]\n");
    let told = FileConfig::parse(&two).unwrap().front("--origin", "http://c").unwrap_err();
    assert!(told.to_string().contains("--origin: site: the file has 2 sites"), "{told}");
}

/// A node that orders the certificate of one host; `acme` and `site` are further keys.
fn ordering(acme: &str, site: &str) -> String {
    format!(
        "[node]\nstate = \"/s\"\n[tls]\n[tls.acme]\n{acme}\n\
         [[site]]\norigins = [\"http://a\"]\nhosts = [\"a.test\"]\ntls = \"auto\"\n{site}\n"
    )
}

#[test]
fn certificates_are_ordered_where_and_as_it_is_written() {
    let config = Config::from_toml(&ordering("", "hsts = {}")).unwrap();
    let tls = config.tls.unwrap();
    let acme = tls.acme.unwrap();
    assert_eq!(acme.directory, "https://acme-v02.api.letsencrypt.org/directory");
    assert_eq!((acme.state, tls.public_port), (PathBuf::from("/s/acme"), 8443));
    assert_eq!(acme.challenges, [AcmeChallenge::TlsAlpn01, AcmeChallenge::Http01]);
    assert_eq!(config.sites[0].tls, SiteTls::Auto);
    assert_eq!(config.sites[0].hsts.unwrap().max_age, 15_768_000);
    let eab = "eab_key_id = \"kid\"\neab_hmac_key = \"zWNDZM6eQGHWpSRTPal5eA==\"\nstate = \"/t\"";
    let acme = Config::from_toml(&ordering(eab, "")).unwrap().tls.unwrap().acme.unwrap();
    assert_eq!(acme.external_account.unwrap().key_id, "kid");
    assert_eq!(acme.state, PathBuf::from("/t"));
    assert_eq!(Config::from_toml(LEAST).unwrap().sites[0].tls, SiteTls::Files);
}

#[test]
fn mistakes_about_ordered_certificates_are_told() {
    for (acme, site, parts) in [
        ("directory = \"http://ca\"", "", &["tls.acme.directory = \"http://ca\"", "https"][..]),
        ("directory = \"ca\"", "", &["not https://"]),
        ("email = \"ops\"", "", &["tls.acme.email = \"ops\"", "ops@example.com"]),
        ("email = \"a@b?c\"", "", &["not an email address"]),
        ("profile = \"\"", "", &["tls.acme.profile"]),
        ("challenges = []", "", &["tls.acme.challenges = []: none", "\"http-01\""]),
        ("challenges = [\"dns-02\"]", "", &["challenges[0] = \"dns-02\"", "not a challenge"]),
        ("state = \"s\"", "", &["tls.acme.state", "not absolute"]),
        ("retry = \"0s\"", "", &["tls.acme.retry", "from 1s to 1h"]),
        ("eab_key_id = \"k\"", "", &["tls.acme.eab_key_id", "alone", "eab_hmac_key_file"]),
        ("eab_hmac_key = \"zWNDZM6eQGHWpSRTPal5eA\"", "", &["without eab_key_id"]),
        (
            "eab_key_id = \"k\"\neab_hmac_key = \"zWNDZM6eQGHWpSRTPal5e+\"",
            "",
            &["tls.acme.eab_hmac_key", "not base64url"],
        ),
        ("emial = \"a@b\"", "", &["tls.acme.emial", "did you mean email?"]),
        (
            "secret = \"ssssssssssssssssssss\"",
            "",
            &["tls.acme.secret", "20 characters", "32 to 512"],
        ),
        ("old_secret = \"ssssssssssssssssssssssssssssssssssss\"", "", &["without secret_file"]),
        ("challenges = [\"dns-01\"]", "", &["tls.acme.challenges", "without dns_hook"]),
        ("dns_hook = []", "", &["tls.acme.dns_hook", "no program"]),
        ("dns_hook = [\"sh\"]", "", &["tls.acme.dns_hook", "absolute path"]),
        ("dns_hook = [\"/nonexistent\"]", "", &["tls.acme.dns_hook", "/nonexistent"]),
        ("dns_hook = [\"/bin/sh\"]\nchallenges = [\"http-01\"]", "", &["does not name dns-01"]),
        ("dns_timeout = \"1m\"", "", &["tls.acme.dns_timeout", "without dns_hook"]),
        ("ticket_rotation = \"0s\"", "", &["tls.acme.ticket_rotation"]),
        ("", "hsts = { max_age = \"1h30m1s1ms\" }", &["site[0].hsts.max_age"]),
        ("", "hsts = { preload = true }", &["site[0].hsts.preload", "subdomains = true"]),
    ] {
        let told = mistakes(&ordering(acme, site));
        assert_eq!(told.lines().count(), 1, "{told}");
        for part in parts {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(!told.contains("zWNDZ"), "{told}");
    }
}

#[test]
fn hosts_must_be_names_that_a_certificate_may_have() {
    for (host, part) in [
        ("*", "no certificate is for every host"),
        ("*.a.test", "needs a proof by DNS"),
        ("192.0.2.1", "an address"),
        ("[2001:db8::1]", "an address"),
        ("my_host.test", "an underscore"),
    ] {
        let told = mistakes(&ordering("", "").replace("a.test", host));
        assert!(told.contains("site[0].hosts") && told.contains(part), "{told}");
    }
    let told = mistakes(&ordering("", "").replace("hosts = [\"a.test\"]\n", ""));
    assert!(told.contains("site[0].tls") && told.contains("every host"), "{told}");
}

#[test]
fn a_hook_for_dns_proves_wildcards() {
    let hook = "dns_hook = [\"/bin/sh\", \"-e\"]\n";
    let text = ordering(hook, "").replace("a.test", "*.a.test");
    let acme = Config::from_toml(&text).unwrap().tls.unwrap().acme.unwrap();
    assert_eq!(acme.challenges, [AcmeChallenge::Dns01]);
    let hook = acme.dns_hook.unwrap();
    assert_eq!((hook.command, hook.timeout.as_secs()), (vec!["/bin/sh".into(), "-e".into()], 60));
}

#[test]
fn what_orders_certificates_must_be_there_and_be_alone() {
    let site = "[[site]]\norigins = [\"http://a\"]\nhosts = [\"a.test\"]\n";
    let told = mistakes(&format!("{site}tls = \"auto\"\n"));
    assert!(told.contains("site[0].tls = \"auto\": without [tls.acme]"), "{told}");
    let told = mistakes(&format!("{site}hsts = {{}}\n"));
    assert!(told.contains("site[0].hsts") && told.contains("without [tls]"), "{told}");
    let told = mistakes(&format!("[tls]\n[tls.acme]\n{site}"));
    assert!(told.contains("tls.acme.state: missing, and so is node.state"), "{told}");
    let told = mistakes(&format!("[control]\nurl = \"http://c\"\n{}", ordering("", "")));
    assert!(
        told.contains("tls.acme.secret_file") && told.contains("follows control.url"),
        "{told}"
    );
    let secret = format!("secret = \"{}\"\n", "s".repeat(32));
    let edge = format!("[control]\nurl = \"http://c\"\n{}", ordering(&secret, ""));
    assert!(Config::from_toml(&edge).unwrap().tls.unwrap().acme.unwrap().secret.is_some());
    let parent = edge.replace("[node]\n", "[node]\ntier = \"parent\"\n");
    let told = mistakes(&parent);
    assert!(told.contains("tls.acme.secret") && told.contains("a parent"), "{told}");
    assert!(!told.contains("ssss"), "{told}");
}

#[test]
fn domains_of_the_command_line_are_served_by_https() {
    let mut file = FileConfig::default();
    file.front("--origin", "http://192.0.2.1").unwrap();
    file.secure("--domain", &["a.test".to_owned(), "b.test".to_owned()]).unwrap();
    file.set_acme("--email", "email", "ops@a.test");
    file.set("--domain", "node", "state", "/s");
    let config = check(&file).unwrap();
    assert_eq!(config.sites[0].hosts, ["a.test", "b.test"]);
    let acme = config.tls.unwrap().acme.unwrap();
    assert_eq!((acme.email.as_deref(), config.sites[0].tls), (Some("ops@a.test"), SiteTls::Auto));
    file.secure("--domain", &["a test".to_owned()]).unwrap();
    let told = check(&file).unwrap_err().to_string();
    assert!(told.starts_with("--domain: site[0].hosts[0] = \"a test\""), "{told}");
    let two = format!("{LEAST}[[site]]\nid = \"b\"\nhosts = [\"b\"]\norigins = [\"http://b\"]\n");
    let told = FileConfig::parse(&two).unwrap().secure("--domain", &[]).unwrap_err();
    assert!(told.to_string().contains("--domain: site: there are 2 sites"), "{told}");
}

#[test]
fn faults_of_syntax_are_told_with_their_line() {
    let told = mistakes("[node]\nname = \n");
    assert!(told.starts_with("line 2: not TOML: "), "{told}");
    let told = mistakes("[node]\nname = \"a\"\nname = \"b\"\n");
    assert!(told.contains("line 3: not TOML: "), "{told}");
}

#[test]
fn zero_sets_no_bound_of_its_own_on_origin_connections() {
    let text = format!("[limits]\nconnections = 77\norigin_connections = 0\n{LEAST}");
    assert_eq!(Config::from_toml(&text).unwrap().limits.origin_connections, 77);
}

/// Whichever build this is a test of; the static programs of CI are the other one.
#[test]
fn http3_is_refused_where_it_is_not_built() {
    let tls = "[tls]\nhttp3 = true\n[tls.acme]\nstate = \"/s\"\n";
    let site =
        "[[site]]\nid = \"a\"\nhosts = [\"a.com\"]\norigins = [\"http://o\"]\ntls = \"auto\"\n";
    let read = Config::from_toml(&format!("{tls}{site}"));
    if cfg!(feature = "http3") {
        assert!(read.unwrap().tls.is_some_and(|tls| tls.http3));
    } else {
        let refused = read.unwrap_err().to_string();
        assert!(refused.contains("tls.http3 = true: this program has no HTTP/3"), "{refused}");
    }
    let off = Config::from_toml(&format!("{}{site}", tls.replace("true", "false")));
    assert!(off.unwrap().tls.is_some_and(|tls| !tls.http3));
}

#[test]
fn the_most_specific_host_takes_a_request() {
    let site = |id: &str, host: &str| {
        format!("[[site]]\nid = {id:?}\nhosts = [{host:?}]\norigins = [\"http://{id}\"]\n")
    };
    let text = [site("all", "*"), site("sub", "*.a.com"), site("deep", "*.b.a.com")].concat();
    let config = Config::from_toml(&(text + &site("one", "x.a.com"))).unwrap();
    for (host, id) in [
        ("x.a.com", "one"),
        ("y.a.com", "sub"),
        ("y.b.a.com", "deep"),
        ("b.a.com", "sub"),
        ("a.com", "all"),
        ("xa.com", "all"),
    ] {
        assert_eq!(config.site_for(host).map(|site| site.id.as_str()), Some(id), "{host}");
    }
    assert!(Config::from_toml(&site("one", "x")).unwrap().site_for("y").is_none());
}

/// The documented example: `#key = value` lines are the defaults, `#   ` lines are examples.
const EXAMPLE: &str = include_str!("../../../deploy/node.toml");

#[test]
fn the_example_configuration_is_accepted_as_it_is() {
    let config = Config::from_toml(EXAMPLE).unwrap();
    let origin = "http://127.0.0.1:3000";
    assert_eq!(config, Config::for_origin(origin).unwrap());
}

#[test]
fn the_example_states_the_real_defaults_and_every_key() {
    let is_key = |line: &&str| {
        line.strip_prefix('#')
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
    };
    let uncommented: String = EXAMPLE
        .lines()
        .map(|line| if is_key(&line) { &line[1..] } else { line })
        .flat_map(|line| [line, "\n"])
        .collect();
    let file = FileConfig::parse(&uncommented).unwrap();
    let notes = Notes::default();
    let config = read(&file, &notes);
    let known = notes.known();
    assert_eq!(notes.into_mistakes(), Mistakes::default());
    assert_eq!(config, Config::for_origin("http://127.0.0.1:3000").unwrap());
    let examples = FileConfig::parse(&examples()).unwrap();
    // The table is read only where it is written.
    let of_disk = keys().into_iter().filter(|key| key.starts_with("disk."));
    for key in known.into_iter().chain(of_disk) {
        // What excludes another key is named in the words around it.
        let names = |line: &str| match key.rsplit_once('.') {
            Some((list, last)) => line.contains(list) && line.contains(&format!("{last} = ")),
            None => false,
        };
        let named = EXAMPLE
            .lines()
            .any(|line| line.starts_with('#') && (line.contains(&key) || names(line)));
        let written = has(&file.root, &key) || has(&examples.root, &key) || named;
        assert!(written, "deploy/node.toml does not mention {key}");
    }
}

#[test]
fn the_examples_of_the_disk_store_state_its_defaults() {
    // Of mistakes there are those about files of secrets that are not there.
    let notes = Notes::default();
    let stated = read(&FileConfig::parse(&examples()).unwrap(), &notes).disk.unwrap();
    let Some(DiskDirectory { path, size }) = stated.directories.first() else {
        panic!("no directory")
    };
    let least =
        format!("[control]\ndata = \"/d\"\n[disk]\npath = {path:?}\nsize = {size}\n{LEAST}");
    assert_eq!(Config::from_toml(&least).unwrap().disk, Some(stated));
}

#[test]
fn the_examples_name_every_word() {
    let control = include_str!("../../../deploy/control.toml");
    let words = Tier::words()
        .chain(OnPartition::words())
        .chain(Via::words())
        .chain(LogEngine::words())
        .chain(ParentScope::words())
        .chain(Protocol::words())
        .chain(DiskAdmit::words())
        .chain(AccessLog::words())
        .chain(Level::words())
        .chain(Balance::words())
        .chain(HostHeader::words())
        .chain(QueryWord::words())
        .chain(SiteTls::words())
        .chain(AcmeChallenge::words())
        .chain(Scope::words());
    for word in words {
        let quoted = format!("{word:?}");
        assert!(EXAMPLE.contains(&quoted) || control.contains(&quoted), "no {quoted}");
    }
}

/// Whether a key is written; of a list of tables, in any of them.
fn has(table: &file::Table, path: &str) -> bool {
    let (first, rest) = path.split_once('.').map_or((path, None), |(a, b)| (a, Some(b)));
    match (table.get(first).map(|value| &value.kind), rest) {
        (Some(_), None) => true,
        (Some(file::Kind::Table(table)), Some(rest)) => has(table, rest),
        (Some(file::Kind::Array(values)), Some(rest)) => values
            .iter()
            .any(|value| matches!(&value.kind, file::Kind::Table(table) if has(table, rest))),
        _ => false,
    }
}

/// The example's indented lines.
fn examples() -> String {
    let lines = EXAMPLE.lines().filter_map(|line| line.strip_prefix("#   "));
    lines.filter(|line| !line.starts_with(' ')).flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn the_examples_within_the_example_are_accepted() {
    let examples = examples();
    assert!(examples.contains("[[token]]") && examples.contains("[[tls.certificates]]"));
    // Certificates and secret files of an example are not there, and not all examples are of one node; nothing
    // else may be wrong.
    if let Err(mistakes) = Config::from_toml(&examples) {
        for mistake in mistakes.0 {
            let is_of_another = mistake.message.contains("follows control.url");
            assert!(is_of_another || mistake.message.contains("cannot be read"), "{mistake}");
        }
    }
}

fn arbitrary_toml() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "node",
        "listen",
        "name",
        "memory",
        "size",
        "site",
        "origins",
        "hosts",
        "key",
        "query",
        "timeouts",
        "token",
        "secret",
        "limits",
        "idle",
        "tls",
        "certificates",
        "x",
        "log",
        "disk",
        "path",
        "directories",
    ]);
    let value = prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| format!("{n:?}")),
        any::<bool>().prop_map(|b| b.to_string()),
        "[ -~äß\u{0}]{0,12}".prop_map(|text| format!("{text:?}")),
        Just("[]".to_owned()),
        Just("[[1], {a = 1}]".to_owned()),
        Just("[\"http://a\", \"*\", \"1s\"]".to_owned()),
        Just("{ url = \"http://a\", query = { sort = 1 } }".to_owned()),
    ];
    let line = (0..4u8, key.clone(), key, value).prop_map(|(form, a, b, value)| match form {
        0 => format!("[{a}]"),
        1 => format!("[[{a}]]"),
        2 => format!("{a}.{b} = {value}"),
        _ => format!("{a} = {value}"),
    });
    prop::collection::vec(line, 0..8).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn no_toml_panics_and_every_refusal_says_something(text in arbitrary_toml()) {
        if let Err(mistakes) = Config::from_toml(&text) {
            prop_assert!(!mistakes.0.is_empty());
            prop_assert!(mistakes.0.iter().all(|m| !m.message.is_empty()));
        }
    }

    #[test]
    fn no_text_panics(text in ".{0,200}") {
        let _ = Config::from_toml(&text);
    }
}

#[test]
fn a_sites_releases_are_read_and_must_reach_the_origin() {
    let site = "[[site]]\norigins = [\"http://a\"]\n";
    let config = |release: &str| Config::from_toml(&format!("{site}[site.release]\n{release}"));
    let read = config("initial = \"v1\"\npath = \"/r/{release}\"\nfield = \"X-Release\"").unwrap();
    let rules = read.sites[0].release.clone().unwrap();
    assert_eq!(rules.initial.as_deref(), Some("v1"));
    assert_eq!(rules.path, Some(PathTemplate::parse("/r/{release}").unwrap()));
    assert_eq!(rules.field.unwrap(), "x-release");
    assert_eq!(Config::from_toml(site).unwrap().sites[0].release, None);
    for (release, part) in [
        ("initial = \"v1\"", "the origin would not know"),
        ("path = \"/r\"", "has no {release}"),
        ("path = \"/{release}\"\ninitial = \"../a\"", "initial"),
        ("field = \"cookie\"", "begin it with X-"),
        ("field = \"x-forwarded-host\"", "begin it with X-"),
        ("pth = \"/{release}\"", "did you mean path?"),
    ] {
        let mistakes = config(release).unwrap_err().to_string();
        assert!(mistakes.contains(part), "{release}: {mistakes}");
    }
}

#[test]
fn rules_are_read_with_all_their_mistakes() {
    let rules = |text: &str| format!("{LEAST}{text}");
    let read = Config::from_toml(&rules(
        "[[site.rule]]\nname = \"a\"\nfinal = true\ndefault_ttl = \"1m\"\nstale = { if_error = \"2s\" }\n\
         [site.rule.match]\npath = [\"*.css\", \"/a\"]\nmethod = [\"GET\"]\nscheme = \"https\"\n\
         header = { Accept = [\"*WebP*\", \"b\"], X-A = \"*\" }\ncookie = [\"a*\"]\nquery = [\"b\"]\n\
         client = [\"10.0.0.0/8\"]\nstatus = [200, 404]\ncontent_type = [\"Text/*\"]\n",
    ))
    .unwrap();
    let [rule] = read.sites[0].rules.rules() else { panic!("one rule") };
    let conditions = &rule.conditions;
    let paths: Vec<&str> = conditions.path.iter().map(|path| path.text()).collect();
    assert_eq!(paths, ["/*.css", "/a"]);
    let values: Vec<_> =
        conditions.header.iter().map(|h| (h.name.as_str(), h.values.join(" "))).collect();
    assert_eq!(values, [("accept", "*webp* b".to_owned()), ("x-a", "*".to_owned())]);
    assert_eq!((conditions.scheme, &*conditions.content_type[0]), (Some("https"), "text/*"));
    assert!(rule.is_final && rule.settings.default_ttl == Some(60));
    assert_eq!(rule.settings.stale.map(|stale| stale.if_error), Some(2));
    for (rule, parts) in [
        ("default_ttl = \"1s\"", &["site[0].rule[0].name: missing", "1 to 32 letters"][..]),
        ("name = \"a b\"\nfinal = true", &["rule[0].name = \"a b\"", "other characters"]),
        ("name = \"a\"", &["rule[0].final", "sets nothing"]),
        ("name = \"a\"\nttl = 1\n", &["rule[0].ttl = 1", "without a unit"]),
        ("redirect = {}", &["rule[0].redirect.to: missing", "{path}"]),
        ("redirect = { to = \"https://{1}/\" }", &["redirect.to", "lets the request choose"]),
        ("redirect = { to = \"/a\", status = 304 }", &["redirect.status = 304", "301, 302, 303"]),
        (
            "match = { path = [\"/a\", \"/b/*\"] }\nredirect = { to = \"/{1}\" }",
            &["rule[0].redirect", "has {1}", "0 stars"],
        ),
        ("redirect = { to = \"/{1}\" }", &["rule[0].redirect", "has {1}"]),
        (
            "match = { status = [200] }\nbypass = true",
            &["rule[0].bypass = true", "before there is a response"],
        ),
        ("response_headers = {}", &["response_headers.set", "nothing is edited"]),
        ("response_headers = { set = { ETag = \"a\" } }", &["set.ETag", "the origin sets it"]),
        ("response_headers = { remove = [\"Content-Length\"] }", &["remove[0]", "framing"]),
        ("response_headers = { add = { X-A = \"b\\nc\" } }", &["add.X-A", "not a value"]),
        (
            "request_headers = { set = { Host = \"a\" } }",
            &["request_headers.set.Host", "host_header"],
        ),
        ("request_headers = { set = { Cookie = \"a\" } }", &["set.Cookie", "to remove it"]),
        (
            "request_headers = { set = { X-A = \"a\", x-a = \"b\" } }",
            &["request_headers.set.x-a", "twice", "one list"],
        ),
        ("request_headers = { remove = [\"Range\"] }", &["remove[0] = \"Range\"", "client takes"]),
        ("tags = [\"a b\"]", &["rule[0].tags[0] = \"a b\"", "percent-encode", "{1} to {9}"]),
        ("match = { path = [\"/a\"] }\ntags = [\"a-{1}\"]", &["rule[0].tags", "0 stars"]),
        (
            "ignore = [\"no-stor\"]",
            &["rule[0].ignore[0]", "can be ignored", "did you mean no-store"],
        ),
        ("match = { host = [\"a:80\"] }", &["match.host[0] = \"a:80\"", "with a port"]),
        ("match = { path = [] }", &["match.path = []", "nothing matches"]),
        (
            "match = { path = [\"a\"] }",
            &["match.path[0] = \"a\"", "does not start with /", "*.css"],
        ),
        ("match = { path = [\"/a/../b\"] }", &["match.path[0]", "segment . or .."]),
        ("match = { method = [\"HEAD\"] }", &["match.method[0]", "GET stands for it"]),
        ("match = { method = [\"get\"] }", &["match.method[0]", "upper case"]),
        ("match = { header = { \"a b\" = \"c\" } }", &["match.header.a b", "not the name"]),
        (
            "match = { header = { A = 1 } }",
            &["match.header.A = 1", "not a text", "a list of values"],
        ),
        ("match = { header = { host = \"a\" } }", &["match.header.host", "match.host"]),
        ("match = { method = [\"TRACE\"] }", &["match.method[0]", "with 405"]),
        ("match = { header = { A = [\"\"] } }", &["match.header.A[0]", "empty"]),
        ("match = { cookie = [\"a=b\"] }", &["match.cookie[0] = \"a=b\""]),
        ("match = { query = [\"a&b\"] }", &["match.query[0] = \"a&b\""]),
        ("match = { scheme = \"ftp\" }", &["match.scheme = \"ftp\"", "\"https\""]),
        ("match = { client = [\"10.0.0.1/8\"] }", &["match.client[0]", "10.0.0.0/8"]),
        ("match = { status = [206] }", &["match.status", "200 stands for 206"]),
        ("match = { status = [99, \"200\"] }", &["match.status[0] = 99", "match.status[1]"]),
        (
            "match = { content_type = [\"text/html; q=1\"] }",
            &["match.content_type[0]", "parameters"],
        ),
        ("match = { contry = [\"DE\"] }", &["match.contry", "unknown key"]),
    ] {
        let told = mistakes(&rules(&format!("[[site.rule]]\n{rule}\n")));
        for part in parts {
            assert!(told.contains(part), "{rule}: {told:?} does not say {part:?}");
        }
    }
    let twice = "[[site.rule]]\nname = \"a\"\nfinal = true\n".repeat(2);
    assert!(mistakes(&rules(&twice)).contains("another rule of the site has the name \"a\""));
}

#[test]
fn access_settings_are_read_with_all_their_mistakes() {
    use weir_rules::access::rate::{By, Count};
    let file = std::env::temp_dir().join(format!("weir-users-{}", std::process::id()));
    let hash = "$2y$04$Gz0wBDR0Kg/jvUm7wzMCouvkIempriLaRGWsWZsfZEWG04SfuBWdW";
    std::fs::write(&file, format!("anna:{hash}\n")).unwrap();
    let key = "[[site.signing_key]]\nid = \"k\"\nsecret = \"0123456789abcdef\"\n";
    let rules = |text: &str| format!("{LEAST}{key}[[site.rule]]\nname = \"a\"\n{text}\n");
    let read = Config::from_toml(&rules(&format!(
        "allow = [\"192.0.2.1\", \"fd00::/8\"]\ndeny = [\"all\"]\nsigned = true\nreferer = [\"*.Example.com\"]\n\
         basic_auth = {file:?}\nrate = {{ requests = 5, per = \"1m\", cookie = \"s\" }}\nfinal = true"
    )));
    let told = read.expect_err("deny and allow exclude each other").to_string();
    assert!(told.contains("rule[0].deny = [\u{2026}]: denies everyone"), "{told}");
    let read = Config::from_toml(&rules(&format!(
        "allow = [\"192.0.2.1\", \"fd00::/8\"]\ndeny = [\"fd00::1\"]\nsigned = true\nreferer = [\"*.Example.com\"]\n\
         basic_auth = {file:?}\nrate = {{ requests = 5, per = \"1m\", cookie = \"s\" }}"
    )))
    .unwrap();
    let access = &read.sites[0].rules.rules()[0].settings.access;
    assert_eq!(access.allow.as_ref().map(Vec::len), Some(2));
    assert!(access.signed && access.referer.as_ref().is_some_and(|referers| referers.missing));
    assert_eq!(access.referer.as_ref().map(|referers| &*referers.hosts[0]), Some("*.example.com"));
    let basic = access.basic_auth.as_ref().unwrap();
    assert_eq!((&*basic.realm, basic.forward, basic.users.hash("anna")), ("a", false, Some(hash)));
    let rate = access.rate.as_ref().unwrap();
    assert_eq!(rate.count, Count { requests: 5, per: 60_000, burst: 5 });
    assert_eq!(rate.client, Count { requests: 50, per: 60_000, burst: 50 });
    assert_eq!(rate.by, Some(By::Cookie("s".to_owned())));
    assert_eq!(read.sites[0].signing_keys[0].secret.reveal(), "0123456789abcdef");
    std::fs::write(&file, "anna:$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/\nben\n").unwrap();
    let md5 = format!("basic_auth = {file:?}");
    for (rule, parts) in [
        ("allow = []", &["rule[0].allow = []", "no network at all"][..]),
        ("allow = [\"10.0.0.1/8\"]", &["allow[0] = \"10.0.0.1/8\"", "or all"]),
        ("deny = \"all\"", &["deny = \"all\"", "not a list"]),
        ("referer = [\"*\"]", &["referer[0]", "leave referer out"]),
        ("referer = { missing = 1 }", &["referer.missing"]),
        ("rate = {}", &["rate.requests: missing"]),
        ("rate = { requests = 0 }", &["rate.requests = 0", "1 to 1000000"]),
        ("rate = { requests = 1, per = \"2h\" }", &["rate.per", "out of bounds"]),
        (
            "rate = { requests = 1, header = \"a\", cookie = \"b\" }",
            &["rate.cookie", "header is set too"],
        ),
        (
            "rate = { requests = 1, client_burst = 2 }",
            &["rate.client_burst", "with header or cookie"],
        ),
        ("basic_auth = \"/not/there\"", &["basic_auth = \"/not/there\"", "cannot be read"]),
        ("basic_auth = { realm = \"a\\\"\", file = \"/x\" }", &["basic_auth.realm"]),
        ("basic_auth = {}", &["basic_auth.file: missing"]),
        (&md5, &["line 1: not a bcrypt hash, line 2: no colon", "htpasswd -B"]),
        ("match = { status = [404] }\nsigned = true", &["signed", "before there is a response"]),
    ] {
        let told = mistakes(&rules(rule));
        for part in parts {
            assert!(told.contains(part), "{rule}: {told:?} does not say {part:?}");
        }
    }
    std::fs::remove_file(&file).unwrap();
    let no_key = format!("{LEAST}[[site.rule]]\nname = \"a\"\nsigned = true\n");
    assert!(mistakes(&no_key).contains("[[site.signing_key]]"));
    for (key, parts) in [
        ("id = \"k\"", &["signing_key[0].secret: missing", "16 to 512"][..]),
        ("secret = \"0123456789abcdef\"", &["signing_key[0].id: missing"]),
        ("id = \"a~b\"\nsecret = \"0123456789abcdef\"", &["signing_key[0].id", "other characters"]),
        ("id = \"k\"\nsecret = \"short\"", &["5 bytes is not accepted"]),
    ] {
        let told = mistakes(&format!("{LEAST}[[site.signing_key]]\n{key}\n"));
        for part in parts {
            assert!(told.contains(part), "{key}: {told:?} does not say {part:?}");
        }
        assert!(!told.contains("0123456789abcdef") && !told.contains("short"), "{told}");
    }
}
