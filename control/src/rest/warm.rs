//! `/v1/warm`: to have URLs fetched ahead of those who will ask for them.

use crate::auth::Caller;
use crate::call::{Call, Kind, SharedControl};
use crate::control::Control;
use crate::errors::ApiError;
use crate::extract::Body;
use crate::fields::{Fields, shorten};
use crate::ledger::Warmed;
use crate::operation::{Operation, reference};
use crate::permission::may_touch_host;
use crate::pieces::Pieces;
use crate::sites::KnownSites;
use crate::warm::{Came, DEFAULT_RATE, MOST_RATE, MOST_URLS, urls_of};
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::Uri;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use weir_config::Scope;
use weir_rules::tier::Tier;

/// Pieces that may wait for the caller's connection.
const PIECES: usize = 16;

/// A body of the call.
#[derive(Debug, PartialEq, Eq)]
struct WarmRequest {
    urls: Vec<String>,
    rate: u32,
    tier: Tier,
}

impl WarmRequest {
    fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut fields = Fields::parse(body)?;
        let urls = fields.texts("urls")?;
        let rate = fields.number("rate", DEFAULT_RATE.into(), 1..=MOST_RATE.into())?;
        let tier = fields.word("tier")?.unwrap_or(Tier::Edge);
        fields.finish()?;
        if urls.is_empty() || urls.len() > MOST_URLS {
            let message = format!("{} of them; accepted: 1 to {MOST_URLS}", urls.len());
            return Err(ApiError::invalid("urls", message));
        }
        Ok(Self { urls, rate: u32::try_from(rate).unwrap_or(MOST_RATE), tier })
    }

    /// Whether the caller may have all of them fetched.
    fn is_allowed(&self, caller: &Caller, sites: &KnownSites) -> Result<(), ApiError> {
        for (n, url) in self.urls.iter().enumerate() {
            let host = host(url).ok_or_else(|| {
                let message =
                    format!("{:?}; accepted: an absolute http or https URL", shorten(url));
                ApiError::invalid(format!("urls[{n}]"), message)
            })?;
            may_touch_host(caller, &host, sites)?;
        }
        Ok(())
    }
}

/// The host of an absolute URL.
fn host(url: &str) -> Option<String> {
    let uri: Uri = weir_rules::target::spelled_url(url).parse().ok()?;
    let known = matches!(uri.scheme_str(), Some("http" | "https"));
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
    (known && !authority.host().is_empty()).then(|| authority.as_str().to_owned())
}

pub(super) fn calls() -> Vec<Call> {
    let line = json!({"oneOf": [reference("Fetched"), reference("Warmed")]});
    let operation = Operation::new("Fetch URLs before clients request them")
        .described(
            "On every connected edge or, for tier parent, from the parents of each region. \
             Streams lines of JSON: the counts, then the result for each URL and node, and the \
             counts again at the end. If the client disconnects, the warm-up ends.",
        )
        .body("WarmRequest")
        .answer_in(
            "200",
            "One line for each URL and node (Fetched), between two lines with the counts (Warmed).",
            "application/x-ndjson",
            line,
        );
    vec![Call::new("post", "/v1/warm", post(warm), operation).of_kind(Kind::Lasting)]
}

async fn warm(
    State(control): State<SharedControl>,
    caller: Caller,
    Body(body): Body,
) -> Result<Response, ApiError> {
    caller.needs(Scope::Purge)?;
    let asked = WarmRequest::parse(&body)?;
    asked.is_allowed(&caller, &control.sites())?;
    control.rates.take(caller.name())?;
    let room = control.warming.call()?;
    let WarmRequest { urls, rate, tier } = asked;
    tracing::info!(urls = urls.len(), rate, tier = tier.as_str(), caller = caller.name(), "warm");
    let loads = control.loads(urls, tier);
    if loads.is_empty() {
        return Err(ApiError::unavailable("no edge is connected to control"));
    }
    let warmed = Warmed::of(urls_of(&loads));
    let came = control.warm(loads, rate, tier);
    let (pieces, body) = mpsc::channel(PIECES);
    tokio::spawn(tell(control, came, warmed, pieces, room));
    let fields = [(CONTENT_TYPE, "application/x-ndjson"), (CACHE_CONTROL, "no-store")];
    Ok((fields, axum::body::Body::new(Pieces(body))).into_response())
}

/// Tells of each URL on each node by a line as it comes, and of all of them in the first line and
/// the last, which a caller who was cut off misses.
async fn tell(
    control: Arc<Control>,
    mut came: mpsc::Receiver<Came>,
    mut warmed: Warmed,
    pieces: mpsc::Sender<Bytes>,
    _room: OwnedSemaphorePermit,
) {
    // How many are to come, so that the caller knows what share of them has.
    if pieces.send(counts(warmed)).await.is_err() {
        return;
    }
    loop {
        let next = tokio::select! {
            next = came.recv() => next,
            () = pieces.closed() => return,
            () = control.stopped() => return,
        };
        let is_last = next.is_none();
        let piece = match next {
            Some(came) => {
                warmed.count(&came.fetched);
                Bytes::from(lines(&came))
            }
            None => counts(warmed),
        };
        if pieces.send(piece).await.is_err() || is_last {
            return;
        }
    }
}

