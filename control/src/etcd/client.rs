//! Calls of the cluster: one member is asked at a time, the next one after a failure.

use super::login::{Login, Pass, User};
use super::wire::{Authenticated, Granted, Kept, KeyValue, Range, Refused, Txn, TxnAnswer, encode};
use http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// From one attempt to the next.
const PAUSE: Duration = Duration::from_millis(50);

/// How long one attempt may take; another member may answer sooner.
const ATTEMPT: Duration = Duration::from_millis(700);

/// The same, to read a page of the log: it may be large.
const PAGE_ATTEMPT: Duration = Duration::from_secs(5);

/// Largest answer that is read.
const LARGEST: usize = 64 << 20;

/// Characters that are shown of an answer that is none of etcd's.
const LONGEST_SAID: usize = 200;

/// Keys that are asked for at once: the value of one is at most what etcd takes in a request.
const PAGE: usize = 32;

/// Statuses of gRPC.
const RESOURCE_EXHAUSTED: i64 = 8;
const UNAVAILABLE: i64 = 14;
const UNAUTHENTICATED: i64 = 16;
const DEADLINE_EXCEEDED: i64 = 4;
const CANCELLED: i64 = 1;
const UNKNOWN: i64 = 2;
const INVALID_ARGUMENT: i64 = 3;
const FAILED_PRECONDITION: i64 = 9;

/// What etcd says of a token that an earlier state of its users was given for, and of a request without one.
const OLD_TOKEN: &str = "revision of auth store is old";
const NO_USER: &str = "user name is empty";

/// The cluster.
pub(crate) struct Etcd {
    /// With the certificates as they were read last.
    http: Mutex<reqwest::Client>,
    /// URLs without a path.
    endpoints: Vec<String>,
    /// Which of them is asked.
    current: AtomicUsize,
    login: Login,
    failures: AtomicU64,
}

/// Why there is no answer that says what happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// In words.
    pub(crate) message: String,
    /// It may have been done, or may yet be done.
    pub(crate) unknown: bool,
    /// Another attempt may go well.
    again: bool,
    /// There is no room for more.
    pub(crate) full: bool,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Failure {
    fn unknown(message: impl Into<String>) -> Self {
        Self { message: message.into(), unknown: true, again: true, full: false }
    }

    /// Nothing was done, and another attempt may go well.
    fn undone(message: impl Into<String>) -> Self {
        Self { unknown: false, ..Self::unknown(message) }
    }

    fn refused(message: impl Into<String>) -> Self {
        Self { again: false, ..Self::undone(message) }
    }
}

/// What became of a transaction.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// All that was compared was so.
    pub(crate) succeeded: bool,
    /// The store's revision after it.
    pub(crate) revision: i64,
    /// What it read.
    pub(crate) read: Vec<KeyValue>,
    /// It may have been done by an earlier attempt than the one that says this.
    pub(crate) repeated: bool,
}

impl fmt::Debug for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Etcd").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

impl Etcd {
    /// The cluster with these members, as `http` reaches them.
    pub(crate) fn new(http: reqwest::Client, config: &weir_config::Etcd) -> Self {
        Self {
            http: Mutex::new(http),
            endpoints: config.endpoints.iter().map(ToString::to_string).collect(),
            current: AtomicUsize::new(0),
            login: Login::new(config.user.clone()),
            failures: AtomicU64::new(0),
        }
    }

    /// From now on it is reached by `http`, as this user.
    pub(crate) fn reach(&self, http: reqwest::Client, user: Option<User>) {
        *self.http.lock().unwrap_or_else(PoisonError::into_inner) = http;
        self.login.is_now(user);
    }

