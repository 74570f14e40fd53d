//! One order: a certificate for one host (RFC 8555 §7.4).

use crate::backoff::Failure;
use crate::ca::{CaClient, Said};
use crate::challenge::{Proof, Way};
use crate::hook::{Record, Records};
use crate::stage::Stage;
use http::StatusCode;
use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, Identifier,
    NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use std::time::Duration;
use weir_config::{Acme, AcmeChallenge};

/// What is ordered.
pub(crate) struct Wish<'a> {
    /// The host.
    pub(crate) host: &'a str,
    /// Orders for it that failed before: each proves the host in the next way.
    pub(crate) failures: u32,
    /// The certificate that the new one replaces, where the CA wants to know (RFC 9773 §5).
    pub(crate) replaces: Option<CertificateIdentifier<'static>>,
}

/// Why there is no certificate.
#[derive(Debug)]
pub(crate) struct Unissued {
    /// What follows from it.
    pub(crate) failure: Failure,
    /// In words.
    pub(crate) error: String,
    /// Whether the CA does not know the account any more.
    pub(crate) unknown_account: bool,
}

/// Orders a certificate: its private key and its chain in PEM, the leaf first.
///
/// # Errors
/// Why there is none.
pub(crate) async fn order(
    account: &Account,
    acme: &Acme,
    (stage, records): (&dyn Stage, &Records),
    wish: Wish<'_>,
) -> Result<String, Error> {
    let identifiers = [Identifier::Dns(wish.host.to_owned())];
    let mut new = NewOrder::new(&identifiers);
    if let Some(profile) = &acme.profile {
        if !account.profiles().any(|offered| offered.name == profile) {
            let offered: Vec<_> = account.profiles().map(|offered| offered.name).collect();
            let offered = if offered.is_empty() { "none".to_owned() } else { offered.join(", ") };
            let error = format!("tls.acme.profile = {profile:?}: the CA offers {offered}");
            return Err(Error::Other(error.into()));
        }
        new = new.profile(profile);
    }
    if let Some(replaces) = wish.replaces.clone() {
        new = new.replaces(replaces);
    }
    let mut order = account.new_order(&new).await?;
    let polls = RetryPolicy::new()
        .initial_delay(Duration::from_millis(250))
        .backoff(1.5)
        .timeout(acme.timeout);
    if order.state().status == OrderStatus::Pending {
        prove(&mut order, acme, (stage, records), &wish, &polls).await?;
    }
    let key = KeyPair::generate().map_err(unmade)?;
    let mut params = CertificateParams::new([wish.host.to_owned()]).map_err(unmade)?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key).map_err(unmade)?;
    order.finalize_csr(request.der()).await?;
    let chain = order.poll_certificate(&polls).await?;
    Ok(format!("{}{chain}", key.serialize_pem()))
}

/// Proves to the CA that the host leads here, and waits until it has looked.
async fn prove(
    order: &mut Order,
    acme: &Acme,
    (stage, records): (&dyn Stage, &Records),
    wish: &Wish<'_>,
    polls: &RetryPolicy,
) -> Result<(), Error> {
    let host = wish.host;
    let mut authorizations = order.authorizations();
    let Some(authorization) = authorizations.next().await else {
        return Err(Error::Str("an authorization"));
    };
    let mut authorization = authorization?;
    match authorization.status {
        AuthorizationStatus::Valid => return Ok(()),
        AuthorizationStatus::Pending => {}
        status => return Err(Error::Other(format!("the authorization is {status:?}").into())),
    }
    let offered = |wanted: AcmeChallenge| {
        let wanted = kind(wanted);
        authorization.challenges.iter().any(|challenge| challenge.r#type == wanted)
    };
    let ways: Vec<_> = acme.challenges.iter().copied().filter(|way| offered(*way)).collect();
    let Some(way) = ways.get(wish.failures as usize % ways.len().max(1)).copied() else {
        return Err(Error::Str("a challenge among tls.acme.challenges"));
    };
    let Some(mut challenge) = authorization.challenge(kind(way)) else {
        return Err(Error::Str("the challenge"));
    };
    let key_authorization = challenge.key_authorization();
    let by = match way {
        AcmeChallenge::Http01 => Some(Way::Http),
        AcmeChallenge::TlsAlpn01 => Some(Way::Tls),
        AcmeChallenge::Dns01 => None,
    };
    let unproved = |error: String| Error::Other(error.into());
    let _answering = match (by, &acme.dns_hook) {
        (Some(way), _) => {
            let key_authorization = key_authorization.as_str().to_owned();
            let proof = Proof { way, token: challenge.token.clone(), key_authorization };
            // Before the wait, which may be given up.
            let answering = Answering { stage, host };
            stage.answer(host, &proof).await.map_err(unproved)?;
            Some(answering)
        }
        (None, Some(hook)) => {
            let record = Record { host: host.to_owned(), value: key_authorization.dns_value() };
            records.set(hook, record).await.map_err(unproved)?;
            None
        }
        (None, None) => return Err(Error::Str("tls.acme.dns_hook")),
    };
    challenge.set_ready().await?;
    match order.poll_ready(polls).await {
        Ok(OrderStatus::Ready) => Ok(()),
        // The authorization says more of it than the order.
        _ if order.state().status == OrderStatus::Invalid => Err(refusal(order, way).await),
        Ok(status) => Err(Error::Other(format!("the order is {status:?}").into())),
        Err(error) => Err(error),
    }
}

/// Answers for a host until it is dropped.
struct Answering<'a> {
    stage: &'a dyn Stage,
    host: &'a str,
}

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        self.stage.end(self.host);
    }
}

