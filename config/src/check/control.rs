//! `[control]`: the service itself, and what a node needs to follow it.

use super::etcd;
use super::host::origin;
use super::secret::{Found, IfAbsent, secret, unknown};
use super::tls::ca;
use super::{address, file_path, networks};
use crate::section::Section;
use crate::{Absent, Control, LogEngine, Network, OnPartition, Origin, Secret, Via};
use std::time::Duration;

/// What `control.url` takes, for messages.
const URL_FORM: &str =
    "scheme, host and perhaps a port, such as http://10.0.0.9:9090 or https://control.example.com";

/// Most URLs of control.
const MOST_URLS: usize = 16;

/// Keys of the service itself, which a node that follows another one's must not have.
const OF_THE_SERVICE: [&str; 12] = [
    "listen",
    "log",
    "data",
    "etcd",
    "forget_after",
    "retention",
    "retention_bytes",
    "arrivals",
    "rate",
    "nodes",
    "join_rate",
    "history",
];

pub(super) fn control(mut s: Section<'_>, absent: &mut Vec<Absent>) -> Control {
    let (second, day) = (Duration::from_secs(1), Duration::from_secs(86_400));
    let url = urls(&mut s);
    let token_wait = s.duration("token_wait", Duration::ZERO, Duration::ZERO..=3600 * second);
    let token = token(&mut s, token_wait, absent);
    let https = url.is_empty() || url.iter().any(|url| url.tls);
    let listen = address(&mut s, "listen", ([127, 0, 0, 1], 9090));
    let log = s.word("log", LogEngine::Redb);
    let etcd = etcd::etcd(s.section("etcd"), log, listen);
    let control = Control {
        url,
        token,
        via: s.word("via", Via::Control),
        relay_edges: s.count("relay_edges", 1000, 0..=100_000),
        relay_queue: s.size("relay_queue", 1 << 20, 64 << 10..=1 << 30),
        relay_entries: s.size("relay_entries", 16 << 20, 1 << 20..=64 << 30),
        token_wait,
        ca: ca(&mut s, "control.url is not one that", https),
        listen,
        log,
        etcd,
        data: s.text("data", "the path of a directory", file_path),
        lease: s.duration("lease", 15 * second, second..=3600 * second),
        on_partition: s.word("on_partition", OnPartition::Serve),
        forget_after: s.duration("forget_after", day, 60 * second..=365 * day),
        purge_acl: networks(&mut s, "purge_acl").unwrap_or_else(Network::loopback),
        retention: s.count("retention", 10_000, 1..=1_000_000),
        retention_bytes: s.size("retention_bytes", 64 << 20, 64 << 10..=64 << 30),
        history: s.size("history", 32 << 20, 1 << 20..=1 << 30),
        arrivals: s.count("arrivals", 250_000, 1..=100_000_000),
        rate: s.count("rate", 1000, 1..=1_000_000),
        nodes: s.count("nodes", 4096, 1..=100_000),
        join_rate: s.count("join_rate", 300, 1..=1_000_000),
    };
    if control.forget_after < control.lease {
        s.mistake("forget_after", "shorter than control.lease; accepted: at least that");
    }
    if log == LogEngine::Etcd && s.has("data") {
        s.mistake("data", "control.log is \"etcd\", which keeps the log; accepted: one of them");
    }
    if s.has("url") {
        for key in OF_THE_SERVICE.into_iter().filter(|key| s.has(key)) {
            s.mistake(
                key,
                "control.url is set too: a node that follows control elsewhere has none of its \
                 own; accepted: one of them",
            );
        }
    } else {
        for key in ["token", "token_file"].into_iter().filter(|key| s.has(key)) {
            s.hidden_mistake(key, "a node shows it at control.url, which is missing");
        }
        let mut about_url = vec!["ca", "token_wait"];
        about_url.extend((control.via == Via::Parents).then_some("via"));
        for key in about_url.into_iter().filter(|key| s.has(key)) {
            s.mistake(key, "it is about control.url, which is missing");
        }
    }
    s.finish(&[]);
    control
}

/// What the node shows at control. A file that is still to be made is added to `absent`.
fn token(s: &mut Section<'_>, wait: Duration, absent: &mut Vec<Absent>) -> Option<Secret> {
    let if_absent = if wait.is_zero() { IfAbsent::Refused } else { IfAbsent::Awaited };
    match secret(s, "token", "token_file", if_absent) {
        Found::Secret(secret) => Some(secret),
        Found::Absent(file) => {
            absent.push(file);
            Some(unknown(s, "token_file"))
        }
        Found::Nothing => None,
    }
}

/// The URLs of control: one, or a list.
fn urls(s: &mut Section<'_>) -> Vec<Origin> {
    if s.is_text("url") {
        return s.text("url", URL_FORM, url).into_iter().collect();
    }
    let urls = s.list("url", MOST_URLS, URL_FORM, url).unwrap_or_default();
    if s.has_empty_list("url") {
        s.mistake("url", format!("empty; accepted: {URL_FORM}, or a list of these"));
    }
    for (n, url) in urls.iter().enumerate() {
        let place = |url: &Origin| (url.tls, url.host.clone(), url.port);
        if urls[..n].iter().any(|other| place(other) == place(url)) {
            s.mistake("url", format!("{:?} is named twice", url.authority));
        }
    }
    urls
}

/// Reads the URL of control.
pub(super) fn url(text: &str) -> Result<Origin, String> {
    if let Some((_, rest)) = text.split_once("://") {
        if rest.contains('@') {
            return Err("a user name or password; control takes a token, control.token".into());
        }
        let path = rest.find(['/', '?', '#', '\\']).map_or("", |at| &rest[at..]);
        if !matches!(path, "" | "/") {
            return Err("a path; control has its own".into());
        }
    }
    origin(text)
}
