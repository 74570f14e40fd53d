//! What waits for the session of a node, and wakes it: once for all that comes until it looks.

use super::questions::{BUSY, PARTED, PendingQuestion};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use weir_protocol::frame::FromControl;

/// Questions that wait to be sent; further ones are refused. Answers that wait, from which on the node
/// is not listened to.
pub(super) const MOST: usize = 64;

/// What waits for a session.
#[derive(Default)]
pub(crate) struct Mailbox(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    /// Of the session, until there is something new.
    waker: Option<Waker>,
    /// The log has moved.
    moved: bool,
    /// Control stops.
    stops: bool,
    /// The session is over.
    closed: bool,
    letters: Letters,
}

/// What is to be sent beside entries and heartbeats.
#[derive(Default)]
pub(crate) struct Letters {
    /// Questions, which are to be numbered.
    pub(crate) questions: VecDeque<PendingQuestion>,
    /// Answers.
    pub(crate) answers: VecDeque<FromControl>,
}

/// What is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct News {
    /// The log has moved.
    pub(crate) moved: bool,
    /// Control stops.
    pub(crate) stops: bool,
}

impl Mailbox {
    /// What is new. Whoever looks is woken when there is more, or a letter comes.
    pub(crate) fn look(&self, context: &Context<'_>) -> News {
        let mut waiting = self.waiting();
        let known = waiting.waker.as_ref();
        if known.is_none_or(|waker| !waker.will_wake(context.waker())) {
            waiting.waker = Some(context.waker().clone());
        }
        News { moved: std::mem::take(&mut waiting.moved), stops: waiting.stops }
    }

    /// The letters that came.
    pub(crate) fn take(&self) -> Letters {
        std::mem::take(&mut self.waiting().letters)
    }

    /// Whether so many answers wait that no further ones are to be asked for.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting().letters.answers.len() >= MOST
    }

    /// A question to the node.
    ///
    /// # Errors
    /// In words, why it is not asked.
    pub(super) fn ask(&self, question: PendingQuestion) -> Result<(), &'static str> {
        let mut waiting = self.waiting();
        if waiting.closed {
            return Err(PARTED);
        }
        if waiting.letters.questions.len() >= MOST {
            return Err(BUSY);
        }
        waiting.letters.questions.push_back(question);
        wake(waiting);
        Ok(())
    }

    /// An answer to the node. Whoever asks for it bounds how many there are; none is kept once the
    /// session is over.
    pub(crate) fn answer(&self, answer: FromControl) {
        let mut waiting = self.waiting();
        if !waiting.closed {
            waiting.letters.answers.push_back(answer);
            wake(waiting);
        }
    }

    /// The log has moved.
    pub(super) fn announce(&self) {
        let mut waiting = self.waiting();
        waiting.moved = true;
        wake(waiting);
    }

    /// Control stops.
    pub(super) fn stop(&self) {
        let mut waiting = self.waiting();
        waiting.stops = true;
        wake(waiting);
    }

    /// The session is over: nobody waits any more for what is here.
    pub(super) fn close(&self) {
        let mut waiting = self.waiting();
        waiting.closed = true;
        let letters = std::mem::take(&mut waiting.letters);
        drop(waiting);
        drop(letters);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes the session, if it was not since it looked. Without the lock: it may run at once.
fn wake(mut waiting: MutexGuard<'_, Waiting>) {
    let waker = waiting.waker.take();
    drop(waiting);
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_session_is_woken_once_until_it_looks() {
        let (mailbox, count) = (Mailbox::default(), Arc::new(Count::default()));
        let waker = Waker::from(count.clone());
        let context = Context::from_waker(&waker);
        let woken = || count.0.load(Ordering::Relaxed);
        assert_eq!(mailbox.look(&context), News { moved: false, stops: false });
        for call in 0..3 {
            mailbox.announce();
            mailbox.answer(FromControl::Linked { link: call });
        }
        assert_eq!(woken(), 1);
        assert_eq!(mailbox.look(&context), News { moved: true, stops: false });
        assert_eq!(mailbox.look(&context), News { moved: false, stops: false });
        assert_eq!(mailbox.take().answers.len(), 3);
        mailbox.stop();
        assert_eq!(woken(), 2);
        assert_eq!(mailbox.look(&context), News { moved: false, stops: true });
    }

    #[test]
    fn it_is_full_of_answers_and_empty_once_it_is_closed() {
        let mailbox = Mailbox::default();
        for link in 0..MOST as u64 {
            assert!(!mailbox.is_full());
            mailbox.answer(FromControl::Linked { link });
        }
        assert!(mailbox.is_full());
        mailbox.close();
        mailbox.answer(FromControl::Linked { link: 0 });
        assert_eq!(mailbox.take().answers.len(), 0);
    }
}
