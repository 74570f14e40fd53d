//! From what the user wrote to what the node runs by. Every key is asked for in one place, with
//! its default and its bounds beside it; all mistakes are reported together.

mod access;
mod acme;
mod compress;
mod contents;
mod control;
mod cookies;
mod disk;
mod error_page;
mod etcd;
mod geo;
mod health;
mod host;
mod limits;
mod log;
mod maintenance;
mod origins;
mod parents;
mod pool;
mod release;
mod rule;
mod s3;
mod secret;
mod site;
mod tls;
mod token;

use super::Spool;
use super::file::FileConfig;
use super::mistakes::{Location, Mistakes};
use super::network::NETWORK_FORM;
use super::section::{Notes, Section};
use super::units::format_size;
use super::{Config, Control, Memory, Network, Node, OnPartition, Parents, Site, Tier, Via};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Most networks in one list.
const MOST_NETWORKS: usize = 1000;

/// Most DNS servers that are asked.
const MOST_RESOLVERS: usize = 8;

/// What [`resolver`] takes, for messages.
const RESOLVER_FORM: &str =
    "the address of a DNS server, perhaps with a port, such as 10.0.0.2 or 127.0.0.1:8600";

/// What a socket address looks like, for messages.
const ADDRESS_FORM: &str =
    "an IP address and a port such as 0.0.0.0:8080 or [::]:8080 (port 0 lets the system choose)";

impl Config {
    /// The configuration that a TOML text says.
    ///
    /// # Errors
    /// All mistakes at once, each with its key, line, value and what is accepted.
    pub fn from_toml(text: &str) -> Result<Config, Mistakes> {
        check(&FileConfig::parse(text)?)
    }

    /// All defaults, with one site `default` for every host, whose origin is `url`.
    ///
    /// # Errors
    /// `url` is no origin.
    pub fn for_origin(url: &str) -> Result<Config, Mistakes> {
        let mut file = FileConfig::default();
        file.front("--origin", url)?;
        check(&file)
    }

    /// The site that takes a host (lower case, no port): the one that names it, else the one with
    /// the longest `*.` suffix of it, else the one for `*`.
    pub fn site_for(&self, host: &str) -> Option<&Site> {
        let fit = |named: &String| host_fit(named, host);
        let fits = self
            .sites
            .iter()
            .filter_map(|site| site.hosts.iter().filter_map(fit).max().map(|fit| (fit, site)));
        fits.max_by_key(|(fit, _)| *fit).map(|(_, site)| site)
    }
}

/// How closely one of a site's hosts, which may begin with `*`, fits a host (lower case, no port):
/// the site with the highest number takes it. `None` where it does not fit.
pub fn host_fit(named: &str, host: &str) -> Option<usize> {
    match named.strip_prefix('*') {
        None => (named == host).then_some(usize::MAX),
        Some("") => Some(0),
        // `.example.com`: a proper subdomain only.
        Some(suffix) => {
            (host.len() > suffix.len() && host.ends_with(suffix)).then_some(suffix.len())
        }
    }
}

/// Checks a configuration.
///
/// # Errors
/// All mistakes at once, each with its key, place, value and what is accepted.
pub fn check(file: &FileConfig) -> Result<Config, Mistakes> {
    let notes = Notes::default();
    let config = read(file, &notes);
    let mistakes = notes.into_mistakes();
    if mistakes.0.is_empty() { Ok(config) } else { Err(mistakes) }
}

/// Reads every section; where there is a mistake the default stands in, and the result is not used.
fn read(file: &FileConfig, notes: &Notes) -> Config {
    let mut root = Section::root(&file.root, notes);
    let node = node(root.section("node"));
    let mut absent = Vec::new();
    let control = control::control(root.section("control"), &mut absent);
    let memory = memory(root.section("memory"));
    let limits = limits::limits(root.section("limits"));
    let geo = geo::geo(root.section("geo"));
    let spool = spool(root.section("spool"));
    let disk = disk::disk(&mut root, &node, &control, &spool);
    let log = log::log(root.section("log"));
    let tls = tls::tls(root.section("tls"), &node, &control);
    let parents = parents::parents(root.section("parents"), &node);
    // Control alone keeps a log, and may be told of no site.
    let needed = control.data.is_none() && control.etcd.is_none();
    let sites = site::sites(&mut root, needed, longest_ttl(&node, &parents), tls.as_ref());
    let tokens = token::tokens(&mut root, &sites, &control, &mut absent);
    ephemeral_fits(&root, &node, &control);
    via_fits(&root, &node, &control, &parents);
    addresses_differ(&root, &node, tls.as_ref().map(|tls| tls.listen));
    root.finish(&[]);
    Config {
        node,
        control,
        tokens,
        memory,
        disk,
        parents,
        sites,
        limits,
        geo,
        spool,
        log,
        tls,
        absent,
    }
}

