//! The answers to a CA that looks whether a host leads here: of running orders, each for its host, and no longer
//! than the order runs.

use arc_swap::ArcSwap;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use ring::digest::{SHA256, digest};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// What the path of an HTTP-01 challenge begins with; the token follows (RFC 8555 §8.3).
pub const CHALLENGE_PATH: &str = "/.well-known/acme-challenge/";

/// What proves to a CA that a host leads here, as control tells it to edges.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// How.
    pub way: Way,
    /// The token.
    pub token: String,
    /// The key authorization (RFC 8555 §8.1).
    pub key_authorization: String,
}

/// How the CA looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// By HTTP (RFC 8555 §8.3).
    #[serde(rename = "http-01")]
    Http,
    /// By a TLS handshake (RFC 8737).
    #[serde(rename = "tls-alpn-01")]
    Tls,
}

/// The answer to a challenge.
#[derive(Clone, Debug)]
enum Answer {
    /// HTTP-01: the key authorization at the path of the token.
    Http(Proof),
    /// TLS-ALPN-01: this certificate.
    Tls(Arc<CertifiedKey>),
}

/// The challenges of running orders, by host.
#[derive(Debug, Default)]
pub(crate) struct Challenges(ArcSwap<HashMap<String, Answer>>);

impl Challenges {
    /// Answers for this host from now on.
    ///
    /// # Errors
    /// The certificate of the answer cannot be made.
    pub(crate) fn answer(&self, host: &str, proof: &Proof) -> Result<(), String> {
        let answer = match proof.way {
            Way::Http => Answer::Http(proof.clone()),
            Way::Tls => {
                let digest = digest(&SHA256, proof.key_authorization.as_bytes());
                Answer::Tls(tls_answer(host, digest.as_ref())?)
            }
        };
        self.0.rcu(|answers| {
            let mut answers = HashMap::clone(answers);
            answers.insert(host.to_owned(), answer.clone());
            answers
        });
        Ok(())
    }

    /// Answers for this host no more.
    pub(crate) fn end(&self, host: &str) {
        self.retain(|answered| answered != host);
    }

    /// Answers for these hosts alone.
    pub(crate) fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.0.rcu(|answers| {
            let mut answers = HashMap::clone(answers);
            answers.retain(|host, _| keep(host));
            answers
        });
    }

    /// The key authorization for a token at a host (lower case).
    pub(crate) fn http(&self, host: &str, asked: &str) -> Option<String> {
        match self.0.load().get(host)? {
            Answer::Http(proof) if proof.token == asked => Some(proof.key_authorization.clone()),
            _ => None,
        }
    }

    /// The certificate for a host (lower case).
    pub(crate) fn tls(&self, host: &str) -> Option<Arc<CertifiedKey>> {
        match self.0.load().get(host)? {
            Answer::Tls(key) => Some(key.clone()),
            Answer::Http(_) => None,
        }
    }
}

/// The certificate by which TLS-ALPN-01 is answered: for the host alone, with the digest of the key
/// authorization (RFC 8737 §3).
///
/// # Errors
/// It cannot be made.
fn tls_answer(host: &str, digest: &[u8]) -> Result<Arc<CertifiedKey>, String> {
    let failed = |error: rcgen::Error| error.to_string();
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::new([host.to_owned()]).map_err(failed)?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key).map_err(failed)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    // Not checked against each other: webpki reads no certificate with this critical extension.
    let key = default_provider().key_provider.load_private_key(key);
    let key = key.map_err(|error| error.to_string())?;
    Ok(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn proof(way: Way) -> Proof {
        Proof { way, token: "token".into(), key_authorization: "token.thumb".into() }
    }

    #[test]
    fn only_the_token_of_the_running_order_is_answered_for_its_own_host() {
        let challenges = Challenges::default();
        assert_eq!(challenges.http("a.test", "token"), None);
        challenges.answer("a.test", &proof(Way::Http)).unwrap();
        assert_eq!(challenges.http("a.test", "token").as_deref(), Some("token.thumb"));
        assert_eq!(challenges.http("b.test", "token"), None);
        assert_eq!(challenges.http("a.test", "other"), None);
        assert!(challenges.tls("a.test").is_none());
        challenges.end("b.test");
        assert!(challenges.http("a.test", "token").is_some());
        challenges.end("a.test");
        assert_eq!(challenges.http("a.test", "token"), None);
    }

    #[test]
    fn a_certificate_of_a_challenge_is_for_its_own_host() {
        let challenges = Challenges::default();
        challenges.answer("a.test", &proof(Way::Tls)).unwrap();
        assert!(challenges.tls("a.test").is_some() && challenges.tls("b.test").is_none());
        assert_eq!(challenges.http("a.test", "token"), None);
        challenges.retain(|host| host == "b.test");
        assert!(challenges.tls("a.test").is_none());
    }
}
