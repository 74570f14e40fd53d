//! The checked configuration: what the node runs by. [`file`] is what the user wrote; [`check`]
//! turns one into the other and reports every mistake at once, each with its key.

pub mod check;
#[doc(inline)]
pub use check::host_fit;
mod disk;
pub mod file;
mod geo;
pub mod machine;
pub mod mistakes;
pub mod nearest;
pub mod network;
mod origin;
pub mod reload;
mod section;
pub mod units;
mod warnings;
pub mod words;

pub use disk::{Disk, DiskAdmit, DiskDirectory};
pub use geo::{Geo, LARGEST_GEO_DATABASE};
pub use network::Network;
pub use origin::{Origin, OriginPool, OriginTls, ProxyProtocol, S3};
pub use warnings::{file_system_warnings, memory_warning, warnings};
pub use weir_rules::tier::Tier;

use reload::{Effect, Key, Keys, table};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use strum::{IntoStaticStr, VariantArray};
use weir_rules::coding::CodingRules;
use weir_rules::cookies::CookieRules;
use weir_rules::key::KeyRules;
use weir_rules::release::ReleaseRules;
use weir_rules::site_rules::SiteRules;
use weir_rules::storability::SitePolicy;

/// Everything one process runs by. Immutable; a reload makes a new one.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[node]`
    pub node: Node,
    /// `[control]`, of the service itself and of the nodes that follow it.
    pub control: Control,
    /// `[[token]]`
    pub tokens: Vec<Token>,
    /// `[memory]`
    pub memory: Memory,
    /// `[parents]`
    pub parents: Parents,
    /// `[[site]]`; at least one, except for control alone.
    pub sites: Vec<Site>,
    /// `[limits]`
    pub limits: Limits,
    /// `[disk]`; `None` stores in memory only.
    pub disk: Option<Disk>,
    /// `[geo]`; `None` knows no country.
    pub geo: Option<Geo>,
    /// `[spool]`
    pub spool: Spool,
    /// `[log]`
    pub log: Log,
    /// `[tls]`; `None` serves in the clear only.
    pub tls: Option<Tls>,
    /// Files of secrets that are not there yet; a secret that nobody knows stands in for each.
    pub absent: Vec<Absent>,
}

/// A file of a secret that is not there yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absent {
    /// The key that names it.
    pub key: String,
    /// Its path.
    pub file: PathBuf,
    /// Whether this process makes it; else another one does.
    pub made: bool,
}

table! {
    "node":
    /// This node.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Node {
        /// Its name, a token of RFC 9110; in Cache-Status, Via and CDN-Loop.
        pub name: String => NodeRestart,
        /// Whether clients or other nodes talk to it.
        pub tier: Tier => NodeRestart,
        /// Its region.
        pub region: String => Reload,
        /// Where clients connect.
        pub listen: SocketAddr => NodeRestart,
        /// Where the admin API listens.
        pub admin: SocketAddr => NodeRestart,
        /// Peers whose forwarding fields are believed.
        pub trusted_proxies: Vec<Network> => Reload,
        /// Peers that begin each connection with the PROXY protocol, and no others do.
        pub proxy_protocol: Vec<Network> => Reload,
        /// The DNS servers that names of origins are looked up at; none leaves it to the system.
        pub resolver: Vec<SocketAddr> => Reload,
        /// How long requests under way may take after SIGTERM.
        pub drain: Duration => Reload,
        /// Worker threads, at least one; each has its own runtime.
        pub workers: usize => NodeRestart,
        /// The directory for what the node keeps over a restart: its secret, and a lock. An absolute
        /// path; `None` keeps the secret in memory.
        pub state: Option<PathBuf> => NodeRestart,
        /// Control forgets the node once its lease is over.
        pub ephemeral: bool => NodeRestart,
    }
}

