//! `weir healthcheck`: for containers, whose image has no other HTTP client.

use super::{ControlArgs, Exit, complain, print_json};
use clap::Args;

/// Exit with status 0 if the running node is ready, otherwise 1
#[derive(Debug, Args)]
pub(crate) struct Healthcheck {
    #[command(flatten)]
    control: ControlArgs,
}

impl Healthcheck {
    pub(super) async fn run(self) -> Exit {
        let client = match self.control.client_without_token() {
            Ok(client) => client,
            Err(exit) => return exit,
        };
        let answer = match client.get("/readyz", &[]).await {
            Ok(answer) => answer,
            Err(reason) => return complain(&reason, Exit::Failed),
        };
        if self.control.json {
            print_json(&answer.body);
        }
        if answer.is_success() { Exit::Done } else { complain(&answer.refusal(), Exit::Failed) }
    }
}
