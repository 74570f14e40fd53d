//! `weir purge`: what is stored goes, everywhere, at once.

use super::{ControlArgs, Exit, complain, print, print_json};
use crate::control::LONGEST_WAIT_MS;
use crate::text::{Paint, columns, harmless};
use clap::Args;
use serde_json::{Value, json};
use std::time::Duration;
use weir_edge::config::units::parse_duration;

/// Purge paths, URLs, tags, hosts or everything
///
/// A path without "?" takes every query, scheme and variant; with "?" that query only. A "*"
/// matches anything, "/" and "?" included.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(true)))]
pub(crate) struct Purge {
    /// Paths (/a, "/img/*") and URLs (http://example.com/a?b)
    #[arg(value_name = "PATH|URL", group = "what")]
    targets: Vec<String>,
    /// All paths below this one, by whole segments
    #[arg(long, value_name = "P", group = "what")]
    prefix: Vec<String>,
    /// All responses with this cache tag
    #[arg(long, value_name = "T", group = "what")]
    tag: Vec<String>,
    /// All of this host
    #[arg(long, value_name = "H", group = "what")]
    host: Vec<String>,
    /// Everything
    #[arg(long, group = "what")]
    all: bool,
    /// Only of this site
    #[arg(long, value_name = "S")]
    site: Option<String>,
    /// Stale from now on, instead of never served again
    #[arg(long)]
    soft: bool,
    /// Take all versions of the paths too (/app.js takes /app.3f9a1c.js)
    #[arg(long)]
    versions: bool,
    /// How long to wait until it is complete, at most 60s
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = wait)]
    wait: Duration,
    #[command(flatten)]
    control: ControlArgs,
}

impl Purge {
    pub(super) async fn run(self) -> Exit {
        let body = match self.body() {
            Ok(body) => body,
            Err(reason) => return complain(&reason, Exit::Usage),
        };
        let client = match self.control.client() {
            Ok(client) => client,
            Err(exit) => return exit,
        };
        let answer = match client.post("/v1/purges", &body, self.wait).await {
            Ok(answer) => answer,
            Err(reason) => return complain(&reason, Exit::Failed),
        };
        if self.control.json {
            print_json(&answer.body);
        }
        if !answer.is_success() {
            return complain(&answer.refusal(), Exit::Failed);
        }
        if !self.control.json {
            print(&told(&answer.body, Paint::for_stdout()));
        }
        match answer.body["status"].as_str() {
            Some("completed") => Exit::Done,
            _ => Exit::Incomplete,
        }
    }

    /// The body of the call.
    fn body(&self) -> Result<Value, String> {
        let (mut paths, mut urls) = (vec![], vec![]);
        for target in &self.targets {
            if target.starts_with('/') {
                paths.push(target);
            } else if target.contains("://") {
                urls.push(target);
            } else {
                let accepted = "accepted: a path that begins with /, or a URL with its scheme";
                return Err(format!("{target:?} is neither a path nor a URL; {accepted}"));
            }
        }
        Ok(json!({
            "paths": paths,
            "urls": urls,
            "prefixes": self.prefix,
            "tags": self.tag,
            "hosts": self.host,
            "all": self.all,
            "site": self.site,
            "soft": self.soft,
            "versions": self.versions,
            "wait_ms": u64::try_from(self.wait.as_millis()).unwrap_or(LONGEST_WAIT_MS),
        }))
    }
}

fn wait(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text)?;
    let most = Duration::from_millis(LONGEST_WAIT_MS);
    if duration > most { Err("longer than 60s".into()) } else { Ok(duration) }
}

/// The answer in words: the purge, then each node.
fn told(body: &Value, paint: Paint) -> String {
    let text = |value: &Value| harmless(value.as_str().unwrap_or("?"));
    let millis = |value: &Value| {
        value.as_f64().map_or_else(|| "not yet".to_owned(), |millis| format!("{millis} ms"))
    };
    let status = text(&body["status"]);
    let status = match status.as_str() {
        "completed" => paint.good("completed"),
        other => paint.warn(other),
    };
    let mut rows = vec![
        ("purge", text(&body["id"])),
        ("status", format!("{status} in {}", millis(&body["elapsed_ms"]))),
    ];
    let nodes = body["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    for node in nodes {
        let matched = match node["matched"].as_u64() {
            Some(1) => "1 stored response".to_owned(),
            Some(matched) => format!("{matched} stored responses"),
            None => "not counted yet".to_owned(),
        };
        let (name, tier, state) = (text(&node["name"]), text(&node["tier"]), text(&node["state"]));
        let applied = millis(&node["applied_ms"]);
        rows.push(("node", format!("{name} ({tier})  {state} in {applied}, {matched}")));
    }
    let mut told = columns(&rows);
    if !nodes.is_empty() && nodes.iter().all(|node| node["matched"] == 0) {
        told.push_str(&paint.warn("nothing that is stored matched"));
        told.push('\n');
    }
    told
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        purge: Purge,
    }

    fn parse(arguments: &str) -> Result<Purge, clap::Error> {
        Line::try_parse_from(["purge"].into_iter().chain(arguments.split_whitespace()))
            .map(|line| line.purge)
    }

    #[test]
    fn arguments_become_the_body() {
        let line = "/a http://h/b --prefix /p --tag t --tag u --host h --site s --soft --versions";
        let body = parse(line).unwrap().body().unwrap();
        let expected = json!({
            "paths": ["/a"], "urls": ["http://h/b"], "prefixes": ["/p"], "tags": ["t", "u"],
            "hosts": ["h"], "all": false, "site": "s", "soft": true, "versions": true,
            "wait_ms": 5000,
        });
        assert_eq!(body, expected);
        assert_eq!(parse("--all --wait 1m").unwrap().body().unwrap()["wait_ms"], 60_000);
    }

    #[test]
    fn wrong_arguments_are_refused() {
        for line in ["", "--soft", "--site s", "/a --wait 61s", "/a --wait 5", "/a --warm"] {
            assert!(parse(line).is_err(), "{line}");
        }
        assert!(parse("a").unwrap().body().unwrap_err().contains("\"a\" is neither"));
    }

    #[test]
    fn an_answer_is_told_in_aligned_words() {
        let body = json!({
            "id": "a-1", "status": "completed", "elapsed_ms": 0.2,
            "nodes": [{"name": "weir", "tier": "edge", "state": "applied", "applied_ms": 0.1,
                       "matched": 0}],
        });
        let words = told(&body, Paint::plain());
        let expected = "purge   a-1\nstatus  completed in 0.2 ms\n\
                        node    weir (edge)  applied in 0.1 ms, 0 stored responses\n\
                        nothing that is stored matched\n";
        assert_eq!(words, expected);
    }
}
