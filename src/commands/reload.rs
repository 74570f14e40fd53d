//! `weir reload`: the running node reloads its configuration.

use super::{ControlArgs, Exit};
use clap::Args;
use serde_json::{Value, json};
use std::time::Duration;

/// Reload the configuration of the running node
///
/// If the file has a mistake, nothing changes.
#[derive(Debug, Args)]
pub(crate) struct Reload {
    #[command(flatten)]
    control: ControlArgs,
}

/// Certificates and rules are rebuilt; that takes longer than a purge.
const WAIT: Duration = Duration::from_secs(30);

impl Reload {
    pub(super) async fn run(self) -> Exit {
        let client = match self.control.client() {
            Ok(client) => client,
            Err(exit) => return exit,
        };
        let answer = client.post("/v1/reload", &json!({}), WAIT).await;
        self.control.show(answer, told).map_or_else(|exit| exit, |_| Exit::Done)
    }
}

fn told(body: &Value) -> String {
    let keys = body["needs_restart"].as_array().into_iter().flatten();
    let keys: Vec<_> = keys.filter_map(|key| key.as_str()).collect();
    match keys.is_empty() {
        true => "reloaded\n".to_owned(),
        false => format!("reloaded\nneeds a restart: {}\n", keys.join(", ")),
    }
}
