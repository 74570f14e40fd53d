//! `weir purge`: invalidates stored responses on every node.

use super::purges::arrived;
use super::{ControlArgs, Exit, complain, print, print_json, refused};
use crate::client::Client;
use crate::text::{Paint, harmless};
use clap::Args;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::time::{Duration, Instant};
use weir_config::units::parse_duration;
use weir_control::LONGEST_WAIT_MS;

/// Purge paths, URLs, tags, hosts or everything
///
/// A path without "?" matches every query, scheme and variant; a path with "?", only that query. "*"
/// matches anything, including "/" and "?".
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(true)))]
pub(crate) struct Purge {
    /// Paths (/a, "/img/*") and URLs (http://example.com/a?b)
    #[arg(value_name = "PATH|URL", group = "what")]
    targets: Vec<String>,
    /// This path and all paths below it, by whole segments
    #[arg(long, value_name = "P", group = "what")]
    prefix: Vec<String>,
    /// All responses with this cache tag
    #[arg(long, value_name = "T", group = "what")]
    tag: Vec<String>,
    /// All responses of this host
    #[arg(long, value_name = "H", group = "what")]
    host: Vec<String>,
    /// Everything
    #[arg(long, group = "what", conflicts_with_all = ["targets", "prefix", "tag", "host"])]
    all: bool,
    /// Only responses of this site
    #[arg(long, value_name = "S")]
    site: Option<String>,
    /// Mark as stale instead of removing
    #[arg(long)]
    soft: bool,
    /// Also purge all versions of the paths (/app.js matches /app.3f9a1c.js)
    #[arg(long)]
    versions: bool,
    /// Then re-fetch the popular URLs it removed
    #[arg(long)]
    warm: bool,
    /// How long to wait for completion, at most 60s
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
        // As text, each node is printed when it has applied the purge; JSON is one answer.
        let first = if self.control.json { self.wait } else { self.wait.min(FIRST_LOOK) };
        let asked = json_wait(body, first);
        let answer = match client.purge(&asked, first).await {
            Ok(answer) => answer,
            Err(reason) => return complain(&reason, Exit::Failed),
        };
        if self.control.json {
            print_json(&answer.body);
        }
        if !answer.is_success() {
            return complain(&answer.refusal(), refused(&answer));
        }
        if self.control.json {
            return exit(&answer.body);
        }
        match follow(&client, answer.body, self.wait, Paint::for_stdout()).await {
            Ok(exit) => exit,
            Err(reason) => complain(&reason, Exit::Failed),
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
            "warm": self.warm,
        }))
    }
}

fn wait(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text)?;
    let most = Duration::from_millis(LONGEST_WAIT_MS);
    if duration > most { Err("longer than 60s".into()) } else { Ok(duration) }
}

/// How long control waits before its first answer.
const FIRST_LOOK: Duration = Duration::from_millis(250);

/// Longest pause between two looks at a purge under way.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

fn json_wait(mut body: Value, wait: Duration) -> Value {
    body["wait_ms"] = u64::try_from(wait.as_millis()).unwrap_or(LONGEST_WAIT_MS).into();
    body
}

fn exit(body: &Value) -> Exit {
    match body["status"].as_str() {
        Some("completed") => Exit::Done,
        _ => Exit::Incomplete,
    }
}

/// Prints a line for each node when it has applied the purge, until all have or `wait` is over.
async fn follow(
    client: &Client,
    mut body: Value,
    wait: Duration,
    paint: Paint,
) -> Result<Exit, String> {
    let end = Instant::now() + wait;
    let id = body["id"].as_str().unwrap_or_default().to_owned();
    print(&line("purge", &harmless(&id)));
    let mut told = HashSet::new();
    let mut pause = Duration::from_millis(20);
    loop {
        for node in nodes(&body) {
            let name = text(&node["name"]);
            if node["state"] == "applied" && told.insert(name) {
                print(&line("node", &arrival(node, paint)));
            }
        }
        if exit(&body) == Exit::Done || Instant::now() >= end {
            print(&summary(&body, paint));
            return Ok(exit(&body));
        }
        tokio::time::sleep(pause.min(end.saturating_duration_since(Instant::now()))).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        let answer = client.get_at(&["v1", "purges", &id]).await?;
        if !answer.is_success() {
            return Err(answer.refusal());
        }
        body = answer.body;
    }
}

