//! The checked configuration: what the node runs by. [`file`] is what the user wrote; [`check`]
//! turns one into the other and reports every mistake at once, each with its key.

pub mod check;
pub mod file;
pub mod mistakes;
pub mod nearest;
pub mod network;
mod section;
pub mod units;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use weir_rules::key::KeyRules;
use weir_rules::release::ReleaseRules;
use weir_rules::storability::SitePolicy;

/// Everything one process runs by. Immutable; a reload makes a new one.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[node]`
    pub node: Node,
    /// `[control]`, of the built-in control service.
    pub control: Control,
    /// `[[token]]`
    pub tokens: Vec<Token>,
    /// `[memory]`
    pub memory: Memory,
    /// `[[site]]`, at least one.
    pub sites: Vec<Site>,
    /// `[limits]`
    pub limits: Limits,
    /// `[log]`
    pub log: Log,
    /// `[tls]`; `None` serves in the clear only.
    pub tls: Option<Tls>,
}

/// This node.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its name, a token of RFC 9110; in Cache-Status, Via and CDN-Loop.
    pub name: String,
    /// Its region.
    pub region: String,
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where the admin API listens.
    pub admin: SocketAddr,
    /// Peers whose forwarding fields are believed.
    pub trusted_proxies: Vec<Network>,
    /// How long requests under way may take after SIGTERM.
    pub drain: Duration,
    /// Worker threads, at least one; each has its own runtime.
    pub workers: usize,
}

/// The built-in control service.
#[derive(Clone, Debug, PartialEq)]
pub struct Control {
    /// Peers from which `PURGE` on the node's listener is taken.
    pub purge_acl: Vec<Network>,
    /// How many purges stay listed.
    pub retention: usize,
}

/// A network in CIDR form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its address, host bits zero.
    pub address: IpAddr,
    /// Prefix length.
    pub prefix: u8,
}

/// A token for control.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// Its name, for logs.
    pub name: String,
    /// Its secret; never logged.
    pub secret: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// The sites it may do it to; empty means all.
    pub sites: Vec<String>,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Purge.
    Purge,
    /// Read state, explain.
    Read,
    /// Reload, releases, nodes.
    Admin,
    /// Join as a node.
    Node,
}

/// The memory store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes of stored responses, their overhead included.
    pub size: u64,
    /// Largest body stored, bytes.
    pub max_object: u64,
}

/// One website.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// Its id.
    pub id: String,
    /// Host names, lower case, no port; `*` alone is every host, `*.example.com` its subdomains.
    pub hosts: Vec<String>,
    /// Where it really lives; at least one.
    pub origins: Vec<Origin>,
    /// Which Host the origin is asked with.
    pub host_header: HostHeader,
    /// Waits on the origin.
    pub timeouts: Timeouts,
    /// Further tries of an idempotent request before its first byte went out, 0 to 5.
    pub retries: u32,
    /// How keys are made.
    pub key: KeyRules,
    /// What bears on storing.
    pub policy: SitePolicy,
    /// Seconds past its lifetime that a stored response may be sent while the origin gives no
    /// answer at all and nothing forbids it (RFC 9111 §4.2.4); 0 means never.
    pub stale_when_unreachable: u32,
    /// Whether a client's `no-cache`, `no-store`, `max-age` reach past the cache.
    pub client_cache_control: bool,
    /// Its releases, if it has any.
    pub release: Option<ReleaseRules>,
}

/// One origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `http` or `https`.
    pub tls: bool,
    /// Host name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Authority as in the URL, for Host.
    pub authority: String,
}

/// Which Host the origin is asked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostHeader {
    /// The origin's own.
    Origin,
    /// The client's.
    Client,
}

/// Waits on an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To connect, TLS included.
    pub connect: Duration,
    /// From the request sent to the head of the answer.
    pub first_byte: Duration,
    /// Between two reads of the body.
    pub idle: Duration,
}

/// Bounds on everything that grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Client connections at once.
    pub connections: usize,
    /// Bytes of a request head.
    pub header_bytes: usize,
    /// Fields in a request head.
    pub header_fields: usize,
    /// Bytes of a request target.
    pub target_bytes: usize,
    /// Bytes of a request body.
    pub body_bytes: u64,
    /// A connection without a request.
    pub idle: Duration,
    /// From a request's first byte to the end of its head.
    pub header_timeout: Duration,
    /// A client that neither sends nor takes a byte while it should.
    pub slow_client: Duration,
    /// Bytes a fill may run ahead of the slowest reader of a body that is not being stored.
    pub fill_window: usize,
    /// Bytes of a response head from the origin.
    pub origin_header_bytes: usize,
    /// Connections to one origin at once.
    pub origin_connections: usize,
    /// Idle connections kept to one origin, per worker.
    pub origin_idle_connections: usize,
    /// How long an idle connection to an origin is kept.
    pub origin_idle: Duration,
    /// Requests waiting for an origin connection at once.
    pub origin_queue: usize,
    /// Variants kept of one resource.
    pub variants: usize,
    /// Cache tags of one response; one with more is not stored.
    pub tags: usize,
    /// Purge patterns kept (those with a `*` inside).
    pub patterns: usize,
    /// Reasons remembered for URLs that were not stored, for hit-for-miss and `explain`.
    pub decisions: usize,
    /// How long an uncacheable URL is remembered as such.
    pub hit_for_miss: Duration,
    /// Streams of one HTTP/2 connection.
    pub h2_streams: u32,
}

/// Logging.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The access log's form.
    pub access: AccessLog,
    /// Where it goes; `None` is standard output.
    pub path: Option<PathBuf>,
    /// The node's own log: error, warn, info, debug, trace.
    pub level: String,
}

/// Form of the access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// None.
    Off,
    /// One JSON object a line.
    Json,
    /// The combined form of web servers.
    Combined,
}

/// TLS on the client side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Where TLS clients connect; the clear listener stays as it is.
    pub listen: SocketAddr,
    /// Certificates; chosen by SNI, the first is the default.
    pub certificates: Vec<Certificate>,
    /// How often the files are looked at for change; zero means at reload only.
    pub reload: Duration,
}

/// One certificate with its key, PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Chain, leaf first.
    pub chain: PathBuf,
    /// Private key.
    pub key: PathBuf,
}
