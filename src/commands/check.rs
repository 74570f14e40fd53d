//! `weir check FILE`: every mistake of a configuration, before it is used.

use super::{Exit, print, tell};
use crate::settings::{Part, Settings};
use crate::text::columns;
use clap::Args;
use std::path::{Path, PathBuf};
use weir_config::Config;
use weir_config::mistakes::Mistakes;
use weir_config::units::format_size;

/// Check a configuration file and report all mistakes
///
/// Environment variables (WEIR_TABLE__KEY) apply as they do for weir serve.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The configuration file
    file: PathBuf,
}

impl Check {
    pub(super) fn run(self) -> Exit {
        let settings =
            Settings { part: Part::Any, file: Some(self.file.clone()), ..Settings::default() };
        match settings.load_with_part() {
            Ok((config, part)) => {
                let (rows, warnings) = match part {
                    // What a node sends to origins is no business of control.
                    Part::Control => (control(&config), vec![]),
                    Part::Node | Part::Any => (node(&config), warnings(&config)),
                };
                print(&format!("{}: ok\n{}", self.file.display(), columns(&rows)));
                for warning in warnings {
                    print(&format!("warning: {warning}\n"));
                }
                Exit::Done
            }
            Err(mistakes) => mistaken(&self.file, &mistakes),
        }
    }
}

/// Tells every mistake of a file.
pub(super) fn mistaken(file: &Path, mistakes: &Mistakes) -> Exit {
    for mistake in &mistakes.0 {
        tell(&format!("{}: {mistake}\n", file.display()));
    }
    Exit::Failed
}

fn warnings(config: &Config) -> Vec<String> {
    let limit = weir_config::machine::memory_limit();
    let of_memory = limit.and_then(|limit| weir_config::memory_warning(config, limit));
    let of_files = weir_config::file_system_warnings(config, weir_config::machine::file_system);
    weir_config::warnings(config).into_iter().chain(of_memory).chain(of_files).collect()
}

/// What `weir control` opens with this configuration.
fn control(config: &Config) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("command", "weir control".to_owned()),
        ("control", format!("http://{}", config.control.listen)),
    ];
    rows.extend(config.control.data.iter().map(|data| ("data", data.display().to_string())));
    rows.extend(config.sites.iter().map(|site| ("site", site.id.clone())));
    rows.push(("tokens", config.tokens.len().to_string()));
    rows
}

/// What `weir serve` opens with this configuration.
fn node(config: &Config) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("command", "weir serve".to_owned()),
        ("listen", format!("http://{}", config.node.listen)),
    ];
    if let Some(tls) = &config.tls {
        let count = tls.certificates.len();
        rows.push(("listen", format!("https://{} ({count} certificates)", tls.listen)));
    }
    rows.push(("admin", format!("http://{}", config.node.admin)));
    rows.extend(config.sites.iter().map(|site| ("site", fronted(site))));
    rows.push(("memory", format_size(config.memory.size)));
    rows.extend(config.disk.iter().flat_map(|disk| &disk.directories).map(|directory| {
        ("disk", format!("{} in {}", format_size(directory.size), directory.path.display()))
    }));
    rows.push(("tokens", config.tokens.len().to_string()));
    rows
}

/// A site in a line: id, hosts and origins.
pub(super) fn fronted(site: &weir_config::Site) -> String {
    let origins: Vec<_> = site
        .origins
        .iter()
        .map(|origin| {
            format!("{}://{}", if origin.tls { "https" } else { "http" }, origin.authority)
        })
        .collect();
    let hosts = match site.hosts.as_slice() {
        [all] if all == "*" => "every host".to_owned(),
        hosts => hosts.join(", "),
    };
    format!("{} ({}, {hosts})", origins.join(", "), site.id)
}
