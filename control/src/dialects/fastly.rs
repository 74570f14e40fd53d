//! Fastly's purges: of a surrogate key, of several, of all of a service, and of one URL.

use super::Dialect;
use super::admit::{Admitted, Shown, admit};
use super::operation::operation;
use super::order::{Purged, purge, site};
use crate::auth::{Caller, bearer};
use crate::call::{Call, SharedControl};
use crate::errors::ApiError;
use crate::fields::{Fields, shorten};
use crate::ledger::Order;
use crate::permission::may_touch_host;
use crate::sites::Owner;
use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use http::header::{ALLOW, AUTHORIZATION};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::{Map, Value, json};
use std::net::IpAddr;
use weir_config::{Config, Scope};
use weir_rules::invalidation::Target;

/// Its presence, whatever its value, makes a purge soft.
const SOFT: &str = "fastly-soft-purge";

/// Keys, separated by spaces.
const KEYS: &str = "surrogate-key";

/// Which of the two environments that a service has there is meant.
const ENVIRONMENT: &str = "fastly-purge-environment";

/// Where the path of a URL's purge begins.
const PURGE: &str = "/purge/";

/// Where clients show their token.
const KEY: HeaderName = HeaderName::from_static("fastly-key");

pub(super) const DIALECT: Dialect =
    Dialect { prefixes: &["/service/", PURGE], calls, shown, refusal };

fn calls() -> Vec<Call> {
    let act = |path, handler, summary| {
        Call::new("post", path, handler, operation("Fastly", "200", path, summary))
    };
    vec![
        act("/service/{service}/purge/{*key}", post(purge_key), "Purge a surrogate key"),
        act("/service/{service}/purge", post(purge_keys), "Purge surrogate keys"),
        act("/service/{service}/purge_all", post(purge_all), "Purge all of a service"),
        act("/purge/{*url}", any(purge_url), "Purge a URL, named without its scheme"),
    ]
}

/// A token in `Fastly-Key`, or as a bearer.
fn shown(request: &Parts, peer: IpAddr, config: &Config) -> Result<Shown, ApiError> {
    let caller = Caller::by_secret(request, peer, config, |request| {
        let mut keys = request.headers.get_all(KEY).iter();
        match (keys.next(), keys.next()) {
            (Some(key), None) => Ok(key.as_bytes().trim_ascii()),
            (None, _) if request.headers.contains_key(AUTHORIZATION) => bearer(request),
            _ => Err(ApiError::unauthenticated("send a token: Fastly-Key: SECRET")),
        }
    })?;
    Ok(Shown::Caller(caller))
}

async fn purge_key(
    State(control): State<SharedControl>,
    Path((service, key)): Path<(String, String)>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let call = admit(&control, &DIALECT, request).await?;
    let target = Target::parse_tag(&key).map_err(|reason| ApiError::invalid("key", reason))?;
    let purged = of_service(&control, &call, &service, vec![target], is_soft(&call)).await?;
    Ok(Json(done(&purged)))
}

async fn purge_keys(
    State(control): State<SharedControl>,
    Path(service): Path<String>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let call = admit(&control, &DIALECT, request).await?;
    let keys = keys(&call.request.headers, &call.body)?;
    let tag = |(n, key): (usize, &String)| {
        Target::parse_tag(key)
            .map_err(|reason| ApiError::invalid(format!("surrogate_keys[{n}]"), reason))
    };
    let targets = keys.iter().enumerate().map(tag).collect::<Result<_, _>>()?;
    let purged = of_service(&control, &call, &service, targets, is_soft(&call)).await?;
    // One purge took them all.
    let ids = keys.into_iter().map(|key| (key, Value::from(purged.id.as_str())));
    Ok(Json(Value::Object(ids.collect::<Map<_, _>>())))
}

/// Never soft, as theirs is not.
async fn purge_all(
    State(control): State<SharedControl>,
    Path(service): Path<String>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let call = admit(&control, &DIALECT, request).await?;
    if !call.body.is_empty() {
        Fields::parse(&call.body)?.finish()?;
    }
    of_service(&control, &call, &service, vec![Target::All], false).await?;
    Ok(Json(json!({"status": "ok"})))
}

/// The URL is in the path without its scheme, as it was sent: what an escape stands for would be
/// another URL's.
async fn purge_url(
    State(control): State<SharedControl>,
    request: Request,
) -> Result<Response, ApiError> {
    if ![Method::POST.as_str(), "PURGE"].contains(&request.method().as_str()) {
        let allow = [(ALLOW, HeaderValue::from_static("POST, PURGE"))];
        return Ok((StatusCode::METHOD_NOT_ALLOWED, allow).into_response());
    }
    let call = admit(&control, &DIALECT, request).await?;
    call.caller.needs(Scope::Purge)?;
    not_staging(&call.request.headers)?;
    let target = call.request.uri.path_and_query().map_or("", |target| target.as_str());
    let url = format!("http://{}", target.strip_prefix(PURGE).unwrap_or_default());
    let target = Target::parse_url(&url).map_err(|reason| ApiError::invalid("url", reason))?;
    let host = target.host().unwrap_or_default();
    may_touch_host(&call.caller, host, &call.sites)?;
    let site = match call.sites.owner(host) {
        Owner::Site(site) => Some(site.to_owned()),
        // The URL alone says what is purged.
        Owner::Disputed => None,
        // A node that does not report its sites may have it.
        Owner::Nobody if call.sites.is_any_silent() => None,
        Owner::Nobody => {
            let message = format!("no site has the host {:?}", shorten(host));
            return Err(ApiError::no_such_site(message));
        }
    };
    let order = Order {
        targets: vec![target],
        site,
        soft: is_soft(&call),
        versions: false,
        warm: false,
        reference: None,
    };
    let purged = purge(&control, &call, order).await?;
    Ok(Json(done(&purged)).into_response())
}

