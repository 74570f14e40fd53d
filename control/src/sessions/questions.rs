//! What control asks of a node, on its way there and while the answer is awaited.

use serde_json::Value;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use weir_protocol::frame::FromControl;
use weir_protocol::question::Question;

/// Questions to one node whose answers are awaited at once; further ones are refused.
const MOST_AWAITED: usize = 64;

/// A question and who waits for the answer.
pub(crate) struct PendingQuestion {
    // Boxed: a channel has room for 32 from its beginning.
    what: Box<Question>,
    answer: oneshot::Sender<Result<Value, String>>,
}

/// Asks the node at the other end of `asks`, and waits for at most `wait`.
///
/// # Errors
/// In words: the node's own error, or why there is no answer.
pub(super) async fn ask(
    asks: &mpsc::Sender<PendingQuestion>,
    what: Question,
    wait: Duration,
) -> Result<Value, String> {
    let (answer, answered) = oneshot::channel();
    match asks.try_send(PendingQuestion { what: Box::new(what), answer }) {
        Ok(()) => {}
        Err(mpsc::error::TrySendError::Full(_)) => return Err(BUSY.to_owned()),
        Err(mpsc::error::TrySendError::Closed(_)) => return Err(PARTED.to_owned()),
    }
    match tokio::time::timeout(wait, answered).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(PARTED.to_owned()),
        Err(_) => Err(format!("no answer within {} ms", wait.as_millis())),
    }
}

const BUSY: &str = "too many questions await its answer; try again in a second";
const PARTED: &str = "its connection to control ended before it answered";

/// A way for questions to a node, as many as may wait for it.
pub(super) fn channel() -> (mpsc::Sender<PendingQuestion>, mpsc::Receiver<PendingQuestion>) {
    mpsc::channel(MOST_AWAITED)
}

/// The questions that were sent to a node.
#[derive(Default)]
pub(crate) struct AwaitedAnswers {
    last: u64,
    by_number: HashMap<u64, oneshot::Sender<Result<Value, String>>>,
}

impl AwaitedAnswers {
    /// Gives a question its number; `None` when it is refused.
    pub(crate) fn number(&mut self, asked: PendingQuestion) -> Option<FromControl> {
        // Those that nobody waits for any more are forgotten, so what remains is bounded by time.
        self.by_number.retain(|_, answer| !answer.is_closed());
        if self.by_number.len() >= MOST_AWAITED {
            // Fails only when nobody waits any more.
            let _ = asked.answer.send(Err(BUSY.to_owned()));
            return None;
        }
        self.last += 1;
        self.by_number.insert(self.last, asked.answer);
        Some(FromControl::Ask { ask: self.last, what: Ok(*asked.what) })
    }

    /// Takes the node's answer to whoever waits for it.
    pub(crate) fn answered(&mut self, ask: u64, result: Result<Value, String>) {
        if let Some(answer) = self.by_number.remove(&ask) {
            // Fails only when nobody waits any more.
            let _ = answer.send(result);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    fn question(seq: u64) -> Question {
        Question::PurgedUrls { seq, most: 1 }
    }

    #[tokio::test]
    async fn answers_find_who_asked_in_whatever_order_they_come() {
        let (asks, mut asked) = channel();
        let mut awaited = AwaitedAnswers::default();
        let both =
            async { tokio::join!(ask(&asks, question(1), SOON), ask(&asks, question(2), SOON)) };
        let node = async {
            for seq in [1, 2] {
                let frame = awaited.number(asked.recv().await.unwrap()).unwrap();
                assert_eq!(frame, FromControl::Ask { ask: seq, what: Ok(question(seq)) });
            }
            awaited.answered(2, Err("two".into()));
            awaited.answered(9, Err("nobody asked".into()));
            awaited.answered(1, Ok(Value::from(1)));
        };
        let (answers, ()) = tokio::join!(both, node);
        assert_eq!(answers, (Ok(Value::from(1)), Err("two".into())));
    }

    #[tokio::test]
    async fn a_silent_node_is_not_waited_for_beyond_the_bound() {
        let (asks, mut asked) = channel();
        let mut awaited = AwaitedAnswers::default();
        for _ in 0..2 * MOST_AWAITED {
            let silent = ask(&asks, question(1), Duration::from_millis(2));
            let sent = async { assert!(awaited.number(asked.recv().await.unwrap()).is_some()) };
            let (answer, ()) = tokio::join!(silent, sent);
            assert_eq!(answer, Err("no answer within 2 ms".into()));
        }
    }

    #[tokio::test]
    async fn more_than_the_bound_are_refused_at_once() {
        let (asks, mut asked) = channel();
        let mut awaited = AwaitedAnswers::default();
        let mut waiting = Vec::new();
        for _ in 0..MOST_AWAITED {
            let (answer, answered) = oneshot::channel();
            assert!(
                awaited.number(PendingQuestion { what: Box::new(question(1)), answer }).is_some()
            );
            waiting.push(answered);
        }
        let refused = ask(&asks, question(1), SOON);
        let sent = async { assert!(awaited.number(asked.recv().await.unwrap()).is_none()) };
        let (answer, ()) = tokio::join!(refused, sent);
        assert_eq!(answer, Err(BUSY.into()));
        drop(asked);
        assert_eq!(ask(&asks, question(1), SOON).await, Err(PARTED.into()));
    }
}
