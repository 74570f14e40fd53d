//! What a store counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The counters at work.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        /// What a store counted since it was opened.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            pub(crate) fn counts(&self) -> Counts {
                Counts { $($name: self.$name.get(),)* }
            }
        }

        impl std::ops::AddAssign for Counts {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

counters! {
    /// Records read.
    reads,
    /// Bytes read for them.
    bytes_read,
    /// Bytes of records that the kernel sent from the page cache.
    bytes_sent,
    /// Records written, moved ones too.
    writes,
    /// Bytes written to segments: records, footers, trailers.
    bytes_written,
    /// Bytes that were handed in and written: keys, fields, tags, bodies.
    bytes_admitted,
    /// Responses admitted: in the index after they were written.
    admitted,
    /// Responses refused because the queue was full.
    refused,
    /// Responses dropped after they were taken: replaced, removed, or not covered by a checkpoint, before
    /// they were written.
    dropped,
    /// Records evicted to make room.
    evicted,
    /// Records that were in use and moved when their segment was evicted.
    moved,
    /// Records removed: replaced, purged, invalidated.
    removed,
    /// Reads and writes that failed.
    errors,
    /// Records that were damaged.
    damaged,
    /// Records found when the store was opened.
    recovered,
}
