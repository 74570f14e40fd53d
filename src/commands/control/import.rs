//! `weir control import`: the log of one process, moved to etcd.

use super::to_etcd;
use crate::commands::check::mistaken;
use crate::commands::{Exit, block_on, complain, print, print_json};
use crate::settings::{Part, Settings};
use crate::text::columns;
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};
use weir_control::Imported;

/// Move the log that one process of control keeps into etcd
///
/// Stop control first. The log goes below control.etcd.prefix, where there must be no log yet: with its id, its
/// purges and the nodes that it expects, so that nodes keep what they have stored. From then on control.redb
/// is not opened any more. An import that was interrupted has moved nothing: run it again.
#[derive(Debug, Args)]
pub(super) struct Import {
    /// The new configuration of control, with control.log = "etcd"
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The directory of the log: control.data of the old configuration
    #[arg(value_name = "DIRECTORY")]
    data: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl Import {
    pub(super) fn run(self) -> Exit {
        let settings = Settings {
            part: Part::Control,
            file: Some(self.config.clone()),
            ..Settings::default()
        };
        let config = match settings.load() {
            Ok(config) => config,
            Err(mistakes) => return mistaken(&self.config, &mistakes),
        };
        let Some(etcd) = config.control.etcd else {
            return complain("control.log: not \"etcd\"; accepted: that", Exit::Failed);
        };
        let client = match to_etcd(&etcd) {
            Ok(client) => client,
            Err(reason) => return complain(&reason, Exit::Failed),
        };
        block_on(async {
            match weir_control::import(&etcd, client, &self.data).await {
                Ok(imported) if self.json => print_json(&json!({
                    "log": imported.log, "head": imported.head, "entries": imported.entries,
                    "nodes": imported.nodes, "already": imported.already,
                })),
                Ok(imported) => print(&told(&imported, &etcd, &self.data)),
                Err(reason) => return complain(&reason, Exit::Failed),
            }
            Exit::Done
        })
    }
}

fn told(imported: &Imported, etcd: &weir_config::Etcd, data: &Path) -> String {
    let members: Vec<_> = etcd.endpoints.iter().map(ToString::to_string).collect();
    let rows = [
        ("from", data.display().to_string()),
        ("to", format!("{}, below {}", members.join(", "), etcd.prefix)),
        ("log", imported.log.clone()),
        ("entries", format!("{}, up to {}", imported.entries, imported.head)),
        ("nodes", imported.nodes.to_string()),
    ];
    let ended = match (imported.already, imported.copied) {
        (true, _) => "It was imported before; nothing was done.",
        (false, true) => {
            "Imported. The log is a copy, which may be older than what nodes have applied: it gets a new id, and \
             nodes discard what they stored before."
        }
        (false, false) => "Imported. Start control with the new configuration.",
    };
    format!("{}{ended}\n", columns(&rows))
}
