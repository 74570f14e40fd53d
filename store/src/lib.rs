//! A log-structured store of responses on disk. [`Store`] is a store in several directories with
//! threads of its own, [`Volume`] one directory of it without.

mod admission;
mod checkpoint;
mod counters;
pub mod disk;
mod format;
mod geometry;
mod index;
mod inspect;
mod journal;
mod latency;
mod policy;
mod response;
mod store;
#[doc(hidden)]
pub mod untrusted;
pub mod volume;

pub use admission::{Admission, Admit};
pub use checkpoint::{Checkpoint, SiteRules};
pub use counters::Counts;
pub use format::{FORMAT_VERSION, StoreId, mixed};
pub use geometry::Geometry;
pub use inspect::{InspectError, Stat, Verified, clear, has_any, stat, verify};
pub use journal::Moment;
pub use latency::{Latencies, Latency};
pub use policy::VolumePolicy;
pub use response::{ResponseHead, Seq, Stamps};
pub use store::{
    Began, NotDurable, Observer, SetAside, Status, Store, StoreDirectory, StoreError, StoreFound,
    StoreMoment, StoreOptions, StoreRemoved, StoreWalk,
};
pub use volume::{Options, Volume};