/// A purge of what a service, which is a site, has.
async fn of_service(
    control: &SharedControl,
    call: &Admitted,
    service: &str,
    targets: Vec<Target>,
    soft: bool,
) -> Result<Purged, ApiError> {
    call.caller.needs(Scope::Purge)?;
    not_staging(&call.request.headers)?;
    let site = Some(site(call, "service", service)?);
    purge(
        control,
        call,
        Order { targets, site, soft, versions: false, warm: false, reference: None },
    )
    .await
}

fn is_soft(call: &Admitted) -> bool {
    call.request.headers.contains_key(SOFT)
}

fn not_staging(headers: &HeaderMap) -> Result<(), ApiError> {
    match headers.get(ENVIRONMENT) {
        None => Ok(()),
        Some(_) => Err(ApiError::invalid(
            "Fastly-Purge-Environment",
            "there is only one environment; remove this field",
        )),
    }
}

/// The keys of the field and of the body, each once.
fn keys(headers: &HeaderMap, body: &[u8]) -> Result<Vec<String>, ApiError> {
    let mut keys = Vec::new();
    for field in headers.get_all(KEYS) {
        let text = std::str::from_utf8(field.as_bytes())
            .map_err(|_| ApiError::invalid("Surrogate-Key", "is not UTF-8"))?;
        keys.extend(text.split_ascii_whitespace().map(str::to_owned));
    }
    if !body.is_empty() {
        let mut fields = Fields::parse(body)?;
        keys.extend(fields.texts("surrogate_keys")?);
        fields.finish()?;
    }
    if keys.is_empty() {
        let accepted = "the field Surrogate-Key: a b, or the body {\"surrogate_keys\": [\"a\"]}";
        return Err(ApiError::malformed(format!("no key is named; accepted: {accepted}")));
    }
    let mut seen = std::collections::HashSet::new();
    keys.retain(|key| seen.insert(key.clone()));
    Ok(keys)
}

fn done(purged: &Purged) -> Value {
    json!({"status": "ok", "id": purged.id})
}

/// A refusal as they tell it: what, and why.
fn refusal(error: &ApiError) -> Response {
    let what = match error.code() {
        "unauthenticated" => "Provided credentials are missing or invalid",
        "forbidden" => "You are not authorized to perform this action",
        "no_such_site" | "not_found" => "Record not found",
        "method_not_allowed" => "Method not allowed",
        "too_many" | "busy" => "Too many requests",
        "too_large" => "Request too large",
        "internal" => "Internal error",
        "unavailable" | "journal" => "Service unavailable",
        _ => "Bad request",
    };
    let detail = match error.field() {
        Some(field) => format!("{field}: {}", error.message()),
        None => error.message().to_owned(),
    };
    (error.status(), Json(json!({"msg": what, "detail": detail}))).into_response()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(field: &'static [u8], body: &str) -> Result<Vec<String>, ApiError> {
        let mut headers = HeaderMap::new();
        if !field.is_empty() {
            headers.insert(KEYS, HeaderValue::from_bytes(field).unwrap());
        }
        keys(&headers, body.as_bytes())
    }

    #[test]
    fn keys_come_in_the_field_or_the_body_each_once() {
        assert_eq!(of(b" a  b a", "").unwrap(), ["a", "b"]);
        assert_eq!(of(b"", r#"{"surrogate_keys": ["a b", "c"]}"#).unwrap(), ["a b", "c"]);
        assert_eq!(of(b"c d", r#"{"surrogate_keys": ["a", "c"]}"#).unwrap(), ["c", "d", "a"]);
        assert_eq!(of("ü".as_bytes(), "").unwrap(), ["ü"]);
    }

    #[test]
    fn without_a_key_or_with_another_field_it_is_refused() {
        for (field, body, part) in [
            (&b""[..], "", "no key"),
            (b"  ", "{}", "no key"),
            (b"", r#"{"surrogate_keys": [1]}"#, "accepted: a text"),
            (b"", r#"{"keys": ["a"]}"#, "unknown field"),
            (b"a", "[]", "not an object"),
            (b"\xff", "", "UTF-8"),
        ] {
            let refused = of(field, body).unwrap_err();
            assert!(refused.message().contains(part), "{body}: {}", refused.message());
        }
    }
}
