//! Sites with `tls = "auto"`: challenges of CAs are answered, and whoever comes in the clear is sent to https.

use super::facts::{RequestFacts, Scheme};
use super::sender::Sender;
use crate::body::ResponseBody;
use crate::clock::wall;
use crate::respond;
use crate::server::Intake;
use crate::state::{Live, NodeState, Site};
use http::{Method, Request, Response};
use weir_acme::CHALLENGE_PATH;
use weir_config::SiteTls;

/// Detail of the answer to a challenge.
const CHALLENGE: &str = "acme-challenge";

/// Detail of a redirect to https.
const TO_HTTPS: &str = "to-https";

/// Whether a path is that of a challenge, be it the node's own or the origin's.
pub(super) fn is_challenge(site: &Site, path: &str) -> bool {
    site.config.tls == SiteTls::Auto && path.starts_with(CHALLENGE_PATH)
}

/// A request, as far as it is understood.
pub(super) struct Asked<'a, B> {
    pub(super) live: &'a Live,
    pub(super) site: &'a Site,
    pub(super) request: &'a Request<B>,
    pub(super) intake: &'a Intake<'a>,
    pub(super) facts: &'a RequestFacts,
    /// [`is_challenge`] of its path.
    pub(super) is_challenge: bool,
}

/// The node's own answer to a request for a site with `tls = "auto"`, if it has one, with the detail of
/// Cache-Status: to the challenge of a running order, or to a client that is to come by https. Nobody is sent there
/// before there is a certificate for the host.
pub(super) fn answer<B>(
    state: &NodeState,
    asked: &Asked<'_, B>,
    sender: &Sender,
) -> Option<(Response<ResponseBody>, &'static str)> {
    let Asked { live, site, request, intake, facts, is_challenge } = *asked;
    if site.config.tls != SiteTls::Auto {
        return None;
    }
    let host = intake.host_name();
    if is_challenge {
        let asks = matches!(*request.method(), Method::GET | Method::HEAD);
        let proof = state.served.answer(host, intake.path).filter(|_| asks)?;
        return Some((respond::challenge(proof, wall()), CHALLENGE));
    }
    let is_own = sender.is_node() || sender.warms.is_some() || request.method().as_str() == "PURGE";
    if facts.scheme == Scheme::Https || is_own || !state.served.has(host) {
        return None;
    }
    let port = live.config.tls.as_ref().map_or(443, |tls| tls.public_port);
    let location = location(host, port, intake.path, intake.query);
    Some((respond::to_https(&location, wall()), TO_HTTPS))
}

/// The same URL by https.
fn location(host: &str, port: u16, path: &str, query: Option<&str>) -> String {
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("https://{host}{port}{path}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_leads_to_the_same_url() {
        assert_eq!(location("a.test", 443, "/b", Some("c=%20d")), "https://a.test/b?c=%20d");
        assert_eq!(location("a.test", 8443, "//b", None), "https://a.test:8443//b");
        assert_eq!(location("a.test", 443, "/", Some("")), "https://a.test/?");
    }
}