fn counts(warmed: Warmed) -> Bytes {
    Bytes::from(format!("{}\n", json!(warmed)))
}

fn lines(came: &Came) -> String {
    let line = |fetched| {
        let mut line: Value = serde_json::to_value(fetched).unwrap_or_default();
        line["node"] = json!(*came.node);
        format!("{line}\n")
    };
    came.fetched.iter().map(line).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sites::tests::known;
    use weir_config::Token;
    use weir_protocol::warm::Fetched;

    fn parse(body: &str) -> Result<WarmRequest, ApiError> {
        WarmRequest::parse(body.as_bytes())
    }

    #[test]
    fn a_body_names_urls_a_rate_and_a_tier() {
        let asked = parse(r#"{"urls": ["http://h/a"], "rate": 7, "tier": "parent"}"#).unwrap();
        let urls = vec!["http://h/a".to_owned()];
        assert_eq!(asked, WarmRequest { urls: urls.clone(), rate: 7, tier: Tier::Parent });
        let plain = parse(r#"{"urls": ["http://h/a"]}"#).unwrap();
        assert_eq!(plain, WarmRequest { urls, rate: 50, tier: Tier::Edge });
    }

    #[test]
    fn what_is_wrong_is_refused_with_field_and_value() {
        let local = |request: WarmRequest| {
            request.is_allowed(
                &Caller::Local,
                &known("[[site]]\norigins = [\"http://a\"]\n", &[], false),
            )
        };
        for (body, field, part) in [
            (r#"{"urls": []}"#, "urls", "1 to 1000"),
            (r#"{"urls": ["http://h/"], "rate": 0}"#, "rate", "1 to 10000"),
            (r#"{"urls": ["http://h/"], "rate": 10001}"#, "rate", "10001"),
            (r#"{"urls": ["http://h/"], "tier": "origin"}"#, "tier", "\\\"origin\\\""),
            (r#"{"urls": ["http://h/"], "tier": "edgy"}"#, "tier", "did you mean edge?"),
            (r#"{"urls": ["http://h/"], "teir": "edge"}"#, "teir", "did you mean tier?"),
            (r#"{"urls": ["http://h/", "/a"]}"#, "urls[1]", "absolute"),
            (r#"{"urls": ["ftp://h/"]}"#, "urls[0]", "absolute"),
            (r#"{"urls": ["http://u@h/"]}"#, "urls[0]", "absolute"),
        ] {
            let error = format!("{:?}", parse(body).and_then(local).unwrap_err());
            assert!(error.contains(&format!("field: Some({field:?})")), "{body}: {error}");
            assert!(error.contains(part), "{body}: {error}");
        }
        let many = vec!["\"http://h/\""; MOST_URLS + 1].join(",");
        assert!(parse(&format!("{{\"urls\": [{many}]}}")).is_err());
    }

    #[test]
    fn a_token_for_one_site_warms_nothing_else() {
        let config = "[[site]]\nid = \"shop\"\nhosts = [\"shop.example\"]\norigins = [\"http://a\"]\n\
                      [[site]]\nid = \"blog\"\norigins = [\"http://b\"]\n";
        let sites = known(config, &[], false);
        let caller = Caller::Bearer(Token {
            name: "ci".into(),
            secret: "0123456789abcdef".into(),
            scopes: vec![Scope::Purge],
            sites: vec!["shop".into()],
            nodes: vec![],
        });
        for (urls, allowed) in [
            (r#"["http://shop.example/a", "https://shop.example:8443/"]"#, true),
            (r#"["http://shop.example/a", "http://other.example/"]"#, false),
        ] {
            let asked = parse(&format!("{{\"urls\": {urls}}}")).unwrap();
            assert_eq!(asked.is_allowed(&caller, &sites).is_ok(), allowed, "{urls}");
            assert!(asked.is_allowed(&Caller::Local, &sites).is_ok());
        }
    }

    #[test]
    fn each_url_of_each_node_is_a_line() {
        let fetched = vec![
            Fetched { url: "http://h/a".into(), status: Some(200), ms: 1.5, ..Fetched::default() },
            Fetched { url: "http://h/b".into(), error: Some("no".into()), ..Fetched::default() },
        ];
        let lines = lines(&Came { node: "eu-1".into(), fetched });
        let lines: Vec<Value> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let first = json!({"node": "eu-1", "url": "http://h/a", "status": 200, "ms": 1.5});
        let second = json!({"node": "eu-1", "url": "http://h/b", "error": "no", "ms": 0.0});
        assert_eq!(lines, [first, second]);
    }
}
