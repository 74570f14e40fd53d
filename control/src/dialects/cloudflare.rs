//! Cloudflare's `POST /client/v4/zones/{zone}/purge_cache`, and `invalidate_cache`, which is soft.

use super::Dialect;
use super::admit::{Shown, admit};
use super::operation::operation;
use super::order::{Purged, confined, purge, site};
use crate::auth::{Caller, bearer};
use crate::call::{Call, SharedControl};
use crate::errors::ApiError;
use crate::fields::{Fields, refusal as not_accepted};
use crate::ledger::Order;
use crate::sites::KnownSites;
use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::HeaderName;
use http::header::AUTHORIZATION;
use http::request::Parts;
use serde_json::{Value, json};
use std::net::IpAddr;
use weir_config::{Config, Scope};
use weir_rules::invalidation::Target;

/// Codes of messages about a purge that was accepted.
const IN_PROGRESS: u16 = 1;
const UNHEARD: u16 = 2;

/// Where clients show the key of an account, which is no token.
const ACCOUNT_KEYS: [HeaderName; 3] = [
    HeaderName::from_static("x-auth-key"),
    HeaderName::from_static("x-auth-email"),
    HeaderName::from_static("x-auth-user-service-key"),
];

pub(super) const DIALECT: Dialect = Dialect { prefixes: &["/client/v4/"], calls, shown, refusal };

fn calls() -> Vec<Call> {
    let act = |path, handler, summary| {
        Call::new("post", path, handler, operation("Cloudflare", "200", path, summary))
    };
    vec![
        act(
            "/client/v4/zones/{zone}/purge_cache",
            post(purge_cache),
            "Purge files, prefixes, tags, hosts or everything of a zone",
        ),
        act(
            "/client/v4/zones/{zone}/invalidate_cache",
            post(invalidate_cache),
            "Soft purge: the responses are stale from now on",
        ),
    ]
}

/// A token, as a bearer.
fn shown(request: &Parts, peer: IpAddr, config: &Config) -> Result<Shown, ApiError> {
    let caller = Caller::by_secret(request, peer, config, |request| {
        let mut account_keys = ACCOUNT_KEYS.into_iter();
        let account_key = account_keys.find(|name| request.headers.contains_key(name));
        match account_key {
            Some(name) if !request.headers.contains_key(AUTHORIZATION) => {
                let accepted = "send a token (api_token): Authorization: Bearer SECRET";
                let message = format!("account keys ({name}) are not accepted; {accepted}");
                Err(ApiError::unauthenticated(message))
            }
            _ => bearer(request),
        }
    })?;
    Ok(Shown::Caller(caller))
}

async fn purge_cache(
    State(control): State<SharedControl>,
    Path(zone): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    run(&control, &zone, request, false).await
}

async fn invalidate_cache(
    State(control): State<SharedControl>,
    Path(zone): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    run(&control, &zone, request, true).await
}

async fn run(
    control: &SharedControl,
    zone: &str,
    request: Request,
    soft: bool,
) -> Result<Response, ApiError> {
    let call = admit(control, &DIALECT, request).await?;
    call.caller.needs(Scope::Purge)?;
    let site = site(&call, "zone", zone)?;
    let order = Order {
        targets: targets(&call.body, &site, &call.sites)?,
        site: Some(site),
        soft,
        versions: false,
        warm: false,
        reference: None,
    };
    let purged = purge(control, &call, order).await?;
    let (id, messages) = (&purged.id, messages(&purged));
    let body = json!({"success": true, "errors": [], "messages": messages, "result": {"id": id}});
    Ok(Json(body).into_response())
}

/// What their clients might not expect: their API says nothing of nodes.
fn messages(purged: &Purged) -> Value {
    match purged {
        Purged { unheard: true, .. } => {
            json!([{"code": UNHEARD, "message": "accepted, but no node follows this control"}])
        }
        Purged { completed: false, .. } => {
            json!([{"code": IN_PROGRESS, "message": "accepted; not yet applied by every node"}])
        }
        Purged { .. } => json!([]),
    }
}

