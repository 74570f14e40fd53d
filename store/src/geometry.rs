//! How a store's file is divided.

use crate::format::trailer::TRAILERS;

/// The sizes of segments and slices, and how many segments there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes of a segment; at most [`Geometry::LARGEST_SEGMENT`].
    pub segment: u32,
    /// Segments; at most [`Geometry::MOST_SLOTS`].
    pub slots: u32,
    /// Bytes of a slice of a body. A longer body is stored in slices.
    pub slice: u32,
}

impl Geometry {
    /// Offsets within a segment have 24 bits, in units of 16 bytes.
    pub const LARGEST_SEGMENT: u32 = 128 << 20;
    /// Numbers of segments have 22 bits.
    pub const MOST_SLOTS: u32 = 1 << 22;
    /// Segments of a store, at least: one is written, one is being emptied.
    pub const FEWEST_SLOTS: u32 = 4;
    /// Bytes of a slice of a body.
    pub const SLICE: u32 = 1 << 20;
    /// Bytes of the smallest store's segment: room for a slice, its record's head and the trailers.
    const SMALLEST_SEGMENT: u32 = 4 << 20;
    /// What is left of a segment of so many bytes, because no further slice fits into it, is less than a tenth.
    const ROOMY_SEGMENT: u32 = 16 << 20;

    /// The geometry of a store of at most so many bytes: about 256 segments of 16 to 128 MiB, or fewer and
    /// smaller ones, of 4 MiB at least, below 256 MiB. `None` if the size is below
    /// [`Geometry::SMALLEST_STORE`] or above what segments can be numbered for.
    pub fn of_size(bytes: u64) -> Option<Self> {
        let [smallest, roomy, largest] =
            [Self::SMALLEST_SEGMENT, Self::ROOMY_SEGMENT, Self::LARGEST_SEGMENT].map(u64::from);
        let few = (bytes / 16).checked_ilog2().map_or(0, |power| 1 << power).min(roomy);
        let segment = (bytes / 256).next_power_of_two().max(few).clamp(smallest, largest);
        let slots = bytes.saturating_sub(Self::JOURNAL_ROOM) / segment;
        let slots = u32::try_from(slots).ok()?;
        (Self::FEWEST_SLOTS..=Self::MOST_SLOTS).contains(&slots).then_some(Self {
            segment: segment as u32,
            slots,
            slice: Self::SLICE,
        })
    }

    /// Bytes of the size that are left to the journal.
    const JOURNAL_ROOM: u64 = 8 << 20;

    /// The least size of a store, in bytes.
    pub const SMALLEST_STORE: u64 =
        Self::JOURNAL_ROOM + (Self::FEWEST_SLOTS as u64) * (Self::SMALLEST_SEGMENT as u64);

    /// Bytes of a segment that records and footers may take.
    pub(crate) fn room(self) -> usize {
        self.segment as usize - TRAILERS
    }

    /// Where a slot begins in the file.
    pub(crate) fn begin(self, slot: u32) -> u64 {
        u64::from(slot) * u64::from(self.segment)
    }

    /// Whether a store can be of this geometry.
    pub(crate) fn is_possible(self) -> bool {
        self.segment <= Self::LARGEST_SEGMENT
            && (Self::FEWEST_SLOTS..=Self::MOST_SLOTS).contains(&self.slots)
            && self.slice > 0
            && self.room() > self.slice as usize
            && self.segment.is_multiple_of(4096)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn slices_fill_the_segments_of_all_but_small_stores() {
        for (bytes, segment) in [(24 << 20, 4), (128 << 20, 8), (256 << 20, 16), (1 << 30, 16)] {
            assert_eq!(Geometry::of_size(bytes).unwrap().segment, segment << 20, "{bytes}");
        }
        for bytes in (8..40).map(|power| 1 << power << 20) {
            let Some(geometry) = Geometry::of_size(bytes) else { continue };
            // A slice, the head of its record, and what the footer says of it.
            let slices = geometry.room() / (geometry.slice as usize + 1_024);
            let used = slices * geometry.slice as usize;
            assert!(geometry.segment as usize * 100 < used * 115, "{bytes}: {geometry:?}");
            assert!(geometry.slots >= 15, "{bytes}: {geometry:?}");
        }
    }

    #[test]
    fn segments_fit_into_the_size() {
        for bytes in [Geometry::SMALLEST_STORE, 1 << 30, (8 << 30) - 1, 1 << 40, 400 << 40] {
            let geometry = Geometry::of_size(bytes).unwrap();
            assert!(geometry.is_possible(), "{bytes}: {geometry:?}");
            assert!(geometry.begin(geometry.slots) <= bytes);
        }
        assert_eq!(Geometry::of_size(Geometry::SMALLEST_STORE - 1), None);
        assert_eq!(Geometry::of_size(u64::MAX), None);
    }
}