table! {
    "control":
    /// Control: the service itself, and what a node needs to follow it.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Control {
        /// Where the node finds control: it tries these in turn. None has it built in.
        pub url: Vec<Origin> => NodeRestart,
        /// What the node shows control.
        pub token: Option<Secret> => NodeRestart,
        /// Whether an edge follows control itself, or through a parent.
        pub via: Via => NodeRestart,
        /// How many edges may follow control through this node, if it is a parent; 0 is none.
        pub relay_edges: usize => NodeRestart,
        /// How many bytes of lines wait for each of them, entries aside.
        pub relay_queue: usize => NodeRestart,
        /// How many bytes of the last entries are kept for them.
        pub relay_entries: usize => NodeRestart,
        /// How long the start waits for files of secrets that are not there yet.
        pub token_wait: Duration => Reload,
        /// Authorities that control's certificate may come from, beside those that browsers trust.
        pub ca: Option<PathBuf> => NodeRestart,
        /// Where control listens when it runs alone.
        pub listen: SocketAddr => LoneControlRestart,
        /// What keeps the log.
        pub log: LogEngine => ControlRestart,
        /// The directory where control keeps the log, with redb; `None` keeps it in memory.
        pub data: Option<PathBuf> => ControlRestart,
        /// `[control.etcd]`, where etcd keeps the log.
        pub etcd: Option<Etcd> => Reload,
        /// How long a node serves by TTL after it was last known to have every purge, and how long
        /// either end of a connection waits for the other.
        pub lease: Duration => NodeRestart,
        /// What a node does once its lease is over.
        pub on_partition: OnPartition => NodeRestart,
        /// After how long an absent node is not expected back.
        pub forget_after: Duration => Reload,
        /// Peers from which `PURGE` on the node's listener is taken.
        pub purge_acl: Vec<Network> => Reload,
        /// How many entries the log keeps.
        pub retention: usize => Reload,
        /// How many bytes of memory the log takes, together with older entries that a node with a disk
        /// store would need at its next start.
        pub retention_bytes: usize => Reload,
        /// How many bytes the history of traffic takes, in memory and in `data`.
        pub history: usize => Reload,
        /// How many arrivals, of an entry at a node each, are told one by one.
        pub arrivals: usize => Reload,
        /// Purge calls that one caller may make in a second.
        pub rate: u32 => Reload,
        /// How many nodes may be expected.
        pub nodes: usize => Reload,
        /// How many new names one token may join in a minute.
        pub join_rate: u32 => Reload,
    }
}

/// What keeps control's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum LogEngine {
    /// This process alone, in the directory `control.data`.
    #[default]
    Redb,
    /// An etcd cluster, which several processes of control share.
    Etcd,
}

table! {
    "control.etcd":
    /// The etcd cluster that keeps the log.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Etcd {
        /// Its members, which are asked in turn; at least one.
        pub endpoints: Vec<Origin> => ControlRestart,
        /// What the keys of this log begin with. It ends with `/`.
        pub prefix: String => ControlRestart,
        /// The user, and its password.
        pub user: Option<(String, Secret)> => Reload,
        /// Authorities that the members' certificates may come from, beside those that browsers trust.
        pub ca: Option<PathBuf> => Reload,
        /// The certificate that is shown to them.
        pub certificate: Option<Certificate> => Reload,
        /// Where the other processes of control reach this one; `None` is where it listens.
        pub advertise: Option<Origin> => ControlRestart,
    }
}

/// Through whom an edge follows control.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Via {
    /// Over a connection of its own.
    #[default]
    Control,
    /// Through one of its parents, a relay; over a connection of its own while none takes it.
    Parents,
}

