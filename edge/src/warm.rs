//! Fetching URLs ahead of those who will ask for them. The node asks its own listener, so that
//! whatever comes of any client's request comes of this one too: it joins a running fill, it is
//! stored, it goes over the parents, it is counted and logged.

mod came;

use crate::own;
use crate::state::NodeState;
use came::came_of;
use http::{HeaderValue, Uri, header};
use reqwest::redirect::Policy;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use weir_protocol::warm::{AT_ONCE, Fetched, LONGEST};
use weir_rules::tier::Tier;

/// As browsers ask, so that what is stored is what they select where a response varies by it.
const ENCODINGS: HeaderValue = HeaderValue::from_static("gzip, deflate, br, zstd");

const AGENT: &str = concat!("weir-warm/", env!("CARGO_PKG_VERSION"));

/// Who fetches.
pub(crate) struct Warmer {
    state: Arc<NodeState>,
    listen: SocketAddr,
    client: reqwest::Client,
}

impl Warmer {
    /// One for a node that listens there.
    ///
    /// # Errors
    /// There is no client; in words.
    pub(crate) fn new(state: Arc<NodeState>, listen: SocketAddr) -> Result<Self, String> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .tls_backend_preconfigured(crate::upstream::tls())
            .http1_only()
            .pool_max_idle_per_host(AT_ONCE)
            .user_agent(AGENT)
            .timeout(LONGEST)
            .build()
            .map_err(|error| format!("no HTTP client: {error}"))?;
        Ok(Self { state, listen: reachable(listen), client })
    }

    /// Fetches each of `urls` once, `rate` a second at most; for tier `parent` they are asked of
    /// the parents, and nothing is stored here. What came of each, in the same order.
    ///
    /// # Errors
    /// None can be fetched so; in words.
    pub(crate) async fn warm(
        self: Arc<Self>,
        urls: Vec<String>,
        rate: u32,
        tier: Tier,
    ) -> Result<Vec<Fetched>, String> {
        if tier == Tier::Parent && self.state.live.load().parents.upstream().is_none() {
            return Err("this node has no parents".to_owned());
        }
        let begun = tokio::time::Instant::now();
        let due = |n: usize| begun + Duration::from_secs_f64(n as f64 / f64::from(rate.max(1)));
        let mut fetched: Vec<Option<Fetched>> = urls.iter().map(|_| None).collect();
        let mut running = JoinSet::new();
        let count = urls.len();
        for (n, url) in urls.into_iter().enumerate() {
            tokio::time::sleep_until(due(n)).await;
            if running.len() >= AT_ONCE
                && let Some(Ok((n, one))) = running.join_next().await
            {
                fetched[n] = Some(one);
            }
            let warmer = Arc::clone(&self);
            running.spawn(async move { (n, warmer.fetch(url, tier).await) });
        }
        while let Some(joined) = running.join_next().await {
            if let Ok((n, one)) = joined {
                fetched[n] = Some(one);
            }
        }
        // So that who comes with more at once keeps the rate.
        tokio::time::sleep_until(due(count)).await;
        let fetched: Option<Vec<_>> = fetched.into_iter().collect();
        fetched.ok_or_else(|| "the node failed to fetch them".to_owned())
    }

    async fn fetch(&self, url: String, tier: Tier) -> Fetched {
        let begun = Instant::now();
        let mut fetched = match self.ask(&url, tier).await {
            Ok(fetched) => fetched,
            Err(error) => Fetched { error: Some(error), ..Fetched::default() },
        };
        fetched.ms = (begun.elapsed().as_secs_f64() * 1e6).round() / 1e3;
        Fetched { url, ..fetched }
    }

    /// Asks this node for one, and reads all of it.
    async fn ask(&self, url: &str, tier: Tier) -> Result<Fetched, String> {
        let parts = Parts::of(url)?;
        let own = self.state.own.running(tier);
        let request = self
            .client
            .get(format!("http://{}{}", self.listen, parts.target))
            .header(header::HOST, parts.host)
            .header("x-forwarded-proto", parts.scheme)
            .header(header::ACCEPT_ENCODING, ENCODINGS)
            .header(own::FIELD, own.shown());
        let mut response = request.send().await.map_err(|error| said(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        while response.chunk().await.map_err(|error| said(&error))?.is_some() {}
        drop(own);
        Ok(came_of(status, &headers, tier))
    }
}

/// Where a listener that is bound to all addresses is reached from here.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        bound => bound,
    };
    SocketAddr::new(ip, listen.port())
}

/// An absolute URL, as this node is asked for it.
#[derive(Debug, PartialEq, Eq)]
struct Parts {
    scheme: &'static str,
    host: String,
    target: String,
}

impl Parts {
    fn of(url: &str) -> Result<Self, String> {
        let uri: Uri = weir_rules::target::spelled_url(url)
            .parse()
            .map_err(|error| format!("no URL: {error}"))?;
        let scheme = match uri.scheme_str() {
            Some("http") => "http",
            Some("https") => "https",
            _ => return Err("neither an http nor an https URL".to_owned()),
        };
        let host = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
        if host.is_empty() || host.contains('@') {
            return Err("not a URL with a host, and without a user's name".to_owned());
        }
        let target = uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        Ok(Self { scheme, host: host.to_owned(), target })
    }
}

/// What went wrong, without the address of this node.
fn said(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("not complete within {} s", LONGEST.as_secs());
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_asked_of_this_node_by_its_host_scheme_and_target() {
        let parts = Parts::of("https://shop.example:8443/a?b").unwrap();
        assert_eq!((parts.scheme, &*parts.host), ("https", "shop.example:8443"));
        assert_eq!(parts.target, "/a?b");
        assert_eq!(Parts::of("http://shop.example").unwrap().target, "/");
        assert_eq!(Parts::of("http://h/é?q={\"a\"}").unwrap().target, "/%C3%A9?q=%7B%22a%22%7D");
        for wrong in ["/a", "ftp://h/", "http://u@h/", "http://", "h", "http://h /"] {
            assert!(Parts::of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_listener_on_all_addresses_is_reached_on_this_machine() {
        for (bound, reached) in [
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:80", "[::1]:80"),
            ("192.0.2.1:80", "192.0.2.1:80"),
        ] {
            assert_eq!(reachable(bound.parse().unwrap()), reached.parse().unwrap());
        }
    }
}
