//! The HTTP client that a CA is asked with.

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use reqwest::redirect::Policy;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use weir_rules::time::Time;

/// Bytes of an answer that are read.
const LONGEST_ANSWER: usize = 1 << 20;

/// What the last answer of a CA said beside its body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// Its status; `None` if there was no answer.
    pub(crate) status: Option<StatusCode>,
    /// Retry-After, milliseconds from then.
    pub(crate) retry_after: Option<u64>,
}

/// Asks a CA.
#[derive(Clone, Debug)]
pub(crate) struct CaClient {
    client: reqwest::Client,
    said: Arc<Mutex<Said>>,
}

impl CaClient {
    /// A client that holds the CA's certificate against what `trust` says, and waits for `patience` for each
    /// answer.
    ///
    /// # Errors
    /// The client cannot be made.
    pub(crate) fn new(trust: rustls::ClientConfig, patience: Duration) -> Result<Self, String> {
        // Proxies of the environment are for programs of users; RFC 8555 §6.1 knows no redirects.
        let client = reqwest::Client::builder()
            .no_proxy()
            .https_only(true)
            .redirect(Policy::none())
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
            .timeout(patience)
            .tls_backend_preconfigured(trust)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { client, said: Arc::default() })
    }

    /// What the last answer said.
    pub(crate) fn said(&self) -> Said {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpClient for CaClient {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let Self { client, said } = self.clone();
        let say = move |what| *said.lock().unwrap_or_else(PoisonError::into_inner) = what;
        say(Said::default());
        Box::pin(async move {
            let failed = |error: String| Error::Other(error.into());
            let (parts, body) = request.into_parts();
            let Ok(body) = body.collect().await;
            let body = body.to_bytes();
            let mut asked = client.request(parts.method, parts.uri.to_string());
            for name in [header::CONTENT_TYPE, header::ACCEPT] {
                if let Some(value) = parts.headers.get(&name) {
                    asked = asked.header(name, value);
                }
            }
            let answer =
                asked.body(body).send().await.map_err(|error| failed(innermost(&error)))?;
            let now = std::time::SystemTime::now().into();
            say(Said {
                status: Some(answer.status()),
                retry_after: retry_after(answer.headers(), now),
            });
            let mut answer = answer;
            let mut head = http::Response::new(());
            *head.status_mut() = answer.status();
            *head.headers_mut() = std::mem::take(answer.headers_mut());
            let mut text = Vec::new();
            while let Some(part) =
                answer.chunk().await.map_err(|error| failed(innermost(&error)))?
            {
                if text.len() + part.len() > LONGEST_ANSWER {
                    return Err(failed(format!("an answer of more than {LONGEST_ANSWER} bytes")));
                }
                text.extend_from_slice(&part);
            }
            Ok(BytesResponse { parts: head.into_parts().0, body: Box::new(Bytes::from(text)) })
        })
    }
}

/// What went wrong, without what it went wrong within: that is the URL, again and again.
fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// Retry-After (RFC 9110 §10.2.3) as milliseconds from `now`.
fn retry_after(headers: &HeaderMap, now: Time) -> Option<u64> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse::<u64>() {
        Ok(seconds) => Some(seconds.saturating_mul(1000)),
        Err(_) => Some(Time::from_http_date(text)?.millis_since(now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = Time::from_secs(784_111_777);
        let of = |text: &'static str| {
            let value = HeaderValue::from_static(text);
            retry_after(&HeaderMap::from_iter([(header::RETRY_AFTER, value)]), now)
        };
        assert_eq!(of("120"), Some(120_000));
        assert_eq!(of("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60_000));
        assert_eq!(of("Sun, 06 Nov 1994 08:40:37 GMT"), Some(0));
        assert_eq!(of("99999999999999999999"), None);
        assert_eq!(of("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