    /// Attempts that failed.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Has the transaction done, and repeats the very same one until it is known what became of it, for at
    /// most `patience`: it compares what it changes, so that it is done once at most.
    ///
    /// # Errors
    /// It is refused, or not known to be done within `patience`.
    pub(crate) async fn txn(&self, txn: &Txn, patience: Duration) -> Result<Outcome, Failure> {
        let body = txn.written();
        let end = Instant::now() + patience;
        let mut may_be_done = false;
        loop {
            let failure = match self.attempt::<TxnAnswer>("/v3/kv/txn", &body, end, ATTEMPT).await {
                Ok(answer) => return Ok(outcome(answer, may_be_done)),
                Err(failure) => failure,
            };
            may_be_done |= failure.unknown;
            if !failure.again || Instant::now() + PAUSE >= end {
                // A later attempt that is refused says nothing of an earlier one.
                return Err(Failure { unknown: may_be_done, ..failure });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The keys from `from` up to, but not with, `to`, in order; and the cluster's id.
    ///
    /// # Errors
    /// There is no answer within `patience`.
    pub(crate) async fn range(
        &self,
        mut from: String,
        to: &str,
        patience: Duration,
    ) -> Result<(Vec<KeyValue>, String), Failure> {
        let end = Instant::now() + patience;
        let mut found = Vec::new();
        loop {
            let body = json!({
                "key": encode(&from), "range_end": encode(to), "limit": PAGE.to_string(),
            });
            let page: Range = self.insist("/v3/kv/range", &body, end, PAGE_ATTEMPT).await?;
            let last = page.kvs.last().map(|last| format!("{}\0", last.key));
            found.extend(page.kvs);
            match last {
                Some(next) if page.more => from = next,
                _ => return Ok((found, page.header.cluster_id)),
            }
        }
    }

    /// A lease of this length or longer, with what the cluster made of it.
    ///
    /// # Errors
    /// There is no answer within `patience`.
    pub(crate) async fn grant(
        &self,
        length: Duration,
        patience: Duration,
    ) -> Result<(i64, Duration), Failure> {
        let body = json!({"TTL": length.as_secs().to_string()});
        let granted: Granted =
            self.insist("/v3/lease/grant", &body, Instant::now() + patience, ATTEMPT).await?;
        Ok((granted.id, seconds(granted.ttl)))
    }

    /// Keeps a lease for another length, which it returns; zero if it is gone.
    ///
    /// # Errors
    /// There is no answer within `patience`.
    pub(crate) async fn keep(&self, lease: i64, patience: Duration) -> Result<Duration, Failure> {
        let body = json!({"ID": lease.to_string()});
        let end = Instant::now() + patience;
        let kept: Kept = self.attempt("/v3/lease/keepalive", &body, end, ATTEMPT).await?;
        Ok(seconds(kept.result.ttl))
    }

    /// Ends a lease, and removes the keys that go with it.
    ///
    /// # Errors
    /// There is no answer within `patience`: it ends by itself.
    pub(crate) async fn revoke(&self, lease: i64, patience: Duration) -> Result<(), Failure> {
        let body = json!({"ID": lease.to_string()});
        let end = Instant::now() + patience;
        self.insist::<Value>("/v3/lease/revoke", &body, end, ATTEMPT).await.map(drop)
    }

    /// A call that does no harm if it is done twice.
    async fn insist<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
        end: Instant,
        attempt: Duration,
    ) -> Result<T, Failure> {
        loop {
            match self.attempt(path, body, end, attempt).await {
                Err(failure) if failure.again && Instant::now() + PAUSE < end => {
                    tokio::time::sleep(PAUSE).await;
                }
                answer => return answer,
            }
        }
    }

    /// Asks one member, for at most `attempt`. The next call asks another one if it fails.
    async fn attempt<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
        end: Instant,
        attempt: Duration,
    ) -> Result<T, Failure> {
        let at = self.current.load(Ordering::Relaxed) % self.endpoints.len().max(1);
        let endpoint = self.endpoints.get(at).map_or("", String::as_str);
        let patience = attempt.min(end.saturating_duration_since(Instant::now()));
        let call = self.call(endpoint, path, body);
        let answer = match tokio::time::timeout(patience, call).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::unknown("no answer in time")),
        };
        answer.map_err(|failure| {
            self.failures.fetch_add(1, Ordering::Relaxed);
            let next = (at + 1) % self.endpoints.len().max(1);
            // Whoever found out first moves on; the others follow.
            let _ = self.current.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
            Failure { message: format!("etcd at {endpoint}: {failure}"), ..failure }
        })
    }

    async fn call<T: DeserializeOwned>(
        &self,
        endpoint: &str,
        path: &str,
        body: &Value,
    ) -> Result<T, Failure> {
        let http = self.http.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let pass = match self.login.user() {
            None => Pass::Unasked,
            Some(user) => self.pass(&http, endpoint, &user).await?,
        };
        let mut request = http.post(format!("{endpoint}{path}")).json(body);
        if let Pass::Token(token) = &pass {
            request = request.header(http::header::AUTHORIZATION, token);
        }
        let (status, bytes) = sent(request).await?;
        if status == StatusCode::OK {
            return read(&bytes);
        }
        let (failure, code) = refusal(status, &bytes);
        if !is_of_the_token(&failure.message, code) {
            return Err(failure);
        }
        self.login.over(&pass);
        match self.login.user() {
            // The next attempt gets another token.
            Some(_) => Err(Failure::undone(failure.message)),
            None => Err(Failure::refused(format!(
                "{}: it asks for a user, and control.etcd.user is not set",
                failure.message
            ))),
        }
    }

    /// What stands for the name and the password.
    async fn pass(
        &self,
        http: &reqwest::Client,
        endpoint: &str,
        user: &User,
    ) -> Result<Pass, Failure> {
        if let Some(pass) = self.login.pass() {
            return Ok(pass);
        }
        let _turn = self.login.turn().await;
        if let Some(pass) = self.login.pass() {
            return Ok(pass);
        }
        if let Some(why) = self.login.refusal(Instant::now()) {
            return Err(Failure::refused(why));
        }
        let (name, password) = user;
        let body = json!({"name": name, "password": password.reveal()});
        let request = http.post(format!("{endpoint}/v3/auth/authenticate")).json(&body);
        // Whatever becomes of this, nothing that matters was done.
        let (status, bytes) =
            sent(request).await.map_err(|failure| Failure { unknown: false, ..failure })?;
        let pass = match status {
            StatusCode::OK => Pass::Token(read::<Authenticated>(&bytes)?.token),
            _ => match refusal(status, &bytes) {
                (_, FAILED_PRECONDITION) => Pass::Unasked,
                (failure, INVALID_ARGUMENT) => {
                    let why = format!("control.etcd.user = {name:?}: {failure}");
                    self.login.refused(user, why.clone(), Instant::now());
                    return Err(Failure::refused(why));
                }
                (failure, _) => return Err(Failure { unknown: false, ..failure }),
            },
        };
        self.login.given(user, pass.clone());
        Ok(pass)
    }
}

