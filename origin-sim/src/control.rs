//! The control endpoints, under [`PREFIX`], for tests and people who reach the origin over HTTP
//! only:
//!
//! - `GET counters[?path=NAME]`: JSON counts of connections and of each target.
//! - `GET requests?path=NAME`: the kept requests, in full.
//! - `POST reset`: forgets both.
//! - `POST release?path=NAME`: lets go what is held at a route.
//! - `PUT route?path=NAME`: sets a route from the JSON in the body.

use crate::OriginState;
use crate::answer::{push, status_line};
use crate::request::Head;

use crate::script::route_from_json;
use serde_json::json;

/// Where the endpoints are.
pub(crate) const PREFIX: &str = "/__sim/";

/// Largest body of a request to an endpoint, bytes.
pub(crate) const MAX_BODY: u64 = crate::request::BODY_KEPT as u64;

/// The whole answer to a request to an endpoint.
pub(crate) fn answer(shared: &OriginState, head: &Head, body: &[u8]) -> Vec<u8> {
    let (status, told) = match act(shared, head, body) {
        Ok(told) => (200, told),
        Err((status, message)) => (status, json!({ "error": message })),
    };
    let mut text = told.to_string();
    text.push('\n');
    let mut answer = status_line(status, None);
    push(&mut answer, "Content-Type", b"application/json");
    push(&mut answer, "Cache-Control", b"no-store");
    push(&mut answer, "Content-Length", text.len().to_string().as_bytes());
    answer.extend_from_slice(b"\r\n");
    if head.method != "HEAD" {
        answer.extend_from_slice(text.as_bytes());
    }
    answer
}

type CallResult = Result<serde_json::Value, (u16, String)>;

fn act(shared: &OriginState, head: &Head, body: &[u8]) -> CallResult {
    let target = head.target.strip_prefix(PREFIX).unwrap_or_default();
    let (endpoint, query) = target.split_once('?').unwrap_or((target, ""));
    // The name goes to the end of the query, so that it can have a query of its own.
    let path = query.strip_prefix("path=");
    if !query.is_empty() && path.is_none() {
        return Err((400, format!("{query:?}: only path=NAME is accepted, NAME to the end")));
    }
    let named = || path.ok_or((400, "?path=NAME is missing".to_owned()));
    let unwritable = |e: serde_json::Error| (500, e.to_string());
    match (head.method.as_str(), endpoint) {
        ("GET" | "HEAD", "counters") => {
            serde_json::to_value(shared.ledger.counted(path)).map_err(unwritable)
        }
        ("GET" | "HEAD", "requests") => {
            serde_json::to_value(shared.ledger.requests(named()?)).map_err(unwritable)
        }
        ("POST", "reset") => {
            shared.ledger.reset();
            Ok(json!({ "reset": true }))
        }
        ("POST", "release") => {
            let name = named()?;
            let released = shared.routes().release(name);
            let unknown = (404, format!("no route takes {name:?}"));
            released.then(|| json!({ "released": name })).ok_or(unknown)
        }
        ("PUT", "route") => {
            let name = named()?;
            let route = route_from_json(body).map_err(|e| (400, e.to_string()))?;
            shared.routes().set(name, route);
            Ok(json!({ "route": name }))
        }
        (_, "counters" | "requests") => Err((405, "GET".to_owned())),
        (_, "reset" | "release") => Err((405, "POST".to_owned())),
        (_, "route") => Err((405, "PUT".to_owned())),
        _ => Err((404, "there are counters, requests, reset, release and route".to_owned())),
    }
}