/// The default of a site's `max_ttl`, seconds. What has gone out to many edges is best let go
/// there earlier than at their parents, where it costs little to ask again.
fn longest_ttl(node: &Node, parents: &Parents) -> u32 {
    const DAY: u32 = 86_400;
    match (node.tier, parents.urls.is_empty()) {
        (Tier::Parent, _) => 7 * DAY,
        (Tier::Edge, false) => DAY,
        (Tier::Edge, true) => 365 * DAY,
    }
}

fn node(mut s: Section<'_>) -> Node {
    let day = Duration::from_secs(86_400);
    let node = Node {
        name: s.text("name", NODE_FORM, node_name).unwrap_or_else(|| "weir".into()),
        tier: s.word("tier", Tier::Edge),
        region: s.text("region", NODE_FORM, node_name).unwrap_or_else(|| "default".into()),
        listen: address(&mut s, "listen", ([0, 0, 0, 0], 8080)),
        admin: address(&mut s, "admin", ([127, 0, 0, 1], 9090)),
        trusted_proxies: networks(&mut s, "trusted_proxies").unwrap_or_default(),
        proxy_protocol: networks(&mut s, "proxy_protocol").unwrap_or_default(),
        resolver: s.list("resolver", MOST_RESOLVERS, RESOLVER_FORM, resolver).unwrap_or_default(),
        drain: s.duration("drain", Duration::from_secs(30), Duration::ZERO..=day),
        workers: match s.count("workers", 0, 0..=1024) {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        },
        state: s.text("state", "the absolute path of a directory", absolute_path),
        ephemeral: s.boolean("ephemeral", false),
    };
    s.finish(&[]);
    node
}

fn memory(mut s: Section<'_>) -> Memory {
    const MIB: u64 = 1 << 20;
    let size = s.size("size", 512 * MIB, MIB..=(1 << 50));
    let max_object = s.size("max_object", (size / 4).min(64 * MIB), 1024..=(1 << 50));
    if max_object > size && s.has("max_object") {
        let size = format_size(size);
        s.mistake(
            "max_object",
            format!("larger than the whole store; at most {size}, memory.size"),
        );
    }
    let connections = s.optional_size("connections", MIB..=(1 << 50));
    s.finish(&[]);
    Memory { size, max_object, connections }
}

fn spool(mut s: Section<'_>) -> Spool {
    const GIB: u64 = 1 << 30;
    let spool = Spool {
        path: s.text("path", "the path of a folder", file_path),
        size: s.size("size", 4 * GIB, 1..=1 << 50),
        max_response: s.size("max_response", GIB, 1..=1 << 50),
        sensitive: s.boolean("sensitive", false),
    };
    s.finish(&[]);
    spool
}

/// A node that control forgets must not serve what a purge removed meanwhile.
fn ephemeral_fits(root: &Section<'_>, node: &Node, control: &Control) {
    let message = match (node.ephemeral, control.url.first(), control.on_partition) {
        (false, ..) | (true, Some(_), OnPartition::Validate) => return,
        (true, None, _) => "it is about control.url, which is missing",
        (true, Some(_), _) => {
            "control.on_partition is not \"validate\": a purge could be completed while this node \
             serves what it removed; accepted: both, or neither"
        }
    };
    root.notes().add(super::mistakes::Mistake {
        path: "node.ephemeral".into(),
        place: Location::Nowhere,
        value: Some("true".into()),
        message: message.into(),
    });
}

/// Only an edge with parents can follow control through one.
fn via_fits(root: &Section<'_>, node: &Node, control: &Control, parents: &Parents) {
    let message = match (control.via, node.tier, parents.urls.is_empty()) {
        // What is about control elsewhere is said there.
        _ if control.url.is_empty() => return,
        (Via::Control, ..) | (Via::Parents, Tier::Edge, false) => return,
        (Via::Parents, Tier::Parent, _) => {
            "node.tier is \"parent\": a parent follows control itself; accepted: \"control\""
        }
        (Via::Parents, Tier::Edge, true) => {
            "there are no parents.urls to follow control through; accepted: both, or \"control\""
        }
    };
    root.notes().add(super::mistakes::Mistake {
        path: "control.via".into(),
        place: Location::Nowhere,
        value: Some("\"parents\"".into()),
        message: message.into(),
    });
}

