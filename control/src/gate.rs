//! The gate of the admin listener: what answers its calls, and what becomes of calls while another
//! process takes over the log.

use crate::errors::ApiError;
use crate::onward::Onward;
use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;
use tower::ServiceExt;

/// How long a call waits while nothing answers calls.
const LONGEST_HOLD: Duration = Duration::from_secs(10);

/// What answers calls now.
#[derive(Clone, Debug)]
enum Answering {
    /// This router.
    Router(Router),
    /// Nothing: calls wait.
    Nobody,
    /// Another process, to which calls are passed on.
    Elsewhere(Onward),
}

/// What answers calls, as it changes.
#[derive(Debug)]
pub struct Gate {
    answering: watch::Sender<Answering>,
    /// Calls whose answer has not begun.
    running: watch::Sender<usize>,
}

impl Gate {
    /// A gate through which calls reach `router`.
    pub fn new(router: Router) -> Arc<Self> {
        let answering = watch::Sender::new(Answering::Router(router));
        Arc::new(Self { answering, running: watch::Sender::new(0) })
    }

    /// Holds calls that arrive from now on; each waits, at most 10 s, and is then refused with 503.
    /// New connections wait in the queue of the socket.
    pub fn hold(&self) {
        self.answering.send_replace(Answering::Nobody);
    }

    /// Until every call that was let through has its answer, for at most `bound`; whether all have.
    pub async fn until_idle(&self, bound: Duration) -> bool {
        let mut running = self.running.subscribe();
        // The sender lives as long as `self`.
        timeout(bound, running.wait_for(|running| *running == 0)).await.is_ok()
    }

    /// Lets calls through to `router`, also those that wait.
    pub fn open(&self, router: Router) {
        self.answering.send_replace(Answering::Router(router));
    }

    /// Another process answers from now on: calls that wait, and those that arrive on connections
    /// that are open, are passed on to it, and their connections close.
    pub fn close(&self, onward: Onward) {
        self.answering.send_replace(Answering::Elsewhere(onward));
    }

    /// Whether another process answers.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(*self.answering.borrow(), Answering::Elsewhere(_))
    }

    /// Until connections are to be accepted; `false` if another process accepts them.
    pub(crate) async fn accepts(&self) -> bool {
        let mut answering = self.answering.subscribe();
        let settled = answering.wait_for(|now| !matches!(now, Answering::Nobody)).await;
        settled.is_ok_and(|now| matches!(*now, Answering::Router(_)))
    }

    /// Until connections are no longer to be accepted.
    pub(crate) async fn shut(&self) {
        let mut answering = self.answering.subscribe();
        // The sender lives as long as `self`.
        let _ = answering.wait_for(|now| !matches!(now, Answering::Router(_))).await;
    }

    /// Answers a call.
    pub(crate) async fn call(&self, request: Request) -> Result<Response, Infallible> {
        let mut answering = self.answering.subscribe();
        let patience = tokio::time::Instant::now() + LONGEST_HOLD;
        loop {
            // Counted before what answers is looked at: who holds calls then sees it, or it is held.
            let running = Running::begin(&self.running);
            let now = answering.borrow_and_update().clone();
            match now {
                Answering::Router(router) => return router.oneshot(request).await,
                Answering::Elsewhere(onward) => return Ok(onward.call(request).await),
                Answering::Nobody => drop(running),
            }
            let changed = tokio::time::timeout_at(patience, answering.changed()).await;
            if !matches!(changed, Ok(Ok(()))) {
                return Ok(ApiError::taken_over().into_response());
            }
        }
    }
}

/// A call that was let through.
struct Running<'a>(&'a watch::Sender<usize>);

impl<'a> Running<'a> {
    fn begin(running: &'a watch::Sender<usize>) -> Self {
        running.send_modify(|running| *running += 1);
        Self(running)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use axum::routing::get;

    fn words(words: &'static str) -> Router {
        Router::new().route("/", get(move || async move { words }))
    }

    async fn ask(gate: Arc<Gate>) -> (u16, String) {
        let request = Request::new(axum::body::Body::empty());
        let response = gate.call(request).await.unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_held_reaches_the_next_router() {
        let gate = Gate::new(words("first"));
        assert_eq!(ask(gate.clone()).await, (200, "first".to_owned()));
        gate.hold();
        let held = tokio::spawn(ask(gate.clone()));
        tokio::time::sleep(LONGEST_HOLD / 2).await;
        assert!(!held.is_finished());
        gate.open(words("second"));
        assert_eq!(held.await.unwrap(), (200, "second".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_held_for_a_bounded_time() {
        let gate = Gate::new(words("first"));
        gate.hold();
        let began = tokio::time::Instant::now();
        let (status, body) = ask(gate.clone()).await;
        assert_eq!((status, began.elapsed()), (503, LONGEST_HOLD));
        assert!(body.contains("another process"), "{body}");
        let held = tokio::spawn(ask(gate.clone()));
        tokio::task::yield_now().await;
        gate.close(Onward::new(|_| async { Err(std::io::ErrorKind::NotFound.into()) }));
        assert_eq!(held.await.unwrap().0, 503, "it is answered at once");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_holds_calls_waits_for_those_that_were_let_through() {
        let (release, released) = tokio::sync::oneshot::channel::<()>();
        let released = std::sync::Mutex::new(Some(released));
        let wait = move || {
            let released = released.lock().unwrap().take();
            async move { released.unwrap().await.unwrap() }
        };
        let wait = Arc::new(wait);
        let gate = Gate::new(Router::new().route("/", get(move || (*wait)())));
        let running = tokio::spawn(ask(gate.clone()));
        tokio::task::yield_now().await;
        gate.hold();
        assert!(!gate.until_idle(Duration::from_secs(1)).await);
        release.send(()).unwrap();
        assert!(gate.until_idle(Duration::from_secs(1)).await);
        assert_eq!(running.await.unwrap().0, 200);
    }
}
