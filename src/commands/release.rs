//! `weir release`: shows or switches the release of a site.

use super::{ControlArgs, Exit};
use crate::text::{Paint, columns, harmless};
use clap::Args;
use serde_json::{Value, json};
use std::time::Duration;

/// Show or switch a site's release
///
/// A switch is one entry of the log, like a purge: each node switches when it applies the entry.
/// Responses of the previous release remain stored, for switching back.
#[derive(Debug, Args)]
pub(crate) struct Release {
    /// The site's id
    site: String,
    /// The release to switch to
    #[arg(conflicts_with = "none")]
    name: Option<String>,
    /// Switch to no release
    #[arg(long)]
    none: bool,
    #[command(flatten)]
    control: ControlArgs,
}

/// A switch waits for its nodes as a purge does.
const WAIT: Duration = Duration::from_secs(5);

impl Release {
    pub(super) async fn run(self) -> Exit {
        let client = match self.control.client() {
            Ok(client) => client,
            Err(exit) => return exit,
        };
        let at = ["v1", "sites", self.site.as_str(), "release"];
        let switches = self.none || self.name.is_some();
        let answer = match switches {
            true => client.put(&at, &json!({"name": self.name}), WAIT).await,
            false => client.get_at(&at).await,
        };
        let body = match self.control.show(answer, |body| told(body, Paint::for_stdout())) {
            Ok(body) => body,
            Err(exit) => return exit,
        };
        match body["status"].as_str() {
            Some("completed") | None => Exit::Done,
            Some(_) => Exit::Incomplete,
        }
    }
}

fn told(body: &Value, paint: Paint) -> String {
    let name = body["name"].as_str().map_or_else(|| paint.faint("none"), harmless);
    let mut told = columns(&[("release", name)]);
    if body["status"].is_string() {
        told.push_str(&super::purge::told(body, paint));
    }
    told
}
