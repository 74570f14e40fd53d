//! Work that goes on if whoever waits for it leaves: a client that is gone does not take back what an origin has done.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::runtime::Handle;

/// See the module. It is polled by whoever waits for it, and needs no task of its own until that one is gone.
pub(crate) struct Outliving<F: Future + 'static> {
    work: Option<Pin<Box<F>>>,
}

impl<F: Future + 'static> Outliving<F> {
    /// This work, on a thread that runs tasks which stay there.
    pub(crate) fn new(work: F) -> Self {
        Self { work: Some(Box::pin(work)) }
    }
}

impl<F: Future + 'static> Future for Outliving<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // Nobody waits for what has ended.
        let Some(work) = &mut self.work else { return Poll::Pending };
        let polled = work.as_mut().poll(context);
        if polled.is_ready() {
            self.work = None;
        }
        polled
    }
}

impl<F: Future + 'static> Drop for Outliving<F> {
    fn drop(&mut self) {
        let Some(work) = self.work.take() else { return };
        // A thread that ends goes on with nothing.
        if Handle::try_current().is_ok() {
            tokio::task::spawn_local(async move {
                work.await;
            });
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::sync::oneshot;

    fn run<T>(future: impl Future<Output = T>) -> T {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.build_local(tokio::runtime::LocalOptions::default()).unwrap().block_on(future)
    }

    #[test]
    fn work_ends_though_whoever_waited_for_it_is_gone() {
        run(async {
            let (tell, told) = oneshot::channel();
            let (end, ended) = oneshot::channel();
            let mut work = Outliving::new(async move {
                let _ = end.send(told.await);
            });
            let waits = poll_fn(|cx| Poll::Ready(Pin::new(&mut work).poll(cx).is_pending())).await;
            assert!(waits);
            drop(work);
            tell.send(7).unwrap();
            assert_eq!(ended.await.unwrap(), Ok(7));
        });
    }

    #[test]
    fn work_that_is_waited_for_ends_there_and_goes_on_nowhere_without_a_runtime() {
        assert_eq!(run(Outliving::new(async { 7 })), 7);
        drop(Outliving::new(std::future::pending::<()>()));
    }
}
