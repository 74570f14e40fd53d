//! `weir purges`: past purges, and the progress of each.

use super::{ControlArgs, Exit};
use crate::client::{Answer, Client};
use crate::text::{Align, Paint, columns, harmless, table};
use clap::Args;
use serde_json::Value;
use weir_rules::invalidation::TargetKind;

/// List past purges, or show one
#[derive(Debug, Args)]
pub(crate) struct Purges {
    /// Show the purge with this id
    id: Option<String>,
    /// List purges after this seq, oldest first; by default, the latest are listed
    #[arg(long, value_name = "SEQ", conflicts_with = "id")]
    after: Option<u64>,
    /// List at most this many purges, up to 1000
    #[arg(long, value_name = "N", default_value_t = 20, conflicts_with = "id",
          value_parser = clap::value_parser!(u64).range(1..=1000))]
    limit: u64,
    #[command(flatten)]
    control: ControlArgs,
}

impl Purges {
    pub(super) async fn run(self) -> Exit {
        let client = match self.control.client() {
            Ok(client) => client,
            Err(exit) => return exit,
        };
        let answer = match &self.id {
            Some(id) => client.get_at(&["v1", "purges", id]).await,
            None => match self.after {
                Some(after) => listed(&client, after, self.limit).await,
                None => latest(&client, self.limit).await,
            },
        };
        let paint = Paint::for_stdout();
        let words = |body: &Value| match self.id {
            Some(_) => one(body, paint),
            None => told(body, paint),
        };
        self.control.show(answer, words).map_or_else(|exit| exit, |_| Exit::Done)
    }
}

/// Purges after a seq, oldest first.
async fn listed(client: &Client, after: u64, limit: u64) -> Result<Answer, String> {
    let (after, limit) = (after.to_string(), limit.to_string());
    client.get("/v1/purges", &[("after", &after), ("limit", &limit)]).await
}

/// The last purges, oldest first.
pub(super) async fn latest(client: &Client, limit: u64) -> Result<Answer, String> {
    // The smallest listing has the head.
    let answer = listed(client, 0, 1).await?;
    if !answer.is_success() {
        return Ok(answer);
    }
    let head = answer.body["head"].as_u64().unwrap_or_default();
    listed(client, head.saturating_sub(limit), limit).await
}

/// A line for each purge.
fn told(body: &Value, paint: Paint) -> String {
    let purges = body["purges"].as_array().map(Vec::as_slice).unwrap_or_default();
    if purges.is_empty() {
        return "there are no purges\n".to_owned();
    }
    let head = ["SEQ", "ID", "AT", "STATUS", "NODES", "MATCHED", "WHAT"];
    let rows: Vec<_> = purges.iter().map(|purge| row(purge, paint)).collect();
    table(&head, &rows, |column| match column {
        0 | 4 | 5 => Align::Right,
        _ => Align::Left,
    })
}

fn row(purge: &Value, paint: Paint) -> Vec<(String, Option<String>)> {
    let text = |value: &Value| harmless(value.as_str().unwrap_or("?"));
    let status = text(&purge["status"]);
    let coloured = match status.as_str() {
        "completed" => paint.good(&status),
        _ => paint.warn(&status),
    };
    let (applied, total) = arrived(purge);
    let known = match purge.get("matched") {
        Some(matched) => matched.as_u64(),
        None => nodes(purge).iter().map(|node| node["matched"].as_u64()).sum(),
    };
    vec![
        (purge["seq"].to_string(), None),
        (text(&purge["id"]), None),
        (text(&purge["created_at"]), None),
        (status, Some(coloured)),
        (format!("{applied}/{total}"), None),
        (known.map_or_else(|| "-".to_owned(), |matched| matched.to_string()), None),
        (what(purge), None),
    ]
}