/// What a body names. Prefixes begin with a host, as theirs do.
fn targets(body: &[u8], site: &str, sites: &KnownSites) -> Result<Vec<Target>, ApiError> {
    let mut fields = Fields::parse(body)?;
    let mut targets = Vec::new();
    let mut add = |field: String, parsed: Result<Target, String>| {
        let target = parsed.map_err(|reason| ApiError::invalid(field.clone(), reason))?;
        targets.push(confined(target, &field, site, sites)?);
        Ok::<_, ApiError>(())
    };
    for (n, file) in fields.values("files")?.into_iter().enumerate() {
        let field = format!("files[{n}]");
        add(field.clone(), Target::parse_url(&url(&field, file)?))?;
    }
    type Parse = fn(&str) -> Result<Target, String>;
    let kinds: [(&'static str, Parse); 3] =
        [("prefixes", prefix), ("tags", Target::parse_tag), ("hosts", Target::parse_host)];
    for (name, parse) in kinds {
        for (n, text) in fields.texts(name)?.iter().enumerate() {
            add(format!("{name}[{n}]"), parse(text))?;
        }
    }
    if fields.boolean("purge_everything")? {
        targets.push(Target::All);
    }
    fields.finish()?;
    if targets.is_empty() {
        let accepted = "one or more of files, prefixes, tags, hosts, or purge_everything";
        let message = format!("nothing to purge is named; accepted: {accepted}");
        return Err(ApiError::malformed(message));
    }
    Ok(targets)
}

/// The URL of a file, which is a text, or an object with the request fields of one variant. All
/// variants are purged, so those are judged by their form only.
fn url(field: &str, file: Value) -> Result<String, ApiError> {
    const ACCEPTED: &str = "a URL, or {\"url\": URL, \"headers\": {name: value}}";
    let file = match file {
        Value::String(url) => return Ok(url),
        Value::Object(file) => file,
        other => return Err(not_accepted(field, &other, ACCEPTED)),
    };
    let mut url = None;
    for (name, value) in file {
        match (name.as_str(), value) {
            ("url", Value::String(text)) => url = Some(text),
            ("headers", Value::Object(fields)) if fields.values().all(Value::is_string) => {}
            (_, value) => return Err(not_accepted(&format!("{field}.{name}"), &value, ACCEPTED)),
        }
    }
    url.ok_or_else(|| ApiError::invalid(field, format!("url is missing; accepted: {ACCEPTED}")))
}

/// A bare path would be one of every host, which Cloudflare does not have.
fn prefix(text: &str) -> Result<Target, String> {
    if text.starts_with('/') {
        return Err(format!("prefix {text:?} has no host; accepted: www.example.com/img"));
    }
    Target::parse_prefix(text)
}

/// A refusal in their envelope. The codes are theirs where they have one for it.
fn refusal(error: &ApiError) -> Response {
    let code = match error.code() {
        "unauthenticated" => 10_000,
        "forbidden" => 9109,
        "no_such_site" | "not_found" | "method_not_allowed" => 7003,
        "too_many" | "busy" => 971,
        "internal" | "unavailable" | "journal" => 1000,
        _ => 1012,
    };
    let message = match error.field() {
        Some(field) => format!("{field}: {}", error.message()),
        None => error.message().to_owned(),
    };
    let errors = json!([{"code": code, "message": message}]);
    let body = json!({"success": false, "errors": errors, "messages": [], "result": null});
    (error.status(), Json(body)).into_response()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sites::tests::known;

    fn sites() -> KnownSites {
        known(
            "[[site]]\nid = \"shop\"\nhosts = [\"shop.example\", \"*.shop.example\"]\n\
             origins = [\"http://a\"]\n\
             [[site]]\nid = \"blog\"\nhosts = [\"blog.example\"]\norigins = [\"http://b\"]\n",
            &[],
            false,
        )
    }

    fn named(body: &str) -> Result<Vec<Target>, ApiError> {
        targets(body.as_bytes(), "shop", &sites())
    }

    #[test]
    fn a_body_names_targets_of_every_kind() {
        let body = r#"{"files": ["https://shop.example/a?b=1",
                {"url": "http://www.shop.example/c", "headers": {"CF-Device-Type": "mobile"}}],
            "prefixes": ["shop.example/img"], "tags": ["a tag"], "hosts": ["www.shop.example"],
            "purge_everything": true}"#;
        let own = str::to_owned;
        let expected = [
            Target::Url(own("https://shop.example/a?b=1")),
            Target::Url(own("http://www.shop.example/c")),
            Target::Prefix(own("shop.example/img")),
            Target::Tag(own("a tag")),
            Target::Host(own("www.shop.example")),
            Target::All,
        ];
        assert_eq!(named(body).unwrap(), expected);
    }

    #[test]
    fn what_is_wrong_or_of_another_site_is_refused_with_its_place() {
        for (body, field, part) in [
            (r#"{"files": ["https://blog.example/a"]}"#, "files[0]", "not of the site"),
            (r#"{"files": ["https://shop.example/a", "/b"]}"#, "files[1]", "http://"),
            (r#"{"files": [1]}"#, "files[0]", "1 is not accepted"),
            (r#"{"files": [{"headers": {}}]}"#, "files[0]", "url is missing"),
            (r#"{"files": [{"url": 1}]}"#, "files[0].url", "accepted: a URL"),
            (
                r#"{"files": [{"url": "http://shop.example/", "headers": {"a": 1}}]}"#,
                "files[0].headers",
                "accepted: a URL",
            ),
            (r#"{"files": [{"uri": "x"}]}"#, "files[0].uri", "accepted: a URL"),
            (r#"{"files": "x"}"#, "files", "a list"),
            (r#"{"prefixes": ["blog.example/a"]}"#, "prefixes[0]", "not of the site"),
            (r#"{"prefixes": ["/a"]}"#, "prefixes[0]", "has no host"),
            (r#"{"hosts": ["other.example"]}"#, "hosts[0]", "not of the site"),
            (r#"{"tags": [""]}"#, "tags[0]", "empty"),
            (r#"{"purge_all": true}"#, "purge_all", "unknown field"),
        ] {
            let error = named(body).unwrap_err();
            assert_eq!(error.field(), Some(field), "{body}");
            assert!(error.message().contains(part), "{body}: {}", error.message());
        }
        for body in ["{}", r#"{"purge_everything": false}"#, r#"{"files": []}"#] {
            assert!(named(body).unwrap_err().message().contains("nothing to purge"), "{body}");
        }
    }
}
