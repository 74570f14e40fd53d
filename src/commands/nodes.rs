//! `weir nodes`: the expected nodes, and the purges that each has applied.

use super::{ControlArgs, Exit};
use crate::text::{Align, Paint, harmless, table};
use clap::{ArgGroup, Args, Subcommand};
use serde_json::Value;

/// List the expected nodes and how far each is behind control
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Nodes {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    control: ControlArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    Forget(Forget),
}

/// Stop expecting nodes: purges no longer wait for them, and they start empty if they return
///
/// Names are those of "weir nodes". Instead of names, --state, --tier and --matching select all nodes that
/// fit each of them. The name of a forgotten node is free for any process that has the node's token.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).multiple(true).args(["names", "state", "tier", "matching"]))]
struct Forget {
    /// The nodes
    #[arg(value_name = "NAME", conflicts_with_all = ["state", "tier", "matching"])]
    names: Vec<String>,
    /// All nodes in this state: connected, silent or offline
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// All nodes of this tier: edge or parent
    #[arg(long, value_name = "TIER")]
    tier: Option<String>,
    /// All nodes with such a name, in which * stands for any characters
    #[arg(long, value_name = "PATTERN")]
    matching: Option<String>,
    #[command(flatten)]
    control: ControlArgs,
}

impl Nodes {
    pub(super) async fn run(self) -> Exit {
        if let Some(Action::Forget(forget)) = self.action {
            return forget.run().await;
        }
        let client = match self.control.client() {
            Ok(client) => client,
            Err(exit) => return exit,
        };
        let answer = client.get("/v1/nodes", &[]).await;
        let words = |body: &Value| told(body, Paint::for_stdout());
        self.control.show(answer, words).map_or_else(|exit| exit, |_| Exit::Done)
    }
}

impl Forget {
    async fn run(self) -> Exit {
        let client = match self.control.client() {
            Ok(client) => client,
            Err(exit) => return exit,
        };
        if self.names.is_empty() {
            let said = [("state", &self.state), ("tier", &self.tier), ("name", &self.matching)];
            let said = said.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?)));
            let query: Vec<_> = said.collect();
            let answer = client.delete_where("/v1/nodes", &query).await;
            return self.control.show(answer, forgotten).map_or_else(|exit| exit, |_| Exit::Done);
        }
        // Each by itself: one that is not expected is told, and the others are forgotten.
        let mut exit = Exit::Done;
        for name in &self.names {
            let answer = client.delete(&["v1", "nodes", name]).await;
            if let Err(failed) = self.control.show(answer, forgotten) {
                exit = failed;
            }
        }
        exit
    }
}

/// A line for each node that is no longer expected.
fn forgotten(body: &Value) -> String {
    let names = match &body["forgotten"] {
        Value::Array(names) => names.as_slice(),
        name => std::slice::from_ref(name),
    };
    if names.is_empty() {
        return "no expected node fits\n".to_owned();
    }
    let names = names.iter().filter_map(Value::as_str);
    names.map(|name| format!("{} is no longer expected\n", harmless(name))).collect()
}

/// A line for each node.
fn told(body: &Value, paint: Paint) -> String {
    let nodes = body["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    if nodes.is_empty() {
        return "no node is expected: none has joined yet\n".to_owned();
    }
    let mut head = vec!["NODE", "TIER", "REGION", "STATE", "APPLIED", "BEHIND", "REQUESTS", "HITS"];
    let mut rows: Vec<_> = nodes.iter().map(|node| row(node, paint)).collect();
    // Only where some node follows control through another one.
    if nodes.iter().any(|node| node["via"].is_string()) {
        head.push("VIA");
        for (row, node) in rows.iter_mut().zip(nodes) {
            row.push((harmless(node["via"].as_str().unwrap_or("-")), None));
        }
    }
    let right = [4, 5, 6, 7];
    table(&head, &rows, |column| if right.contains(&column) { Align::Right } else { Align::Left })
}

fn row(node: &Value, paint: Paint) -> Vec<(String, Option<String>)> {
    let text = |name: &str| harmless(node[name].as_str().unwrap_or("?"));
    let number = |value: &Value| value.as_u64().map_or_else(|| "-".to_owned(), |n| n.to_string());
    let plain = |text: String| (text, None);
    let painted = |text: String, coloured: String| (text, Some(coloured));
    let state = text("state");
    let colour = match state.as_str() {
        "connected" => paint.good(&state),
        "offline" => paint.bad(&state),
        _ => paint.warn(&state),
    };
    let stats = &node["stats"];
    let hits = match (stats["hits"].as_u64(), stats["requests"].as_u64()) {
        (Some(hits), Some(requests)) if requests > 0 => {
            // Per thousand first, so that 99.96 % does not read as all.
            let share = hits.saturating_mul(1000) / requests;
            format!("{}.{} %", share / 10, share % 10)
        }
        _ => "-".to_owned(),
    };
    vec![
        plain(text("name")),
        plain(text("tier")),
        plain(text("region")),
        painted(state, colour),
        plain(number(&node["applied_seq"])),
        plain(number(&node["lag"])),
        plain(number(&stats["requests"])),
        plain(hits),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nodes_are_told_in_a_table() {
        let body = json!({"nodes": [
            {"name": "eu-1", "tier": "edge", "region": "eu", "state": "connected",
             "applied_seq": 12, "lag": 0, "stats": {"requests": 2000, "hits": 1999}},
            {"name": "parent-eu", "tier": "parent", "region": "eu", "state": "offline",
             "applied_seq": 9, "lag": 3, "stats": null},
        ]});
        let expected = [
            "NODE       TIER    REGION  STATE      APPLIED  BEHIND  REQUESTS    HITS",
            "eu-1       edge    eu      connected       12       0      2000  99.9 %",
            "parent-eu  parent  eu      offline          9       3         -       -",
        ];
        assert_eq!(told(&body, Paint::plain()).lines().collect::<Vec<_>>(), expected);
        let behind = json!({"nodes": [{"name": "a", "tier": "edge", "region": "eu", "state": "silent",
            "applied_seq": 1, "lag": 0, "via": "p-1"}, {"name": "p-1", "via": null}]});
        let expected = [
            "NODE  TIER  REGION  STATE   APPLIED  BEHIND  REQUESTS  HITS  VIA",
            "a     edge  eu      silent        1       0         -     -  p-1",
            "p-1   ?     ?       ?             -       -         -     -  -",
        ];
        assert_eq!(told(&behind, Paint::plain()).lines().collect::<Vec<_>>(), expected);
        assert_eq!(forgotten(&json!({"forgotten": "a"})), "a is no longer expected\n");
        let two = "a is no longer expected\nb is no longer expected\n";
        assert_eq!(forgotten(&json!({"forgotten": ["a", "b"]})), two);
        assert_eq!(forgotten(&json!({"forgotten": []})), "no expected node fits\n");
        assert!(told(&json!({"nodes": []}), Paint::plain()).contains("no node is expected"));
    }
}
