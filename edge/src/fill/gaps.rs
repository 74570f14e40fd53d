//! Reads a file that is stored in slices, for one response: what is on disk from there, and what is missing
//! from fetches that all share.

use super::context::FillContext;
use super::slice::joining;
use super::task::FillTask;
use super::withdraw::Withdrawable;
use crate::collapsing::{Answer, Collapse, Fill, FillHead, Progress, Purpose, Reader, SliceName};
use crate::disk::{DiskBody, SLICE, body_on_disk};
use crate::error::UpstreamError;
use crate::metrics::Event;
use crate::store::{BodyBelow, Stored, UrlHash};
use bytes::Bytes;
use std::sync::Arc;
use weir_rules::invalidation::{Seq, Validity};
use weir_rules::slices::Join;

/// Fetches of a slice that may turn out not to answer this response before it gives up.
const FETCHES: usize = 3;

/// A file that is stored in slices, as one response reads it.
pub(crate) struct Gaps {
    context: FillContext,
    url: UrlHash,
    stored: Arc<Stored>,
    file: Arc<DiskBody>,
    reader: SliceReader,
}

/// For whom it is read.
pub(crate) struct SliceReader {
    /// The lowest filled_at_seq that it may get; 0 is no bound.
    pub(crate) least: Seq,
    /// Whether it is a node: it is told once, before the first byte, what the whole response is worth.
    pub(crate) is_node: bool,
}

/// The bytes of a slice from some byte of it on.
pub(crate) enum OpenedSlice {
    /// From disk.
    Here(Bytes),
    /// From a fetch, up to this byte of the file.
    Arriving {
        /// Where they arrive.
        reader: Reader,
        /// One past the last byte of the slice.
        until: u64,
        /// The head of the answer.
        head: Arc<FillHead>,
        /// Whether another response began the fetch.
        joined: bool,
    },
}

/// Why a slice cannot be read.
#[derive(Debug)]
pub(crate) enum Unopened {
    /// The upstream's answer is not that slice.
    NoSlice,
    /// There was no answer.
    Failed(UpstreamError),
}

impl Gaps {
    /// A reading of a stored response; `None` if its body is not on disk.
    pub(crate) fn of(
        context: FillContext,
        url: UrlHash,
        stored: &Arc<Stored>,
        reader: SliceReader,
    ) -> Option<Self> {
        let file = body_on_disk(stored)?;
        Some(Self { context, url, stored: Arc::clone(stored), file, reader })
    }

    /// The bytes from `at` on, of the slice with that byte. While they are fetched, so is the next slice, if
    /// the response goes on there up to `end`.
    ///
    /// # Errors
    /// They cannot be read.
    pub(crate) async fn open(&self, at: u64, end: u64) -> Result<OpenedSlice, Unopened> {
        let number = at / SLICE;
        // What cannot be read is fetched.
        if self.file.has_slice(number)
            && let Ok(bytes) = Arc::clone(&self.file).read(at, Some(end)).await
            && !bytes.is_empty()
        {
            return Ok(OpenedSlice::Here(bytes));
        }
        for _ in 0..FETCHES {
            let (mut reader, joined) = self.fetch(number)?;
            if (number + 1).saturating_mul(SLICE) < end {
                self.fetch_ahead(number + 1);
            }
            let answer = loop {
                if let Progress::Answer(answer) = reader.progress().await {
                    break answer;
                }
            };
            match answer {
                Ok(Answer::Response(head)) if !joined || self.may_use(&head) => {
                    if self.reader.is_node && !self.is_as_told(&head) {
                        return Err(Unopened::NoSlice);
                    }
                    reader.seek(at);
                    let until = head.end.unwrap_or(at);
                    return Ok(OpenedSlice::Arriving { reader, until, head, joined });
                }
                Ok(Answer::NoSlice(_)) if !joined => return Err(Unopened::NoSlice),
                Err(error) if !joined => return Err(Unopened::Failed(error)),
                Ok(_) | Err(_) => {}
            }
        }
        Err(Unopened::NoSlice)
    }

    /// Whether a slice that was fetched for another response may be part of this one: it may be stored, and
    /// no purge took it since its fetch began (invariant I1). Whether the file is fresh was decided with the
    /// head of this response; the slice is of the same file.
    fn may_use(&self, head: &FillHead) -> bool {
        let tags: Vec<&str> = head.tags.iter().map(|tag| &**tag).collect();
        let key = crate::store::KeyText::of(&self.context.key);
        let subject = key.subject(&self.context.site.id, &tags, head.stamps.filled_at);
        let purges = &self.context.state.purges;
        head.terms.is_ok()
            && head.stamps.filled_at >= self.reader.least
            && head.selected_by(&self.context.client.get())
            && purges.judge_since(&subject, head.stamps.valid_at) == Validity::Valid
    }

    /// Whether what a node was told of the file holds for a slice, too.
    fn is_as_told(&self, head: &FillHead) -> bool {
        joining(&self.stored, head) == Join::Covered
    }

    fn name(&self, number: u64) -> SliceName {
        SliceName { body: self.file.first_object(), number }
    }

    /// A place at the fetch of a slice, and whether another response began it.
    fn fetch(&self, number: u64) -> Result<(Reader, bool), Unopened> {
        let (state, place) = (&self.context.state, (self.url, self.context.digest));
        let mut begun = None;
        let start = || {
            let task = self.task(number);
            let fill = Arc::clone(&task.fill);
            begun = Some(task);
            fill
        };
        let fill = match state.inflight.slice(place, self.name(number), start) {
            Collapse::Joined(reader) => return Ok((reader, true)),
            Collapse::Started(fill) => fill,
            Collapse::Stored => return Err(Unopened::NoSlice),
        };
        let reader = fill.join();
        self.run(begun, number);
        Ok((reader.ok_or(Unopened::NoSlice)?, false))
    }

    /// Begins the fetch of a slice that is wanted soon, if it is neither there nor being fetched.
    fn fetch_ahead(&self, number: u64) {
        let (state, place) = (&self.context.state, (self.url, self.context.digest));
        if self.file.has_slice(number) {
            return;
        }
        let mut begun = None;
        state.inflight.slice_ahead(place, self.name(number), || {
            let task = self.task(number);
            let fill = Arc::clone(&task.fill);
            begun = Some(task);
            fill
        });
        self.run(begun, number);
    }

    fn task(&self, number: u64) -> Box<FillTask> {
        let state = &self.context.state;
        // Taken before anything is asked of the upstream (invariant I2).
        let stamp = state.purges.stamp();
        let purpose = Purpose {
            begun: stamp.seq(),
            url: self.url,
            alone: true,
            slice: Some(self.name(number)),
            ..Purpose::default()
        };
        let fill = Fill::new(purpose, state.live.load().limits().fill_window);
        let mut context = self.context.clone();
        context.ask.asker = Some(fill.clone());
        let base = Some(Arc::clone(&self.stored));
        Box::new(FillTask { context, fill, base, withdrawable: Withdrawable::default(), stamp })
    }

    fn run(&self, task: Option<Box<FillTask>>, number: u64) {
        let Some(task) = task else { return };
        self.context.state.metrics[self.context.worker].count(Event::Fill);
        tokio::spawn(task.run_slice(Arc::clone(&self.stored), number));
    }
}
