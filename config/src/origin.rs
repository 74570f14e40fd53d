//! Where a site really lives: its origins, in pools.

use crate::{Balance, Certificate, Health, HostHeader, Protocol, Retries, Secret, Timeouts};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use strum::{IntoStaticStr, VariantArray};

/// Origins of a site that can stand in for each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPool {
    /// Its name, one of its own within the site; [`OriginPool::DEFAULT`] of that which `site.origins` makes.
    pub name: String,
    /// Its origins; at least one.
    pub origins: Vec<Origin>,
    /// Which of them is asked first.
    pub balance: Balance,
    /// How it is found out which of them are in health.
    pub health: Health,
    /// Which Host they are asked with.
    pub host_header: HostHeader,
    /// Waits on them.
    pub timeouts: Timeouts,
    /// Further tries of a request before the first byte of an answer went out.
    pub retries: Retries,
    /// How those are spoken to whose URL is https.
    pub tls: OriginTls,
    /// The PROXY protocol that each connection begins with.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// The longest time that the addresses of a name are believed.
    pub resolve: Duration,
    /// How requests are signed, of a private bucket.
    pub s3: Option<S3>,
}

impl OriginPool {
    /// The name of the pool that `site.origins` makes.
    pub const DEFAULT: &str = "default";

    /// What stored responses depend on: who is asked, as whom, and for which objects. Equal for two pools if what was
    /// stored from one may be answered for the other.
    pub fn shaping(&self) -> impl PartialEq + std::fmt::Debug + use<> {
        let origins = self.origins.iter();
        let origins: BTreeSet<(String, bool)> =
            origins.map(|origin| (origin.to_string(), origin.visitors_host)).collect();
        let bucket = self.s3.as_ref().map(|s3| (s3.region.clone(), s3.query.clone()));
        (self.name.clone(), self.host_header, origins, bucket)
    }
}

/// One origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `http` or `https`.
    pub tls: bool,
    /// Host name or address, without brackets; `localhost` behind a socket.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Authority as in the URL, for Host.
    pub authority: String,
    /// The path of a Unix socket, where it listens on one.
    pub socket: Option<PathBuf>,
    /// What is put before the path of each request: empty, or a path that does not end with a slash.
    pub prefix: String,
    /// Its share, where the balance looks at weights; 1 to 1000.
    pub weight: u32,
    /// What it is spoken to in.
    pub protocol: Protocol,
    /// Whether it is asked with the visitor's Host, as the pool's `host_header` says.
    pub visitors_host: bool,
}

/// Its URL.
impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(socket) = &self.socket {
            return write!(f, "unix:{}", socket.display());
        }
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.prefix)
    }
}

/// How TLS is spoken with the origins of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OriginTls {
    /// Authorities that their certificates may come from, beside those that browsers trust.
    pub ca: Option<PathBuf>,
    /// The certificate that is shown to them.
    pub certificate: Option<Certificate>,
    /// The name that is asked for (SNI) and that their certificates must have; `None` is the URL's host.
    pub server_name: Option<String>,
    /// Whether any certificate will do.
    pub insecure: bool,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ProxyProtocol {
    /// The line of text.
    V1,
    /// The binary form.
    V2,
}

/// How requests for a private bucket are signed: AWS Signature Version 4, for the service `s3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3 {
    /// The bucket's region.
    pub region: String,
    /// The id of the key.
    pub access_key: String,
    /// The key.
    pub secret_key: Secret,
    /// The token of temporary credentials.
    pub session_token: Option<Secret>,
    /// The query parameters that reach the bucket, as they are named in a URL when nothing is escaped.
    pub query: Vec<String>,
}
