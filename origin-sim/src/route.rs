//! The script of one route: which answer each request gets, in the words of the test that reads
//! it. A [`Route`] is one [`Reply`] or several in order, or a function from request to reply.

use crate::counters::Recorded;
use crate::reply::{Reply, reply};
use std::fmt;
use std::sync::Arc;

/// Answers the first request by the first reply, the second by the second, and so on; the last
/// one repeats. Empty, it answers 404.
pub fn sequence<R: Into<Route>>(replies: impl IntoIterator<Item = R>) -> Route {
    let steps: Vec<Step> = replies.into_iter().flat_map(|route| route.into().steps).collect();
    if steps.is_empty() { reply("an empty sequence\n").status(404).into() } else { Route { steps } }
}

/// Answers each request by what `handler` makes of it.
pub fn answer_with(handler: impl Fn(&Recorded) -> Reply + Send + Sync + 'static) -> Route {
    Route { steps: vec![Step { answer: Answer::Handler(Arc::new(handler)), times: 1 }] }
}

/// What a route answers, request by request.
#[derive(Clone, Debug)]
pub struct Route {
    /// Never empty; the last step repeats whatever its `times`.
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
struct Step {
    answer: Answer,
    times: u64,
}

/// What one request gets: a reply known in advance, or one made of the request.
#[derive(Clone)]
pub(crate) enum Answer {
    Reply(Arc<Reply>),
    Handler(Arc<dyn Fn(&Recorded) -> Reply + Send + Sync>),
}

impl Answer {
    /// Whether the answer goes out before the request body is read.
    pub(crate) fn is_early(&self) -> bool {
        matches!(self, Answer::Reply(reply) if reply.early)
    }

    pub(crate) fn to(&self, request: &Recorded) -> Arc<Reply> {
        match self {
            Answer::Reply(reply) => reply.clone(),
            Answer::Handler(handler) => Arc::new(handler(request)),
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Reply(reply) => reply.fmt(f),
            Answer::Handler(_) => f.write_str("Handler"),
        }
    }
}

impl Route {
    /// Goes on with `next` once these answers were given.
    pub fn then(mut self, next: impl Into<Route>) -> Route {
        self.steps.extend(next.into().steps);
        self
    }

    /// The answer to the `served`-th request (from 0) to this route.
    pub(crate) fn answer(&self, served: u64) -> Option<Answer> {
        let mut before = 0u64;
        let due = self.steps.iter().find(|step| {
            before = before.saturating_add(step.times);
            served < before
        });
        due.or(self.steps.last()).map(|step| step.answer.clone())
    }
}

impl From<Reply> for Route {
    fn from(reply: Reply) -> Route {
        let failures = reply.fail_first.map(|(times, status)| {
            let failure = crate::reply(format!("scripted failure {status}\n")).status(status);
            Step { answer: Answer::Reply(Arc::new(failure)), times }
        });
        let times = reply.times;
        let step = Step { answer: Answer::Reply(Arc::new(reply)), times };
        Route { steps: failures.into_iter().chain([step]).collect() }
    }
}