/// How many nodes have applied a purge, and how many it is for. A control of an older version lists
/// them all.
pub(super) fn arrived(purge: &Value) -> (u64, u64) {
    let of = |name: &str| purge[name].as_u64();
    if let Some((total, lagging)) = of("nodes_total").zip(of("nodes_lagging")) {
        return (total.saturating_sub(lagging), total);
    }
    let applied = nodes(purge).iter().filter(|node| node["state"] == "applied").count();
    (applied as u64, nodes(purge).len() as u64)
}

fn nodes(purge: &Value) -> &[Value] {
    purge["nodes"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// What a purge named, shortened.
pub(super) fn what(purge: &Value) -> String {
    const SHOWN: usize = 3;
    let mut named = Vec::new();
    for kind in TargetKind::ALL {
        let prefix = match kind {
            // They look like what they are.
            TargetKind::Path | TargetKind::Url => String::new(),
            _ => format!("{} ", kind.singular()),
        };
        let texts = purge[kind.plural()].as_array().into_iter().flatten().filter_map(Value::as_str);
        named.extend(texts.map(|text| format!("{prefix}{}", harmless(text))));
    }
    if purge["all"] == true {
        named.push("everything".to_owned());
    }
    if named.is_empty() {
        named.push("a switch of release".to_owned());
    }
    let more = named.len().saturating_sub(SHOWN);
    named.truncate(SHOWN);
    let mut words = named.join(", ");
    if more > 0 {
        words.push_str(&format!(" and {more} more"));
    }
    for (field, word) in [("soft", "soft"), ("versions", "all versions"), ("warm", "warm")] {
        if purge[field] == true {
            words.push_str(&format!(" ({word})"));
        }
    }
    if let Some(site) = purge["site"].as_str() {
        words.push_str(&format!(" of {}", harmless(site)));
    }
    words
}

/// One purge, in full.
fn one(purge: &Value, paint: Paint) -> String {
    let mut told = columns(&[("what", what(purge))]);
    told.push_str(&super::purge::told(purge, paint));
    let count = |name: &str| purge["warmed"][name].as_u64().unwrap_or(0);
    if purge["warmed"].is_object() {
        let (done, asked) = (count("done"), count("asked"));
        let failed = match count("failed") {
            0 => String::new(),
            failed => format!(", {}", paint.bad(&format!("{failed} failed"))),
        };
        told.push_str(&columns(&[("warmed", format!("{done} of {asked} fetches{failed}"))]));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_fetched_again_is_told_of_one() {
        let mut purge = json!({"id": "a-1", "status": "completed", "paths": ["/a"], "warm": true,
                               "nodes": [], "warmed": null});
        assert!(!one(&purge, Paint::plain()).contains("warmed"));
        purge["warmed"] = json!({"asked": 3, "done": 2, "failed": 1});
        let told = one(&purge, Paint::plain());
        assert!(told.ends_with("warmed  2 of 3 fetches, 1 failed\n"), "{told}");
    }

    #[test]
    fn purges_are_told_in_a_table() {
        let body = json!({"head": 8, "purges": [
            {"seq": 7, "id": "6b8d-7", "created_at": "2026-01-02T03:04:05Z", "status": "completed",
             "paths": ["/a", "/b"], "tags": ["t", "u"], "soft": true, "site": "shop",
             "nodes": [{"state": "applied", "matched": 2}, {"state": "applied", "matched": 1}]},
            {"seq": 8, "id": "6b8d-8", "created_at": "2026-01-02T03:04:06Z", "status": "in_progress", "all": true,
             "nodes": [{"state": "applied", "matched": 2}, {"state": "offline", "matched": null}]},
        ]});
        let expected = [
            "SEQ  ID      AT                    STATUS       NODES  MATCHED  WHAT",
            "  7  6b8d-7  2026-01-02T03:04:05Z  completed      2/2        3  /a, /b, tag t and 1 more (soft) of shop",
            "  8  6b8d-8  2026-01-02T03:04:06Z  in_progress    1/2        -  everything",
        ];
        assert_eq!(told(&body, Paint::plain()).lines().collect::<Vec<_>>(), expected);
        assert_eq!(told(&json!({"purges": []}), Paint::plain()), "there are no purges\n");
    }
}
