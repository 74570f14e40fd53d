//! What calls are made of: who calls, the body, the query's parameters.

use crate::auth::Caller;
use crate::call::{LARGEST_BODY, OfProcess};
use crate::errors::ApiError;
use crate::fields::{shorten, unknown};
use crate::listener::Peer;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::ops::RangeInclusive;
use std::time::Instant;

/// Most request fields that `explain` takes.
const MOST_EXPLAIN_FIELDS: usize = 100;

impl<S: OfProcess> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        // Set by the listener for every request.
        let Peer(peer) = *parts.extensions.get::<Peer>().ok_or_else(ApiError::internal)?;
        let process = state.process();
        let judged = Caller::of(parts, peer.ip(), &process.config());
        process.attempts.judge(peer.ip(), parts, judged, Instant::now())
    }
}

/// A body, which is JSON if there is one: a page in a browser can send other kinds unasked.
pub(super) struct Body(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let headers = request.headers();
        let is_empty = !headers.contains_key(TRANSFER_ENCODING)
            && headers.get(CONTENT_LENGTH).is_none_or(|length| length == "0");
        if !is_empty && !is_json(headers) {
            let sent = headers.get(CONTENT_TYPE);
            let message = format!("the body is {sent:?}; accepted: application/json");
            return Err(ApiError::media_type(message));
        }
        read(request.into_body()).await.map(Body)
    }
}

/// Reads a body, whatever it is.
pub(super) async fn read(body: axum::body::Body) -> Result<Bytes, ApiError> {
    // The layer bounds what is read; here the length is not known to be honest.
    axum::body::to_bytes(body, LARGEST_BODY).await.map_err(|error| {
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = cause {
            if error.to_string().contains("length limit") {
                return ApiError::too_large(format!("the body is over {LARGEST_BODY} bytes"));
            }
            cause = error.source();
        }
        ApiError::malformed("the body ended early")
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = media_type.and_then(|value| value.split(';').next()).map(str::trim);
    essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"))
}

/// The query's parameters in order, repeated ones kept.
pub(super) struct Parameters(pub(super) Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Query::from_request_parts(parts, state)
            .await
            .map(|Query(pairs)| Self(pairs))
            .map_err(|error| ApiError::malformed(format!("the query cannot be read: {error}")))
    }
}

/// A parameter that may stand once.
pub(super) fn one<'a>(
    parameters: &'a [(String, String)],
    name: &str,
) -> Result<Option<&'a str>, ApiError> {
    let mut values = parameters.iter().filter(|(key, _)| key == name).map(|(_, value)| value);
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(ApiError::invalid(name, "written twice")),
        (value, None) => Ok(value.map(String::as_str)),
    }
}

pub(super) fn number(
    parameters: &[(String, String)],
    name: &str,
    default: u64,
    accepted: RangeInclusive<u64>,
) -> Result<u64, ApiError> {
    let Some(text) = one(parameters, name)? else { return Ok(default) };
    text.parse::<u64>().ok().filter(|number| accepted.contains(number)).ok_or_else(|| {
        let (shown, least, most) = (shorten(text), accepted.start(), accepted.end());
        let message = format!("{shown:?}; accepted: a whole number from {least} to {most}");
        ApiError::invalid(name, message)
    })
}

/// A parameter that is one of these words.
pub(super) fn word<'a>(
    parameters: &'a [(String, String)],
    name: &str,
    accepted: &[&'static str],
) -> Result<Option<&'a str>, ApiError> {
    let Some(text) = one(parameters, name)? else { return Ok(None) };
    if !accepted.contains(&text) {
        let message = format!("{:?}; accepted: {}", shorten(text), accepted.join(", "));
        return Err(ApiError::invalid(name, message));
    }
    Ok(Some(text))
}

pub(super) fn only(
    parameters: &[(String, String)],
    known: &[&'static str],
) -> Result<(), ApiError> {
    match parameters.iter().find(|(key, _)| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some((key, _)) => Err(unknown("parameter", key, known)),
    }
}

/// The request fields of `header=Name: value` parameters.
pub(super) fn explain_fields(parameters: &[(String, String)]) -> Result<HeaderMap, ApiError> {
    let mut headers = HeaderMap::new();
    for (_, text) in parameters.iter().filter(|(key, _)| key == "header") {
        let parsed = text.split_once(':').and_then(|(name, value)| {
            let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
            Some((name, HeaderValue::from_str(value.trim()).ok()?))
        });
        let Some((name, value)) = parsed else {
            let shown = shorten(text);
            return Err(ApiError::invalid("header", format!("{shown:?}; accepted: Name: value")));
        };
        if headers.len() == MOST_EXPLAIN_FIELDS {
            let message = format!("too many; accepted: at most {MOST_EXPLAIN_FIELDS}");
            return Err(ApiError::invalid("header", message));
        }
        headers.append(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn parameters_are_judged_by_name_and_bounds() {
        let parameters = pairs(&[("after", "7"), ("limit", "x")]);
        assert_eq!(number(&parameters, "after", 0, 0..=9).unwrap(), 7);
        assert_eq!(number(&parameters, "absent", 3, 0..=9).unwrap(), 3);
        assert!(number(&parameters, "limit", 0, 0..=9).is_err());
        assert!(number(&parameters, "after", 0, 0..=6).is_err());
        assert!(number(&parameters, "after", 9, 8..=9).is_err());
        assert!(one(&pairs(&[("url", "/a"), ("url", "/b")]), "url").is_err());
        let words = pairs(&[("count", "yes")]);
        assert_eq!(word(&words, "count", &["no", "yes"]).unwrap(), Some("yes"));
        assert_eq!(word(&words, "absent", &["no", "yes"]).unwrap(), None);
        let refused = format!("{:?}", word(&words, "count", &["false", "true"]).unwrap_err());
        assert!(refused.contains("accepted: false, true"), "{refused}");
        let refused = only(&pairs(&[("hedaer", "a: b")]), &["url", "header"]).unwrap_err();
        assert!(format!("{refused:?}").contains("did you mean header?"));
    }

    #[test]
    fn explain_takes_request_fields_as_they_are_written_in_http() {
        let fields = pairs(&[("url", "/"), ("header", "Accept: a:b"), ("header", "accept:c")]);
        let headers = explain_fields(&fields).unwrap();
        assert_eq!(headers.get_all("accept").iter().collect::<Vec<_>>(), ["a:b", "c"]);
        for wrong in ["accept", "a b: c", ": x", "a: b\nc"] {
            assert!(explain_fields(&pairs(&[("header", wrong)])).is_err(), "{wrong:?}");
        }
        let many = vec![("header", "a: b"); MOST_EXPLAIN_FIELDS + 1];
        assert!(explain_fields(&pairs(&many)).is_err());
    }

    #[test]
    fn only_json_bodies_are_taken() {
        let json = |value: &'static str| {
            is_json(&HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))]))
        };
        assert!(json("application/json") && json("Application/JSON; charset=utf-8"));
        assert!(!json("text/plain") && !json("application/json-patch+json"));
        assert!(!is_json(&HeaderMap::new()));
    }
}
