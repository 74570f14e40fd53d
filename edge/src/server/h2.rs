//! The streams of an HTTP/2 or HTTP/3 connection: each response is a task of its own, which the sweeper can
//! end when its client leaves the flow-control window shut. HTTP/1 connections have none.

use super::connection::Connection;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::AbortHandle;

/// One stream's task and how its response gets on.
#[derive(Default)]
pub(super) struct Stream {
    task: RefCell<Option<AbortHandle>>,
    /// Worker time (ms) since when a piece of the response has been waiting to be sent; `None`
    /// while the stream waits for us.
    pub(super) sending_since: Cell<Option<u64>>,
}

/// See the module.
#[derive(Default)]
pub(super) struct Streams {
    streams: RefCell<Vec<Rc<Stream>>>,
    /// The stream whose request was handed over, and whose task comes next.
    begun: RefCell<Option<Rc<Stream>>>,
}

impl Streams {
    /// A request begins; its task follows within the same poll of the connection.
    pub(super) fn begin(&self) -> Rc<Stream> {
        let stream = Rc::new(Stream::default());
        *self.begun.borrow_mut() = Some(Rc::clone(&stream));
        stream
    }

    /// Ends the streams that have sent nothing for `bound`; they are reset. Whether all were ended, of
    /// one at least.
    pub(super) fn abort_stalled(&self, now: u64, bound: Duration) -> bool {
        let streams = self.streams.borrow();
        let mut all = !streams.is_empty();
        for stream in streams.iter() {
            let stalled = stream
                .sending_since
                .get()
                .is_some_and(|since| Duration::from_millis(now - since.min(now)) >= bound);
            all &= stalled;
            if stalled && let Some(task) = &*stream.task.borrow() {
                task.abort();
            }
        }
        all
    }

    /// Whether there are none.
    #[cfg(feature = "http3")]
    pub(super) fn is_empty(&self) -> bool {
        self.streams.borrow().is_empty()
    }

    /// Ends all of them.
    pub(super) fn abort_all(&self) {
        for stream in self.streams.borrow().iter() {
            if let Some(task) = &*stream.task.borrow() {
                task.abort();
            }
        }
    }
}

/// Runs the streams' tasks on the worker's runtime.
#[derive(Clone)]
pub(super) struct StreamTasks(pub(super) Rc<Connection>);

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for StreamTasks {
    fn execute(&self, task: F) {
        let streams = &self.0.streams;
        let Some(stream) = streams.begun.borrow_mut().take() else {
            tokio::task::spawn_local(task);
            return;
        };
        let listed = Listed { connection: Rc::clone(&self.0), stream: Rc::clone(&stream) };
        streams.streams.borrow_mut().push(Rc::clone(&stream));
        let task = tokio::task::spawn_local(async move {
            let _listed = listed;
            task.await;
        });
        *stream.task.borrow_mut() = Some(task.abort_handle());
    }
}

struct Listed {
    connection: Rc<Connection>,
    stream: Rc<Stream>,
}

impl Drop for Listed {
    fn drop(&mut self) {
        let streams = &mut *self.connection.streams.streams.borrow_mut();
        if let Some(at) = streams.iter().position(|stream| Rc::ptr_eq(stream, &self.stream)) {
            streams.swap_remove(at);
        }
    }
}
