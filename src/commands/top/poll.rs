//! The calls of control whose answers are shown.

use super::range::Range;
use crate::client::{Answer, Client};
use crate::commands::purges::latest;
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// Rows that are asked for of each list.
const LISTED: u64 = 50;

/// A call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Stats,
    Traffic,
    Popular,
    Uncached,
    Purges,
    Certificates,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The token will not do, now or later.
    Refused(String),
    /// It may go well the next time.
    Trouble(String),
}

/// What came of a call.
pub(super) struct Outcome {
    pub(super) call: Call,
    /// What the traffic was asked for.
    pub(super) range: Range,
    pub(super) answer: Result<Value, Failure>,
}

impl Call {
    pub(super) const ALL: [Self; 6] = [
        Self::Stats,
        Self::Traffic,
        Self::Popular,
        Self::Uncached,
        Self::Purges,
        Self::Certificates,
    ];

    /// Its name in a snapshot.
    fn name(self) -> &'static str {
        match self {
            Self::Stats => "stats",
            Self::Traffic => "traffic",
            Self::Popular => "popular",
            Self::Uncached => "uncached",
            Self::Purges => "purges",
            Self::Certificates => "certificates",
        }
    }

    async fn ask(self, client: &Client, range: Range) -> Result<Value, Failure> {
        let limit = LISTED.to_string();
        let limit = [("limit", limit.as_str())];
        let answer = match self {
            Self::Stats => client.get("/v1/stats", &[]).await,
            Self::Traffic => client.get("/v1/traffic", &[("from", &range.from())]).await,
            Self::Popular => client.get("/v1/popular", &limit).await,
            Self::Uncached => client.get("/v1/uncached", &limit).await,
            Self::Purges => latest(client, LISTED).await,
            Self::Certificates => match client.get("/v1/certificates", &[]).await {
                // An older control orders none.
                Ok(answer) if answer.status == 404 => {
                    return Ok(json!({"certificates": []}));
                }
                answer => answer,
            },
        };
        judged(answer)
    }
}

fn judged(answer: Result<Answer, String>) -> Result<Value, Failure> {
    let answer = answer.map_err(Failure::Trouble)?;
    match answer.status {
        401 | 403 => Err(Failure::Refused(answer.refusal())),
        _ if answer.is_success() => Ok(answer.body),
        _ => Err(Failure::Trouble(answer.refusal())),
    }
}

/// All answers at one time, by the names of their calls.
pub(super) async fn snapshot(client: &Client, range: Range) -> Result<Map<String, Value>, Failure> {
    let (stats, traffic, popular, uncached, purges, certificates) = tokio::join!(
        Call::Stats.ask(client, range),
        Call::Traffic.ask(client, range),
        Call::Popular.ask(client, range),
        Call::Uncached.ask(client, range),
        Call::Purges.ask(client, range),
        Call::Certificates.ask(client, range),
    );
    let answers = [stats, traffic, popular, uncached, purges, certificates];
    let named = Call::ALL.into_iter().zip(answers);
    named.map(|(call, answer)| Ok((call.name().to_owned(), answer?))).collect()
}

/// The call of a member of a snapshot.
pub(super) fn named(name: &str) -> Option<Call> {
    Call::ALL.into_iter().find(|call| call.name() == name)
}

/// Repeats a call, one at a time, until the receiver is gone; that of the traffic at once if another range is chosen.
pub(super) async fn poll(
    client: &Client,
    call: Call,
    every: Duration,
    mut paused: watch::Receiver<bool>,
    mut chosen: watch::Receiver<Range>,
    outcomes: mpsc::Sender<Outcome>,
) {
    while paused.wait_for(|paused| !paused).await.is_ok() {
        let range = *chosen.borrow_and_update();
        let pause = if call == Call::Traffic { range.pause(every) } else { every };
        let next = Instant::now() + pause;
        let answer = call.ask(client, range).await;
        if outcomes.send(Outcome { call, range, answer }).await.is_err() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            Ok(()) = chosen.changed(), if call == Call::Traffic => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_the_token_is_told_apart_from_what_may_pass() {
        let answer = |status| Ok(Answer { status, body: json!({"error": {"message": "no"}}) });
        let refused = |status| matches!(judged(answer(status)), Err(Failure::Refused(_)));
        assert_eq!([401, 403, 404, 429, 503].map(refused), [true, true, false, false, false]);
        assert!(judged(answer(200)).is_ok());
        let away = judged(Err("away".to_owned()));
        assert_eq!(away, Err(Failure::Trouble("away".to_owned())));
    }
}
