//! `weir sign`: a URL that a visitor may fetch until it expires.

use super::check::mistaken;
use super::{Exit, complain, print};
use crate::settings::{Part, Settings};
use clap::Args;
use http::Uri;
use ipnet::IpNet;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use weir_config::units::{DURATION_FORM, parse_duration};
use weir_config::{Config, Site};
use weir_rules::access::signed::{Message, NAME, SignatureError, SigningKey, Token, prefix};
use weir_rules::target::spelled_url;

/// Sign a URL for a site whose rules have signed = true
///
/// Prints the URL with the signature in the parameter weir-token, or a cookie with it. The keys come from
/// [[site.signing_key]] in the configuration; the first one signs.
#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// The absolute URL
    url: String,
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// How long the signature is valid, such as 10m or 12h
    #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = lifetime)]
    lifetime: Duration,
    /// Sign all URLs whose path begins with the first N segments of this one (0 is every path)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=64))]
    segments: Option<u8>,
    /// Only for clients of this network, such as 192.0.2.0/24
    #[arg(long, value_name = "NETWORK", value_parser = network)]
    network: Option<IpNet>,
    /// The request's method; GET stands for HEAD too
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    method: String,
    /// The id of the key
    #[arg(long, value_name = "ID")]
    key: Option<String>,
    /// Print a cookie, as the value of a Set-Cookie header, and not a URL
    #[arg(long)]
    cookie: bool,
}

impl Sign {
    pub(super) fn run(self) -> Exit {
        let settings =
            Settings { part: Part::Any, file: Some(self.config.clone()), ..Settings::default() };
        let config = match settings.load() {
            Ok(config) => config,
            Err(mistakes) => return mistaken(&self.config, &mistakes),
        };
        match self.signed(&config) {
            Ok(text) => {
                print(&format!("{text}\n"));
                Exit::Done
            }
            Err(reason) => complain(&reason, Exit::Usage),
        }
    }

    /// The URL or the cookie.
    fn signed(&self, config: &Config) -> Result<String, String> {
        let url = spelled_url(&self.url);
        let parts = UrlParts::of(&url)?;
        let site = config.site_for(&parts.host);
        let site = site.ok_or_else(|| format!("no site has the host {}", parts.host))?;
        let key = self.signing_key(site)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut token = Token::unsigned(key.id(), (now + self.lifetime).as_secs());
        token.depth = self.segments;
        token.network = self.network;
        let message = Message {
            site: &site.id,
            method: &self.method,
            host: &parts.host,
            path: &parts.path,
            query: parts.query.as_deref(),
        };
        let token = message.sign(&key, token).map_err(|error| match error {
            SignatureError::Path => format!(
                "{}: a path with dot segments, empty segments, path parameters or encoded separators \
                 cannot be signed by segments",
                parts.path
            ),
            _ => format!("{} does not have so many segments before its last", parts.path),
        })?;
        if self.cookie {
            let age = self.lifetime.as_secs();
            let path = self.segments.and_then(|segments| prefix(&parts.path, segments));
            let path = path.unwrap_or(&parts.path);
            return Ok(format!("{NAME}={token}; Path={path}; Max-Age={age}; Secure; HttpOnly"));
        }
        let separator = if parts.query.is_some() { '&' } else { '?' };
        Ok(format!("{url}{separator}{NAME}={token}"))
    }

    fn signing_key(&self, site: &Site) -> Result<SigningKey, String> {
        let ids: Vec<&str> = site.signing_keys.iter().map(|key| key.id.as_str()).collect();
        let wanted = |id: &str| self.key.as_deref().is_none_or(|wanted| wanted == id);
        let key = site.signing_keys.iter().find(|key| wanted(&key.id));
        let key = key.ok_or_else(|| match (&self.key, ids.is_empty()) {
            (_, true) => format!("site {:?} has no [[site.signing_key]]", site.id),
            (id, false) => {
                let id = id.as_deref().unwrap_or_default();
                format!("site {:?} has no key {id:?}; it has {}", site.id, ids.join(", "))
            }
        })?;
        Ok(SigningKey::new(&key.id, key.secret.reveal().as_bytes()))
    }
}

/// The parts of a URL that are signed.
struct UrlParts {
    host: String,
    path: String,
    query: Option<String>,
}

impl UrlParts {
    fn of(url: &str) -> Result<Self, String> {
        let accepted = "accepted: an absolute http or https URL without a fragment";
        let wrong = |reason: &str| format!("{url:?}: {reason}; {accepted}");
        if url.contains('#') {
            return Err(wrong("has a fragment"));
        }
        let uri: Uri = url.parse().map_err(|_| wrong("not a URL"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(wrong("no http or https"));
        }
        let host = uri.host().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
        if host.is_empty() || uri.authority().is_some_and(|it| it.as_str().contains('@')) {
            return Err(wrong("not a host, perhaps with a port"));
        }
        Ok(Self { host, path: uri.path().to_owned(), query: uri.query().map(str::to_owned) })
    }
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let lifetime =
        parse_duration(text).map_err(|reason| format!("{reason}; accepted: {DURATION_FORM}"))?;
    match lifetime.as_secs() {
        0 => Err("shorter than a second".to_owned()),
        _ => Ok(lifetime),
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    let network: IpNet = text.parse().map_err(|_| {
        "not a network; accepted: an address and a prefix length, 192.0.2.0/24".to_owned()
    })?;
    match network.trunc() == network {
        true => Ok(network),
        false => Err(format!("has host bits set; the network is {}", network.trunc())),
    }
}
