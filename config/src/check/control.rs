//! `[control]`: the service itself, and what a node needs to follow it.

use super::host::origin;
use super::secret::{Found, IfAbsent, secret, unknown};
use super::tls::ca;
use super::{address, file_path, networks};
use crate::section::Section;
use crate::{Absent, Control, Network, OnPartition, Origin, Secret};
use std::time::Duration;

/// What `control.url` takes, for messages.
const URL_FORM: &str =
    "scheme, host and perhaps a port, such as http://10.0.0.9:9090 or https://control.example.com";

/// Keys of the service itself, which a node that follows another one's must not have.
const OF_THE_SERVICE: [&str; 6] = ["listen", "data", "forget_after", "rate", "nodes", "join_rate"];

pub(super) fn control(mut s: Section<'_>, absent: &mut Vec<Absent>) -> Control {
    let (second, day) = (Duration::from_secs(1), Duration::from_secs(86_400));
    let url = s.text("url", URL_FORM, url);
    let token_wait = s.duration("token_wait", Duration::ZERO, Duration::ZERO..=3600 * second);
    let token = token(&mut s, token_wait, absent);
    let https = url.as_ref().is_none_or(|url| url.tls);
    let control = Control {
        url,
        token,
        token_wait,
        ca: ca(&mut s, "control.url is not one that", https),
        listen: address(&mut s, "listen", ([127, 0, 0, 1], 9090)),
        data: s.text("data", "the path of a directory", file_path),
        lease: s.duration("lease", 15 * second, second..=3600 * second),
        on_partition: s.word("on_partition", OnPartition::Serve),
        forget_after: s.duration("forget_after", day, 60 * second..=365 * day),
        purge_acl: networks(&mut s, "purge_acl").unwrap_or_else(Network::loopback),
        retention: s.count("retention", 10_000, 1..=1_000_000),
        arrivals: s.count("arrivals", 250_000, 1..=100_000_000),
        rate: s.count("rate", 1000, 1..=1_000_000),
        nodes: s.count("nodes", 4096, 1..=100_000),
        join_rate: s.count("join_rate", 300, 1..=1_000_000),
    };
    if control.forget_after < control.lease {
        s.mistake("forget_after", "shorter than control.lease; accepted: at least that");
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
        for key in ["ca", "token_wait"].into_iter().filter(|key| s.has(key)) {
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

/// Reads the URL of control.
fn url(text: &str) -> Result<Origin, String> {
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
