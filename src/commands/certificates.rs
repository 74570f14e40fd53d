//! `weir certificates`: the names that are served by https, and how their certificates stand.

use super::{ControlArgs, Exit};
use crate::text::{Align, Paint, harmless, table};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// List certificates: names, expiry and the last error
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Certificates {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    control: ControlArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    Renew(Renew),
    Rotate(Rotate),
}

/// Order a new certificate now; the old one stays in use until it arrives
#[derive(Debug, Args)]
struct Renew {
    /// A host of a site with tls = "auto"
    name: String,
    #[command(flatten)]
    control: ControlArgs,
}

/// Replace certificates and their keys, revoke the old ones, and change the keys of session tickets
///
/// For when a key may be known to others, such as after an edge was stolen. The old certificate is revoked once
/// the new one is in force on the connected edges.
#[derive(Debug, Args)]
struct Rotate {
    /// A host of a site with tls = "auto" [default: all]
    name: Option<String>,
    #[command(flatten)]
    control: ControlArgs,
}

impl Certificates {
    pub(super) async fn run(self) -> Exit {
        match self.action {
            Some(Action::Renew(renew)) => return renew.run().await,
            Some(Action::Rotate(rotate)) => return rotate.run().await,
            None => {}
        }
        let client = match self.control.client() {
            Ok(client) => client,
            Err(exit) => return exit,
        };
        let answer = client.get("/v1/certificates", &[]).await;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let words = |body: &Value| told(body, now, Paint::for_stdout());
        self.control.show(answer, words).map_or_else(|exit| exit, |_| Exit::Done)
    }
}

impl Renew {
    async fn run(self) -> Exit {
        let client = match self.control.client() {
            Ok(client) => client,
            Err(exit) => return exit,
        };
        let answer = client
            .post("/v1/certificates/renew", &json!({"name": self.name}), Duration::ZERO)
            .await;
        let words = |body: &Value| {
            let name = harmless(body["renewing"].as_str().unwrap_or("?"));
            format!("a new certificate for {name} is ordered; \"weir certificates\" lists it\n")
        };
        self.control.show(answer, words).map_or_else(|exit| exit, |_| Exit::Done)
    }
}

impl Rotate {
    async fn run(self) -> Exit {
        let client = match self.control.client() {
            Ok(client) => client,
            Err(exit) => return exit,
        };
        let body = self.name.map_or_else(|| json!({}), |name| json!({"name": name}));
        let answer = client.post("/v1/certificates/rotate", &body, Duration::ZERO).await;
        let words = |body: &Value| {
            let names = body["rotating"].as_array().map(Vec::as_slice).unwrap_or_default();
            let names: Vec<_> = names.iter().filter_map(Value::as_str).map(harmless).collect();
            let names = names.join(", ");
            format!(
                "new certificates are ordered for {names}; the old ones are revoked after that\n"
            )
        };
        self.control.show(answer, words).map_or_else(|exit| exit, |_| Exit::Done)
    }
}

/// What expires within so many seconds is about to: weir renews long before.
pub(super) const SOON: u64 = 86_400;

/// A line for each certificate, and one for each error.
fn told(body: &Value, now: u64, paint: Paint) -> String {
    let certificates = body["certificates"].as_array().map(Vec::as_slice).unwrap_or_default();
    if certificates.is_empty() {
        return "no certificates: [tls] is not configured\n".to_owned();
    }
    let rows: Vec<_> = certificates.iter().map(|one| row(one, now, paint)).collect();
    let head = ["NAME", "SOURCE", "EXPIRES", "RENEWS"];
    let mut told = table(&head, &rows, |_| Align::Left);
    for certificate in certificates {
        if let Some(error) = certificate["error"].as_str() {
            let name = harmless(certificate["name"].as_str().unwrap_or("?"));
            let retries = certificate["retries"].as_u64();
            let retries = retries.map(|at| format!("; next order {}", within(at, now)));
            told.push_str(&format!("{name}: {}{}\n", harmless(error), retries.unwrap_or_default()));
        }
        if let Some(1..) = certificate["unrevoked"].as_u64() {
            let name = harmless(certificate["name"].as_str().unwrap_or("?"));
            told.push_str(&format!("{name}: a replaced certificate is not revoked yet\n"));
        }
    }
    told
}

fn row(certificate: &Value, now: u64, paint: Paint) -> Vec<(String, Option<String>)> {
    let plain = |text: String| (text, None);
    let name = match certificate["names"].as_array() {
        Some(names) => names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        None => certificate["name"].as_str().unwrap_or("?").to_owned(),
    };
    let source = if certificate["source"] == "file" { "file" } else { "acme" };
    let expires = match certificate["expires"].as_u64() {
        None => ("none yet".to_owned(), Some(paint.warn("none yet"))),
        Some(at) => {
            let text = within(at, now);
            let painted = (at < now + SOON).then(|| paint.bad(&text));
            (text, painted)
        }
    };
    let renews =
        certificate["renews"].as_u64().map_or_else(|| "-".to_owned(), |at| within(at, now));
    vec![plain(harmless(&name)), plain(source.to_owned()), expires, plain(renews)]
}

/// How far `at` is from `now`, in its largest unit.
pub(super) fn within(at: u64, now: u64) -> String {
    let away = at.abs_diff(now);
    let (count, unit) = match away {
        0 => return "now".to_owned(),
        1..120 => (away, "s"),
        120..7_200 => (away / 60, "min"),
        7_200..172_800 => (away / 3_600, "h"),
        _ => (away / 86_400, "days"),
    };
    if at > now { format!("in {count} {unit}") } else { format!("{count} {unit} ago") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_told_in_a_table_with_their_errors() {
        let now = 1_000_000;
        let body = json!({"certificates": [
            {"source": "ordered", "name": "a.example", "site": "default", "expires": now + 5_184_000,
             "renews": now + 2_592_000, "failures": 0, "error": null, "retries": null},
            {"source": "ordered", "name": "b.example", "site": "default", "expires": null, "renews": null,
             "failures": 2, "error": "http-01 failed: no\u{1b}route", "retries": now + 600, "unrevoked": 1},
            {"source": "file", "names": ["c.example", "*.c.example"], "expires": now - 7_200},
        ]});
        let told = told(&body, now, Paint::plain());
        let lines: Vec<_> = told.lines().map(str::trim_end).collect();
        assert_eq!(lines[0], "NAME                    SOURCE  EXPIRES     RENEWS");
        assert_eq!(lines[1], "a.example               acme    in 60 days  in 30 days");
        assert_eq!(lines[2], "b.example               acme    none yet    -");
        assert_eq!(lines[3], "c.example, *.c.example  file    2 h ago     -");
        assert!(lines[4].starts_with("b.example: http-01 failed: no"), "{told}");
        assert_eq!(lines[5], "b.example: a replaced certificate is not revoked yet");
        assert!(lines[4].ends_with("route; next order in 10 min") && !told.contains('\u{1b}'));
        let empty = super::told(&json!({"certificates": []}), now, Paint::plain());
        assert!(empty.starts_with("no certificates"));
    }
}