/// Whether a refusal is about the token, not about what was asked.
fn is_of_the_token(message: &str, code: i64) -> bool {
    code == UNAUTHENTICATED
        || code == INVALID_ARGUMENT && (message.contains(OLD_TOKEN) || message.contains(NO_USER))
}

fn outcome(answer: TxnAnswer, repeated: bool) -> Outcome {
    let TxnAnswer { header, succeeded, responses } = answer;
    let ranges = responses.into_iter().filter_map(|response| response.response_range);
    let read = ranges.flat_map(|range| range.kvs).collect();
    Outcome { succeeded, revision: header.revision, read, repeated }
}

fn seconds(count: i64) -> Duration {
    Duration::from_secs(u64::try_from(count).unwrap_or(0))
}

async fn sent(request: reqwest::RequestBuilder) -> Result<(StatusCode, Vec<u8>), Failure> {
    let failed = |error: reqwest::Error| Failure::unknown(root_cause(&error));
    let unsent = |error: reqwest::Error| match error.is_connect() {
        true => Failure::undone(root_cause(&error)),
        false => failed(error),
    };
    let mut response = request.send().await.map_err(unsent)?;
    let status = response.status();
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(failed)? {
        if bytes.len() + piece.len() > LARGEST {
            return Err(Failure::unknown(format!("an answer of more than {LARGEST} bytes")));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok((status, bytes))
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes).map_err(|error| Failure::unknown(format!("its answer: {error}")))
}

/// What a refusal says, and its status of gRPC.
fn refusal(status: StatusCode, bytes: &[u8]) -> (Failure, i64) {
    let Ok(Refused { message, code }) = serde_json::from_slice(bytes) else {
        // What the gateway itself refuses is a text.
        let said = String::from_utf8_lossy(bytes);
        let said: String = said.trim().chars().take(LONGEST_SAID).collect();
        let message =
            if said.is_empty() { status.to_string() } else { format!("{status}: {said}") };
        return (Failure::unknown(message), UNKNOWN);
    };
    let failure = match code {
        // etcd says so also of what it may do yet.
        UNAVAILABLE | DEADLINE_EXCEEDED | CANCELLED | UNKNOWN => Failure::unknown(message),
        _ => Failure { full: code == RESOURCE_EXHAUSTED, ..Failure::refused(message) },
    };
    (failure, code)
}

/// The last of an error's causes: what the system said.
fn root_cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), root_cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_whether_it_may_have_been_done() {
        let full = br#"{"error":"etcdserver: mvcc: database space exceeded","message":"etcdserver: mvcc: database space exceeded","code":8}"#;
        let (failure, _) = refusal(StatusCode::TOO_MANY_REQUESTS, full);
        assert!(failure.full && !failure.unknown, "{failure:?}");
        let late = br#"{"error":"etcdserver: request timed out","message":"etcdserver: request timed out","code":14}"#;
        let (failure, _) = refusal(StatusCode::SERVICE_UNAVAILABLE, late);
        assert!(failure.unknown && !failure.full, "{failure:?}");
        let (failure, _) = refusal(StatusCode::BAD_GATEWAY, b"<html>");
        assert!(failure.unknown, "a proxy's answer says nothing of what etcd did: {failure:?}");
    }
}