/// Two listeners cannot have one address; said here rather than by the system at start.
fn addresses_differ(root: &Section<'_>, node: &Node, tls: Option<SocketAddr>) {
    let named = [("node.admin", Some(node.admin)), ("tls.listen", tls)];
    let mut taken = vec![("node.listen", node.listen)];
    for (key, address) in named {
        let Some(address) = address else { continue };
        if let Some((other, _)) = taken.iter().find(|(_, taken)| collide(*taken, address)) {
            root.notes().add(super::mistakes::Mistake {
                path: key.into(),
                place: Location::Nowhere,
                value: Some(format!("\"{address}\"")),
                message: format!("{other} listens there already; accepted: another port"),
            });
        }
        taken.push((key, address));
    }
}

fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let overlap = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && overlap
}

fn address(s: &mut Section<'_>, name: &'static str, default: ([u8; 4], u16)) -> SocketAddr {
    s.text(name, ADDRESS_FORM, |text| text.parse().map_err(|_| "not a socket address".into()))
        .unwrap_or_else(|| SocketAddr::from(default))
}

/// A DNS server, on port 53 unless it says otherwise.
fn resolver(text: &str) -> Result<SocketAddr, String> {
    let address =
        text.parse().or_else(|_| text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53)));
    match address {
        Ok(address) if address.port() == 0 => Err("port 0 cannot be asked".into()),
        address => address.map_err(|_| "not an address".into()),
    }
}

fn networks(s: &mut Section<'_>, name: &'static str) -> Option<Vec<Network>> {
    s.list(name, MOST_NETWORKS, NETWORK_FORM, str::parse)
}

/// A path that is neither empty nor holds a NUL.
fn file_path(text: &str) -> Result<PathBuf, String> {
    match text {
        "" => Err("empty".into()),
        _ if text.contains('\0') => Err("contains a NUL".into()),
        _ => Ok(PathBuf::from(text)),
    }
}

/// A path that does not depend on where the program was started.
fn absolute_path(text: &str) -> Result<PathBuf, String> {
    let path = file_path(text)?;
    if path.is_absolute() { Ok(path) } else { Err("not absolute".into()) }
}

/// What [`node_name`] takes, for messages.
const NODE_FORM: &str = "a token of RFC 9110 §5.6.2 of at most 64 characters";

/// A name that may stand in Cache-Status, Via and CDN-Loop as a token.
fn node_name(text: &str) -> Result<String, String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    match text {
        "" => Err("empty".into()),
        _ if text.len() > 64 => Err("too long".into()),
        // A structured-field token begins with a letter (RFC 9651 §3.3.4).
        _ if !text.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            Err("does not begin with a letter".into())
        }
        _ if !text.bytes().all(token) => Err("not a token".into()),
        _ => Ok(text.to_owned()),
    }
}

/// An id of letters, digits, `-`, `_` and `.`.
fn id(text: &str) -> Result<String, String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    match text {
        "" => Err("empty".into()),
        _ if text.len() > 64 => Err("too long".into()),
        _ if !text.bytes().all(allowed) => Err("has other characters".into()),
        _ => Ok(text.to_owned()),
    }
}

/// The paths of all keys, list positions left out: `site.timeouts.connect`.
#[cfg(test)]
pub(super) fn keys() -> Vec<String> {
    // What is read only where it is written, written.
    let text = "[[site]]\norigins = [{ url = \"http://a\" }]\nretries = {}\nkey = { query = {} }\n\
                [[site.origin]]\nurls = [{ url = \"http://b\" }]\nretries = {}\n\
                [[site.signing_key]]\n[[site.rule]]\nname = \"a\"\nfinal = true\nreferer = {}\nbasic_auth = {}\n\
                [[token]]\n[tls.acme]\n[[tls.certificates]]\n[parents]\nurls = [{}]\n\
                [disk]\ndirectories = [{}]\n";
    let notes = Notes::default();
    match FileConfig::parse(text) {
        Ok(file) => drop(read(&file, &notes)),
        Err(mistakes) => panic!("{mistakes}"),
    }
    notes.known()
}

/// What [`id`] takes, for messages.
const ID_FORM: &str = "letters, digits, '-', '_' and '.', at most 64";

#[cfg(test)]
mod tests;