/// What a node does once its lease is over (invariant I5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum OnPartition {
    /// Goes on by freshness lifetimes, and says so.
    #[default]
    Serve,
    /// Validates every stored response before it is sent; sends none stale.
    Validate,
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` from being shown.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
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
    /// The names of nodes that it alone may join under, and no others; empty means those that no
    /// token names.
    pub nodes: Vec<String>,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Scope {
    /// Purge.
    Purge,
    /// Read state, explain, metrics.
    Read,
    /// Read metrics, and nothing else.
    Metrics,
    /// Reload, releases, nodes.
    Admin,
    /// Join as a node.
    Node,
}

/// A node's parents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parents {
    /// Whom an edge asks instead of the origins; none asks these.
    pub urls: Vec<Parent>,
    /// Authorities that their certificates may come from, beside those that browsers trust.
    pub ca: Option<PathBuf>,
    /// Over which of them keys are spread.
    pub scope: ParentScope,
    /// Points of each parent on the ring of consistent hashing.
    pub virtual_nodes: u32,
    /// Whether the origins are asked where no parent answers.
    pub origin_fallback: bool,
    /// How long a parent waits for what a node that asks has applied before.
    pub catch_up: Duration,
    /// Waits on a parent.
    pub timeouts: Timeouts,
    /// How each is probed; `None` is not at all.
    pub probe: Option<Probe>,
}

/// One parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Where it listens.
    pub url: Origin,
    /// Its region.
    pub region: String,
}

/// Over which parents keys are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ParentScope {
    /// Those of the node's own region; the others where none of them answers.
    Region,
    /// All.
    Global,
}

/// The memory store, and what everything else may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes of stored responses, their overhead included.
    pub size: u64,
    /// Largest body stored, bytes.
    pub max_object: u64,
    /// Bytes of everything outside the store: connections, requests that wait, uploads, bodies on their
    /// way to slow clients. `None` is a part of what the machine allows ([`Memory::beside`]).
    pub connections: Option<u64>,
}

/// What a node takes beside its store and its connections: the program, its threads and their buffers.
pub const PROGRAM_BYTES: u64 = 64 << 20;

/// The least that connections get, and what they get where nothing is known of the machine.
const LEAST_CONNECTIONS: u64 = 32 << 20;
const UNKNOWN_CONNECTIONS: u64 = 512 << 20;

impl Memory {
    /// Bytes of everything outside the store, of a process that may have `limit` bytes in all: the
    /// configured ones, else half of what `size` and the program leave, and at least 32 MiB. `None` of a
    /// limit that is not known is 512 MiB.
    pub fn beside(&self, limit: Option<u64>) -> u64 {
        self.connections.unwrap_or_else(|| match limit {
            Some(limit) => {
                (limit.saturating_sub(self.size + PROGRAM_BYTES) / 2).max(LEAST_CONNECTIONS)
            }
            None => UNKNOWN_CONNECTIONS,
        })
    }
}

/// One website.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// Its id.
    pub id: String,
    /// Host names, lower case, no port; `*` alone is every host, `*.example.com` its subdomains.
    pub hosts: Vec<String>,
    /// Where it really lives; at least one. The first pool is asked unless a rule names another.
    pub pools: Vec<OriginPool>,
    /// How keys are made.
    pub key: KeyRules,
    /// What is done with cookies that are not part of the key; `None` if nothing is.
    pub cookies: Option<CookieRules>,
    /// What it compresses, and how; `None` if nothing.
    pub compress: Option<Arc<CodingRules>>,
    /// Its rules.
    pub rules: Arc<SiteRules>,
    /// What bears on storing.
    pub policy: SitePolicy,
    /// Seconds past its lifetime that a stored response may be sent while the origin gives no
    /// answer at all and nothing forbids it (RFC 9111 §4.2.4); 0 means never.
    pub stale_when_unreachable: u32,
    /// Whether a client's `no-cache`, `no-store`, `max-age` reach past the cache.
    pub client_cache_control: bool,
    /// Whether static assets are fetched for everyone by an anonymous request
    /// ([`weir_rules::assets`]).
    pub anonymous_assets: bool,
    /// The keys that URLs may be signed with ([`weir_rules::access::signed`]); the first signs.
    pub signing_keys: Vec<SigningKey>,
    /// Its releases, if it has any.
    pub release: Option<ReleaseRules>,
    /// Where its certificates come from.
    pub tls: SiteTls,
    /// What browsers are told to do by https alone; `None` tells them nothing.
    pub hsts: Option<Hsts>,
}

/// A key of signed URLs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKey {
    /// Its id, which signatures name.
    pub id: String,
    /// Its secret.
    pub secret: Secret,
}

/// What a member of a pool is spoken to in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    H1,
    /// HTTP/2: by ALPN over TLS, with prior knowledge in the clear.
    H2,
}

/// Which member of a pool is asked first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Balance {
    /// Each in turn.
    #[default]
    RoundRobin,
    /// Each in turn as often as its weight says, spread evenly.
    WeightedRoundRobin,
    /// The one with the fewest running requests for its weight.
    LeastConnections,
    /// The same one for each address of a client.
    IpHash,
    /// The same one for each key; few keys move when a member comes or goes.
    ConsistentHash,
}

/// How it is found out which members of a pool are in health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Active probes; `None` sends none.
    pub probe: Option<Probe>,
    /// What ejects a member by what its requests came to.
    pub ejection: Ejection,
}

/// Active probes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Path and query asked for; `None` asks the member for nothing but a sign of life, which no
    /// site of it has to know of.
    pub path: Option<String>,
    /// From one probe to the next.
    pub interval: Duration,
    /// What an answer may take.
    pub timeout: Duration,
    /// Good probes in a row that bring a member back.
    pub healthy: u32,
    /// Bad probes in a row that take a member out.
    pub unhealthy: u32,
    /// The status of a good answer; `None` is any 2xx or 3xx.
    pub status: Option<u16>,
    /// Host asked for; `None` is the origin's own, or `visitors_host`.
    pub host: Option<String>,
    /// Host asked for at origins that get the visitor's: the first name in the site's `hosts`.
    pub visitors_host: Option<String>,
}

/// What ejects a member of a pool, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// Failed requests in a row; 0 is never.
    pub failures: u32,
    /// Failed requests among a hundred of `window`, the circuit breaker; 0 is never.
    pub error_percent: u32,
    /// Requests in `window` below which no share is judged.
    pub requests: u32,
    /// The time that the share is taken over.
    pub window: Duration,
    /// How long the first ejection lasts; each that follows soon after it twice as long.
    pub eject: Duration,
    /// The longest that one lasts.
    pub eject_max: Duration,
}

/// Further tries of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// At most so many for one request, 0 to 5.
    pub most: u32,
    /// So many for a hundred requests of the site.
    pub percent: u32,
    /// And so many a second whatever the number of requests.
    pub per_second: u32,
}

/// Which Host the origin is asked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum HostHeader {
    /// The client's for an origin whose URL names a machine or a service, else the origin's own
    /// ([`weir_rules::origin_host`]).
    Auto,
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
    /// For the whole exchange, further tries and the body included; zero is no bound.
    pub total: Duration,
}

table! {
    "limits":
    /// Bounds on everything that grows.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Limits {
        /// Client connections at once.
        pub connections: usize => Reload,
        /// Whether a client with a loopback, private or link-local address is refused, too, if it
        /// holds too large a share of what clients share.
        pub private_clients: bool => Reload,
        /// Bytes of a request head.
        pub header_bytes: usize => Reload,
        /// Fields in a request head.
        pub header_fields: usize => Reload,
        /// Bytes of a request target.
        pub target_bytes: usize => Reload,
        /// Bytes of a request body.
        pub body_bytes: u64 => Reload,
        /// A connection without a request.
        pub idle: Duration => Reload,
        /// From a request's first byte to the end of its head.
        pub header_timeout: Duration => Reload,
        /// A client that neither sends nor takes a byte while it should.
        pub slow_client: Duration => Reload,
        /// Bytes a fill may run ahead of the slowest reader of a body that is not being stored.
        pub fill_window: usize => Reload,
        /// Bytes of the headers of an origin's response: of each, its name, its value and 4.
        pub origin_header_bytes: usize => Reload,
        /// Headers of an origin's response.
        pub origin_header_fields: usize => Reload,
        /// Bytes of a request body that are kept while it is sent, so that a request which an
        /// upstream did not process can be sent again; 0 keeps none.
        pub retry_body_bytes: usize => Reload,
        /// Bytes of a response that is not stored which may wait in memory for their client.
        pub read_ahead: u64 => Reload,
        /// Bytes a second below which a client may be cut off if others wait for the upstream; 0 is
        /// never.
        pub slow_client_rate: u64 => Reload,
        /// Connections to one origin at once.
        pub origin_connections: usize => Reload,
        /// Idle connections kept to one origin, per worker.
        pub origin_idle_connections: usize => Reload,
        /// How long an idle connection to an origin is kept.
        pub origin_idle: Duration => Reload,
        /// Requests waiting for an origin connection at once.
        pub origin_queue: usize => Reload,
        /// Variants kept of one resource.
        pub variants: usize => NodeRestart,
        /// Cache tags of one response; one with more is not stored.
        pub tags: usize => Reload,
        /// Purged targets of all kinds kept of each site.
        pub purge_targets: usize => NodeRestart,
        /// Purge patterns kept of each site (those with a `*` inside).
        pub patterns: usize => NodeRestart,
        /// Time of a processor, a second, that looking for what was purged may take in the long run.
        pub sweep: Duration => Reload,
        /// Reasons remembered for URLs that were not stored, for hit-for-miss and `explain`.
        pub decisions: usize => NodeRestart,
        /// How long an uncacheable URL is remembered as such.
        pub hit_for_miss: Duration => NodeRestart,
        /// Client prefixes, and values of headers or cookies, that are counted apart for each `rate` of a rule.
        pub rate_clients: u64 => Reload,
        /// Passwords that were right and are remembered, and client prefixes of which wrong ones are counted.
        pub passwords: usize => NodeRestart,
        /// Passwords that wait to be checked.
        pub password_queue: usize => Reload,
        /// Threads that compress stored responses.
        pub compress_threads: usize => NodeRestart,
        /// Stored responses that wait to be compressed.
        pub compress_queue: usize => Reload,
        /// Bytes that one response may have once it was decompressed for a client that takes no compressed one.
        pub decompress_bytes: u64 => Reload,
        /// How many times its size one may grow by it.
        pub decompress_ratio: u64 => Reload,
        /// Streams of one HTTP/2 connection.
        pub h2_streams: u32 => Reload,
    }
}

table! {
    "spool":
    /// Files for responses that are not stored and whose clients are slow.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Spool {
        /// The folder; `None` is no file.
        pub path: Option<PathBuf> => NodeRestart,
        /// Bytes of all files.
        pub size: u64 => NodeRestart,
        /// Bytes of one.
        pub max_response: u64 => NodeRestart,
        /// Whether responses with `no-store`, and those to requests with Authorization, may be written.
        pub sensitive: bool => NodeRestart,
    }
}

table! {
    "log":
    /// Logging.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Log {
        /// The access log's form.
        pub access: AccessLog => NodeRestart,
        /// Where it goes; `None` is standard output.
        pub path: Option<PathBuf> => NodeRestart,
        /// Its lines that may wait to be written.
        pub queue: usize => NodeRestart,
        /// Where traces go; `None` exports none.
        pub otlp: Option<Otlp> => NodeRestart,
        /// The least level of the node's own log.
        pub level: Level => Reload,
    }
}

/// Levels of the node's own log, each with those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Level {
    /// What failed.
    Error,
    /// What needs attention.
    Warn,
    /// What happens now and then.
    Info,
    /// What helps to find a fault.
    Debug,
    /// Everything.
    Trace,
}

/// The export of traces, by OTLP over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Otlp {
    /// Where spans are posted.
    pub url: String,
    /// Of a million requests that name no trace, so many begin one.
    pub sample: u32,
    /// Spans that may wait to be sent.
    pub queue: usize,
    /// What the collector may take to answer.
    pub timeout: Duration,
    /// How long a span waits for others to be sent with it.
    pub interval: Duration,
}

/// Form of the access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum AccessLog {
    /// None.
    Off,
    /// One JSON object a line.
    Json,
    /// The combined form of web servers.
    Combined,
}

table! {
    "tls":
    /// TLS on the client side.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Tls {
        /// Where TLS clients connect; the clear listener stays as it is.
        pub listen: SocketAddr => NodeRestart,
        /// Certificates; chosen by SNI, the first is the default.
        pub certificates: Vec<Certificate> => Reload,
        /// How often the files are looked at for change; zero means at reload only.
        pub reload: Duration => Reload,
        /// The port in redirects to https; 443 is left out of them.
        pub public_port: u16 => Reload,
        /// Whether HTTP/3 is spoken, over UDP at the address and port of `listen`. Experimental; only in builds with the
        /// cargo feature `http3`.
        pub http3: bool => NodeRestart,
        /// Where certificates of sites with `tls = "auto"` are ordered; `None` orders none.
        pub acme: Option<Acme> => Reload,
        /// For debugging alone: the file that gets the secrets of all TLS connections with clients, in the
        /// form of NSS, so that recordings of them can be read. An absolute path.
        pub key_log: Option<PathBuf> => Reload,
    }
}

/// A certificate authority that is asked for certificates by ACME (RFC 8555).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acme {
    /// URL of its directory (RFC 8555 §7.1.1), https.
    pub directory: String,
    /// Where the CA may write to.
    pub email: Option<String>,
    /// An account that the CA knows by other means.
    pub external_account: Option<ExternalAccount>,
    /// Authorities that the CA's own https certificate may come from, beside those that browsers trust.
    pub ca: Option<PathBuf>,
    /// The profile of the certificates; `None` leaves it to the CA.
    pub profile: Option<String>,
    /// How control of a name is proved; each try takes the next of them. At least one.
    pub challenges: Vec<AcmeChallenge>,
    /// The directory of account, keys and certificates. An absolute path.
    pub state: PathBuf,
    /// What one order may take.
    pub timeout: Duration,
    /// The wait after a first failure.
    pub retry: Duration,
    /// What control and edges share, so that control orders for all: what travels between them is sealed with
    /// it. `None` where a node orders for itself.
    pub secret: Option<Secret>,
    /// What was sealed with this one before is still read.
    pub old_secret: Option<Secret>,
    /// From one key of session tickets to the next, where they are shared.
    pub ticket_rotation: Duration,
    /// The command that changes DNS records, with its first arguments; `None` proves nothing by DNS.
    pub dns_hook: Option<DnsHook>,
}

/// The command by which a name is proved by DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsHook {
    /// The program, an absolute path, and its first arguments.
    pub command: Vec<String>,
    /// What one call of it may take.
    pub timeout: Duration,
}

/// External account binding (RFC 8555 §7.3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalAccount {
    /// The CA's name for the account.
    pub key_id: String,
    /// The key that proves it, base64url.
    pub hmac_key: Secret,
}

/// How control of a name is proved to a CA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
pub enum AcmeChallenge {
    /// By a TLS handshake at port 443 (RFC 8737).
    #[strum(serialize = "tls-alpn-01")]
    TlsAlpn01,
    /// By a file at port 80 (RFC 8555 §8.3).
    #[strum(serialize = "http-01")]
    Http01,
    /// By a DNS record (RFC 8555 §8.4), which `dns_hook` sets.
    #[strum(serialize = "dns-01")]
    Dns01,
}

/// Where a site's certificates come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum SiteTls {
    /// `[[tls.certificates]]`, if there are any.
    #[default]
    Files,
    /// `[tls.acme]`: ordered and renewed for each of the site's hosts.
    Auto,
}

/// Strict-Transport-Security (RFC 6797).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hsts {
    /// How long browsers shall use https alone, seconds.
    pub max_age: u32,
    /// Whether this holds for subdomains too.
    pub subdomains: bool,
    /// Whether browsers may have it in a list of their own.
    pub preload: bool,
}

/// One certificate with its key, PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Chain, leaf first.
    pub chain: PathBuf,
    /// Private key.
    pub key: PathBuf,
}
