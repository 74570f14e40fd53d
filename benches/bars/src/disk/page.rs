//! What is stored: bodies that follow from their URL, so that one that another URL, another offset or
//! another life of the store left is noticed.

use crate::Error;
use std::net::SocketAddr;
use std::thread::JoinHandle;
use tokio::sync::oneshot;
use weir_origin_sim::pattern::first_difference;
use weir_origin_sim::{Builder, Recorded, Reply, answer_with, reply};

/// A URL, and the body that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// Bytes of its body.
    pub(super) bytes: u64,
    /// Which of those with so many bytes; below 2^32.
    pub(super) number: u64,
}

impl Page {
    pub(super) fn path(self) -> String {
        format!("/{}/{}", self.bytes, self.number)
    }

    fn of_path(path: &str) -> Option<Self> {
        let (bytes, number) = path.strip_prefix('/')?.split_once('/')?;
        Some(Self { bytes: bytes.parse().ok()?, number: number.parse().ok()? })
    }

    fn seed(self) -> u64 {
        self.bytes << 32 | self.number
    }

    /// Whether `received` is what its body has from `offset` on.
    pub(super) fn has_at(self, offset: u64, received: &[u8]) -> bool {
        first_difference(self.seed(), offset, received).is_none()
    }
}

/// The origin of all pages, on a thread of its own until this is dropped.
pub(super) struct Origin {
    /// Where it listens.
    pub(super) at: SocketAddr,
    leave: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Origin {
    pub(super) async fn start() -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (told, at) = oneshot::channel();
        let (leave, left) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                let origin = Builder::default().keep_requests(0).default_route(answer_with(answer));
                let origin = origin.bind().await;
                // Whoever started it may have left.
                let _ = told.send(origin.as_ref().map(|origin| origin.addr()).map_err(|_| ()));
                // Ends when the sender is dropped.
                let _ = left.await;
                drop(origin);
            });
        });
        let at = at.await?.map_err(|()| "the origin could not listen")?;
        Ok(Self { at, leave: Some(leave), thread: Some(thread) })
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        drop(self.leave.take());
        // It has nothing to say.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// With the fields that pages have.
fn answer(request: &Recorded) -> Reply {
    let Some(page) = Page::of_path(request.path()) else {
        return reply("no such page").status(404);
    };
    let made = reply("").body_pattern(page.seed(), page.bytes).ranges(true).max_age(86_400);
    made.etag(format!("\"{:x}\"", page.seed()))
        .last_modified_secs_ago(86_400)
        .content_type("text/html; charset=utf-8")
}
