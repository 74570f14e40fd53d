//! `weir check FILE`: every mistake of a configuration, before it is used.

mod access;
mod pages;
mod request;

use super::{Exit, print, tell};
use crate::settings::{Part, Settings};
use crate::text::columns;
use clap::Args;
use http::{HeaderName, HeaderValue};
use request::{Asked, header};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use weir_config::mistakes::Mistakes;
use weir_config::units::format_size;
use weir_config::{Config, OriginPool, SiteTls};

/// Check a configuration file and report all mistakes
///
/// Environment variables (WEIR_TABLE__KEY) apply as they do for weir serve.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The configuration file
    file: PathBuf,
    /// Show which rules of its site a request matches: "GET https://example.com/a"
    #[arg(long, value_name = "METHOD URL", value_parser = Asked::parse)]
    request: Option<Asked>,
    /// A header of that request; repeatable
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header, requires = "request")]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The address of that request's client; without it, no rule with client or country matches
    #[arg(long, value_name = "ADDRESS", requires = "request")]
    client: Option<IpAddr>,
}

impl Check {
    pub(super) fn run(self) -> Exit {
        let settings =
            Settings { part: Part::Any, file: Some(self.file.clone()), ..Settings::default() };
        match settings.load_with_part() {
            Ok((config, part)) => {
                if let Some(asked) = &self.request {
                    return asked.answer(&config, self.headers.into_iter().collect(), self.client);
                }
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
    let members = config.control.etcd.iter().flat_map(|etcd| &etcd.endpoints);
    rows.extend(members.map(|member| ("etcd", member.to_string())));
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
    rows.extend(ordered(config).map(|ordered| ("acme", ordered)));
    rows.push(("admin", format!("http://{}", config.node.admin)));
    rows.extend(config.sites.iter().map(|site| ("site", fronted(site))));
    rows.push(("memory", format_size(config.memory.size)));
    rows.extend(config.disk.iter().flat_map(|disk| &disk.directories).map(|directory| {
        ("disk", format!("{} in {}", format_size(directory.size), directory.path.display()))
    }));
    rows.push(("tokens", config.tokens.len().to_string()));
    rows
}

/// Where certificates are ordered, if they are, for how many names, and where they are kept.
pub(super) fn ordered(config: &Config) -> Option<String> {
    let acme = config.tls.as_ref()?.acme.as_ref()?;
    let auto = config.sites.iter().filter(|site| site.tls == SiteTls::Auto);
    let names: usize = auto.map(|site| site.hosts.len()).sum();
    let plural = if names == 1 { "name" } else { "names" };
    let from = match acme.secret.is_some() && !config.control.url.is_empty() {
        true => "certificates from control",
        false => &acme.directory,
    };
    let place = match &config.control.etcd {
        Some(_) => "etcd".to_owned(),
        None => acme.state.display().to_string(),
    };
    Some(format!("{from} for {names} {plural}, in {place}"))
}

/// A site in a line: id, hosts and origins.
pub(super) fn fronted(site: &weir_config::Site) -> String {
    let of_pool = |pool: &OriginPool| {
        let urls = pool.origins.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match pool.name.as_str() {
            OriginPool::DEFAULT => urls,
            name => format!("{name}: {urls}"),
        }
    };
    let origins: Vec<_> = site.pools.iter().map(of_pool).collect();
    let hosts = match site.hosts.as_slice() {
        [all] if all == "*" => "every host".to_owned(),
        hosts => hosts.join(", "),
    };
    format!("{} ({}, {hosts})", origins.join("; "), site.id)
}
