//! Request collapsing: the fetches that run, and what requests that wait on one see of it. Who asks
//! the upstream, judges the answer and stores it is [`crate::fill`].

mod inflight;
mod shared;

pub(crate) use inflight::{Collapse, Inflight};
pub(crate) use shared::{
    Answer, Fault, Fill, FillHead, Interim, Keeping, Progress, Purpose, Reader, SliceName,
};
