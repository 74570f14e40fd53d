//! What control asks of a node, on its way there and while the answer is awaited.

use super::mailbox::Mailbox;
use serde_json::Value;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::oneshot;
use weir_protocol::frame::FromControl;
use weir_protocol::question::Question;

/// Questions to one node whose answers are awaited at once; further ones are refused.
const MOST_AWAITED: usize = 64;

/// A question and who waits for the answer.
pub(crate) struct PendingQuestion {
    what: Question,
    answer: oneshot::Sender<Result<Value, String>>,
}

/// Asks the node whose session has this mailbox, and waits for at most `wait`.
///
/// # Errors
/// In words: the node's own error, or why there is no answer.
pub(super) async fn ask(
    mailbox: &Mailbox,
    what: Question,
    wait: Duration,
) -> Result<Value, String> {
    let (answer, answered) = oneshot::channel();
    mailbox.ask(PendingQuestion { what, answer })?;
    match tokio::time::timeout(wait, answered).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(PARTED.to_owned()),
        Err(_) => Err(format!("no answer within {} ms", wait.as_millis())),
    }
}

pub(super) const BUSY: &str = "too many questions await its answer; try again in a second";
pub(super) const PARTED: &str = "its connection to control ended before it answered";

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
        Some(FromControl::Ask { ask: self.last, what: Ok(asked.what) })
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
    use super::super::mailbox::MOST;
    use super::*;
    use std::future::poll_fn;
    use std::task::Poll;

    const SOON: Duration = Duration::from_secs(20);

    fn question(seq: u64) -> Question {
        Question::PurgedUrls { seq, most: 1 }
    }

    /// The next question that waits.
    async fn asked(mailbox: &Mailbox) -> PendingQuestion {
        poll_fn(|context| {
            let _ = mailbox.look(context);
            let mut letters = mailbox.take();
            let first = letters.questions.pop_front();
            assert!(letters.questions.is_empty(), "one is asked at once");
            first.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    #[tokio::test]
    async fn answers_find_who_asked_in_whatever_order_they_come() {
        let mailbox = Mailbox::default();
        let mut awaited = AwaitedAnswers::default();
        let both = async {
            let second = async {
                // After the first one was taken.
                tokio::task::yield_now().await;
                ask(&mailbox, question(2), SOON).await
            };
            tokio::join!(ask(&mailbox, question(1), SOON), second)
        };
        let node = async {
            for seq in [1, 2] {
                let frame = awaited.number(asked(&mailbox).await).unwrap();
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
        let mailbox = Mailbox::default();
        let mut awaited = AwaitedAnswers::default();
        for _ in 0..2 * MOST_AWAITED {
            let silent = ask(&mailbox, question(1), Duration::from_millis(2));
            let sent = async { assert!(awaited.number(asked(&mailbox).await).is_some()) };
            let (answer, ()) = tokio::join!(silent, sent);
            assert_eq!(answer, Err("no answer within 2 ms".into()));
        }
    }

    #[tokio::test]
    async fn more_than_the_bound_are_refused_at_once() {
        let mailbox = Mailbox::default();
        let mut awaited = AwaitedAnswers::default();
        let mut waiting = Vec::new();
        for _ in 0..MOST_AWAITED {
            let (answer, answered) = oneshot::channel();
            assert!(awaited.number(PendingQuestion { what: question(1), answer }).is_some());
            waiting.push(answered);
        }
        let refused = ask(&mailbox, question(1), SOON);
        let sent = async { assert!(awaited.number(asked(&mailbox).await).is_none()) };
        let (answer, ()) = tokio::join!(refused, sent);
        assert_eq!(answer, Err(BUSY.into()));
        // Those that wait to be sent are as many.
        let mut waiting = Vec::new();
        for _ in 0..MOST {
            let (answer, answered) = oneshot::channel();
            assert_eq!(mailbox.ask(PendingQuestion { what: question(1), answer }), Ok(()));
            waiting.push(answered);
        }
        assert_eq!(ask(&mailbox, question(1), SOON).await, Err(BUSY.into()));
        mailbox.close();
        assert!(waiting.pop().unwrap().await.is_err(), "nobody is left waiting");
        assert_eq!(ask(&mailbox, question(1), SOON).await, Err(PARTED.into()));
    }
}
