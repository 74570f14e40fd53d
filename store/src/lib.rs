//! A log-structured store of responses on disk.

pub mod checkpoint;
mod format;
pub mod disk;
mod index;
mod journal;
mod geometry;
mod response;

pub use checkpoint::Checkpoint;
pub use format::{FORMAT_VERSION, StoreId};
pub use geometry::Geometry;
pub use response::{ResponseHead, Seq, Stamps};
