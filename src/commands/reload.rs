//! `weir reload`: the running node reads its configuration anew.

use super::{ControlArgs, Exit, complain, print, print_json};
use clap::Args;
use serde_json::json;
use std::time::Duration;

/// Have the running node read its configuration anew, all or nothing
#[derive(Debug, Args)]
pub(crate) struct Reload {
    #[command(flatten)]
    control: ControlArgs,
}

/// Certificates and rules are built anew; that takes longer than a purge.
const WAIT: Duration = Duration::from_secs(30);

impl Reload {
    pub(super) async fn run(self) -> Exit {
        let client = match self.control.client() {
            Ok(client) => client,
            Err(exit) => return exit,
        };
        let answer = match client.post("/v1/reload", &json!({}), WAIT).await {
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
            let keys = answer.body["needs_restart"].as_array().into_iter().flatten();
            let keys: Vec<_> = keys.filter_map(|key| key.as_str()).collect();
            print("reloaded\n");
            if !keys.is_empty() {
                print(&format!("needs a restart: {}\n", keys.join(", ")));
            }
        }
        Exit::Done
    }
}
