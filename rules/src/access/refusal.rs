//! Why a request is refused.

use super::signed::SignatureError;
use crate::site_rules::Setting;
use http::StatusCode;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its client is in one of the networks of `deny`.
    Denied,
    /// Its client is in none of the networks of `allow`.
    NotAllowed,
    /// Another site's page links to it, or it names no page where one is required.
    Referer,
    /// It has no signature, or none that holds.
    Signature(SignatureError),
    /// More requests than the rate; seconds until one more.
    Rate(u32),
    /// No credentials, or wrong ones, for this realm.
    Credentials {
        /// The realm (RFC 7235 §2.2).
        realm: Box<str>,
        /// Whether the request has an Authorization field.
        shown: bool,
    },
    /// Too many wrong credentials of this client prefix; seconds until one more attempt.
    Attempts(u32),
    /// Too many credentials wait to be checked.
    Busy,
}

impl Refusal {
    /// The setting that refuses it.
    pub fn setting(&self) -> Setting {
        match self {
            Self::Denied => Setting::Deny,
            Self::NotAllowed => Setting::Allow,
            Self::Referer => Setting::Referer,
            Self::Signature(_) => Setting::Signed,
            Self::Rate(_) => Setting::Rate,
            Self::Credentials { .. } | Self::Attempts(_) | Self::Busy => Setting::BasicAuth,
        }
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Denied | Self::NotAllowed | Self::Referer | Self::Signature(_) => {
                StatusCode::FORBIDDEN
            }
            Self::Credentials { .. } => StatusCode::UNAUTHORIZED,
            Self::Rate(_) | Self::Attempts(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// A stable word for Cache-Status detail and the log.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::NotAllowed => "not-allowed",
            Self::Referer => "referer",
            Self::Signature(error) => error.word(),
            Self::Rate(_) => "rate",
            Self::Credentials { shown: false, .. } => "no-credentials",
            Self::Credentials { shown: true, .. } => "wrong-credentials",
            Self::Attempts(_) => "wrong-credentials-rate",
            Self::Busy => "credentials-queue",
        }
    }

    /// One sentence for the client.
    pub fn message(&self) -> &'static str {
        match self {
            Self::Denied | Self::NotAllowed => "Your address may not request this.",
            Self::Referer => "Pages of other sites may not include this.",
            Self::Signature(error) => error.message(),
            Self::Rate(_) => "Too many requests.",
            Self::Credentials { .. } => "A user name and a password are required.",
            Self::Attempts(_) => "Too many wrong passwords from your address.",
            Self::Busy => "Too many passwords are being checked.",
        }
    }

    /// Seconds after which the request may be sent again, for Retry-After.
    pub fn retry_after(&self) -> Option<u32> {
        match self {
            Self::Rate(seconds) | Self::Attempts(seconds) => Some(*seconds),
            Self::Busy => Some(1),
            _ => None,
        }
    }

    /// The challenge of a 401, for WWW-Authenticate (RFC 7617 §2, §2.1).
    pub fn challenge(&self) -> Option<String> {
        let Self::Credentials { realm, .. } = self else { return None };
        Some(format!("Basic realm=\"{realm}\", charset=\"UTF-8\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_a_status_and_says_when_to_come_again() {
        let credentials = |shown| Refusal::Credentials { realm: "Staging".into(), shown };
        for (refusal, status, word, retry_after) in [
            (Refusal::Denied, 403, "denied", None),
            (Refusal::NotAllowed, 403, "not-allowed", None),
            (Refusal::Referer, 403, "referer", None),
            (Refusal::Signature(SignatureError::Missing), 403, "signature-missing", None),
            (Refusal::Rate(7), 429, "rate", Some(7)),
            (credentials(false), 401, "no-credentials", None),
            (credentials(true), 401, "wrong-credentials", None),
            (Refusal::Attempts(3), 429, "wrong-credentials-rate", Some(3)),
            (Refusal::Busy, 503, "credentials-queue", Some(1)),
        ] {
            assert_eq!(refusal.status().as_u16(), status, "{word}");
            assert_eq!((refusal.word(), refusal.retry_after()), (word, retry_after));
            let challenge = refusal.challenge();
            assert_eq!(challenge.is_some(), status == 401, "{word}: {challenge:?}");
        }
        let challenge = credentials(false).challenge();
        assert_eq!(challenge.as_deref(), Some("Basic realm=\"Staging\", charset=\"UTF-8\""));
    }
}