fn nodes(body: &Value) -> &[Value] {
    body["nodes"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> String {
    harmless(value.as_str().unwrap_or("?"))
}

fn millis(value: &Value) -> Option<String> {
    value.as_f64().map(|millis| format!("{millis} ms"))
}

/// A line, in the columns of all the others, which are not known yet.
fn line(name: &str, value: &str) -> String {
    format!("{name:6}  {value}\n")
}

/// One node, and whether it has applied the purge.
fn arrival(node: &Value, paint: Paint) -> String {
    let matched = match node["matched"].as_u64() {
        Some(1) => "1 stored response".to_owned(),
        Some(matched) => format!("{matched} stored responses"),
        None => "not counted yet".to_owned(),
    };
    let (name, tier, state) = (text(&node["name"]), text(&node["tier"]), text(&node["state"]));
    match (state.as_str(), millis(&node["applied_ms"])) {
        ("applied", Some(after)) => format!("{name} ({tier})  applied in {after}, {matched}"),
        // Control was down when the node applied it, so the time is unknown.
        ("applied", None) => format!("{name} ({tier})  applied, {matched}"),
        (state, _) => format!("{name} ({tier})  {}", paint.warn(state)),
    }
}

/// The status, and the nodes that have not applied the purge.
fn summary(body: &Value, paint: Paint) -> String {
    let status = text(&body["status"]);
    let elapsed = millis(&body["elapsed_ms"]).map_or_else(String::new, |ms| format!(" in {ms}"));
    let words = match status.as_str() {
        "completed" => paint.good("completed"),
        other => paint.warn(other),
    };
    let open = nodes(body).iter().filter(|node| node["state"] != "applied");
    let mut told: String = open.map(|node| line("node", &arrival(node, paint))).collect();
    if let Some(arrived) = unlisted(body) {
        told.push_str(&line("nodes", &arrived));
    }
    told.push_str(&line("status", &format!("{words}{elapsed}")));
    if let Some(note) = body["note"].as_str() {
        told.push_str(&paint.warn(&harmless(note)));
        told.push('\n');
    }
    told
}

/// How many nodes have applied it and what it took, where control lists only those that lag.
fn unlisted(body: &Value) -> Option<String> {
    let (applied, total) = arrived(body);
    let matched = match body["matched"].as_u64() {
        Some(1) => "1 stored response".to_owned(),
        Some(matched) => format!("{matched} stored responses"),
        None => "not counted yet".to_owned(),
    };
    let is_listed = total == nodes(body).len() as u64;
    (!is_listed).then(|| format!("{applied} of {total} applied it, {matched}"))
}

/// The answer in words: the purge, then each node.
pub(super) fn told(body: &Value, paint: Paint) -> String {
    let arrived = nodes(body).iter().filter(|node| node["state"] == "applied");
    let arrived: String = arrived.map(|node| line("node", &arrival(node, paint))).collect();
    line("purge", &text(&body["id"])) + &arrived + &summary(body, paint)
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
            "warm": false,
        });
        assert_eq!(body, expected);
        let longest = parse("--all --warm --wait 1m").unwrap();
        assert_eq!(json_wait(longest.body().unwrap(), longest.wait)["wait_ms"], 60_000);
        assert_eq!(longest.body().unwrap()["warm"], true);
    }

    #[test]
    fn wrong_arguments_are_refused() {
        for line in ["", "--soft", "--site s", "/a --wait 61s", "/a --wait 5"] {
            assert!(parse(line).is_err(), "{line}");
        }
        assert!(parse("a").unwrap().body().unwrap_err().contains("\"a\" is neither"));
    }

    #[test]
    fn an_answer_is_told_in_aligned_words() {
        let body = json!({
            "id": "a-1", "status": "completed", "elapsed_ms": 0.2,
            "note": "no stored response matched",
            "nodes": [{"name": "weir", "tier": "edge", "state": "applied", "applied_ms": 0.1,
                       "matched": 0}],
        });
        let expected = "purge   a-1\nnode    weir (edge)  applied in 0.1 ms, 0 stored responses\n\
                        status  completed in 0.2 ms\nno stored response matched\n";
        assert_eq!(told(&body, Paint::plain()), expected);
    }

    #[test]
    fn of_many_nodes_it_is_told_how_many_applied_it() {
        let body = json!({
            "id": "a-3", "status": "in_progress", "elapsed_ms": 5.5, "matched": null,
            "nodes": [{"name": "us-1", "tier": "edge", "state": "pending"}],
            "nodes_total": 1000, "nodes_lagging": 1,
        });
        let expected = "purge   a-3\nnode    us-1 (edge)  pending\n\
                        nodes   999 of 1000 applied it, not counted yet\n\
                        status  in_progress in 5.5 ms\n";
        assert_eq!(told(&body, Paint::plain()), expected);
    }

    #[test]
    fn nodes_that_have_not_applied_it_are_named() {
        let body = json!({
            "id": "a-2", "status": "in_progress", "elapsed_ms": 2000.5,
            "nodes": [{"name": "eu-1", "tier": "edge", "state": "applied", "applied_ms": null,
                       "matched": null},
                      {"name": "us-1", "tier": "edge", "state": "offline"}],
        });
        let expected = "purge   a-2\nnode    eu-1 (edge)  applied, not counted yet\n\
                        node    us-1 (edge)  offline\nstatus  in_progress in 2000.5 ms\n";
        assert_eq!(told(&body, Paint::plain()), expected);
        assert_eq!(exit(&body), Exit::Incomplete);
    }
}