/// What the CA found wrong when it looked.
async fn refusal(order: &mut Order, way: AcmeChallenge) -> Error {
    let way: &str = way.into();
    let mut authorizations = order.authorizations();
    let problem = match authorizations.next().await {
        Some(Ok(mut authorization)) => match authorization.refresh().await {
            Ok(state) => {
                state.challenges.iter().find_map(|challenge| challenge.error.as_ref()).cloned()
            }
            Err(_) => None,
        },
        _ => None,
    };
    let why =
        problem.and_then(|problem| problem.detail).unwrap_or_else(|| "no reason given".into());
    Error::Other(format!("{way} failed: {why}").into())
}

fn kind(challenge: AcmeChallenge) -> ChallengeType {
    match challenge {
        AcmeChallenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
        AcmeChallenge::Http01 => ChallengeType::Http01,
        AcmeChallenge::Dns01 => ChallengeType::Dns01,
    }
}

fn unmade(error: rcgen::Error) -> Error {
    Error::Other(error.to_string().into())
}

impl Unissued {
    /// What follows from an error of an order, after the last answer of the CA.
    pub(crate) fn of(error: &Error, said: Said) -> Self {
        let problem = match error {
            Error::Api(problem) => problem.r#type.as_deref(),
            _ => None,
        };
        let acme_error = problem.and_then(|kind| kind.strip_prefix("urn:ietf:params:acme:error:"));
        let Said { status, retry_after } = said;
        let failure = match (acme_error, status) {
            (Some("rateLimited"), _) | (_, Some(StatusCode::TOO_MANY_REQUESTS)) => {
                Failure::Limited { retry_after }
            }
            (_, None) => Failure::Unavailable { retry_after: None },
            (_, Some(status)) if status.is_server_error() => Failure::Unavailable { retry_after },
            // Nothing that an ACME server says.
            (None, Some(status)) if !status.is_success() => Failure::Unavailable { retry_after },
            _ => Failure::Refused,
        };
        let error = match (error, status) {
            (Error::Api(problem), _) => problem.to_string().replacen("API error: ", "", 1),
            // A body that is no problem document.
            (Error::Json(_), Some(status)) if !status.is_success() => {
                format!("the CA answered {status}")
            }
            (Error::Timeout(_), _) => "the CA did not decide in time (tls.acme.timeout)".to_owned(),
            _ => error.to_string(),
        };
        Self { failure, error, unknown_account: acme_error == Some("accountDoesNotExist") }
    }

    /// The order took longer than it may: the CA owes an answer, or has yet to decide on the host.
    fn late(said: Said) -> Self {
        match said.status {
            None => Self {
                failure: Failure::Unavailable { retry_after: None },
                error: "the CA did not answer in time (tls.acme.timeout)".to_owned(),
                unknown_account: false,
            },
            Some(_) => Self::of(&Error::Timeout(None), said),
        }
    }
}

impl CaClient {
    /// What follows from an error after this client's last answer.
    pub(crate) fn unissued(&self, error: &Error) -> Unissued {
        Unissued::of(error, self.said())
    }

    /// The same where the order took longer than it may.
    pub(crate) fn late(&self) -> Unissued {
        Unissued::late(self.said())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn api(kind: &str) -> Error {
        let text = format!(r#"{{"type": "urn:ietf:params:acme:error:{kind}", "detail": "why"}}"#);
        Error::Api(serde_json::from_str(&text).unwrap())
    }

    fn said(status: u16, retry_after: Option<u64>) -> Said {
        Said { status: StatusCode::from_u16(status).ok(), retry_after }
    }

    #[test]
    fn what_the_ca_says_decides_what_follows() {
        let json = || Error::Json(serde_json::from_str::<u8>("x").unwrap_err());
        let limited = |retry_after| Failure::Limited { retry_after };
        let unavailable = |retry_after| Failure::Unavailable { retry_after };
        for (error, said, failure) in [
            (api("rateLimited"), said(429, Some(5)), limited(Some(5))),
            (api("rateLimited"), said(403, None), limited(None)),
            (json(), said(429, None), limited(None)),
            (json(), said(503, Some(9)), unavailable(Some(9))),
            (json(), said(404, None), unavailable(None)),
            (api("serverInternal"), said(500, None), unavailable(None)),
            (Error::Other("refused".into()), Said::default(), unavailable(None)),
            (api("rejectedIdentifier"), said(400, None), Failure::Refused),
            (Error::Other("http-01 failed".into()), said(200, None), Failure::Refused),
            (Error::Timeout(None), said(200, Some(3)), Failure::Refused),
        ] {
            assert_eq!(Unissued::of(&error, said).failure, failure, "{error}");
        }
        assert_eq!(Unissued::late(Said::default()).failure, unavailable(None));
        assert_eq!(Unissued::late(said(200, None)).failure, Failure::Refused);
        assert!(Unissued::of(&api("accountDoesNotExist"), said(400, None)).unknown_account);
        let told = Unissued::of(&api("rejectedIdentifier"), said(400, None)).error;
        assert_eq!(told, "why (urn:ietf:params:acme:error:rejectedIdentifier)");
    }
}
