//! What the store takes of memory for each response, counted where it is allocated.

#![allow(clippy::unwrap_used)]
// A counting allocator cannot be written without.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use weir_store::disk::Directory;
use weir_store::{Checkpoint, Geometry, Options, ResponseHead, Stamps, Volume};

struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn head(number: u64) -> ResponseHead {
    ResponseHead {
        url: number.wrapping_add(1).wrapping_mul(0xD6E8_FEB8_6659_FD93),
        key: format!("http://h/{number}").into(),
        selecting: Vec::new().into(),
        site: "s".into(),
        tags: Vec::new(),
        fields: Vec::new().into(),
        stamps: Stamps::default(),
    }
}

/// The figure is for the volume as a whole: index, slots, journal, the segment that is written.
#[test]
fn a_response_takes_at_most_40_bytes_of_memory() {
    const MOST: u64 = 600_000;
    let path: PathBuf = std::env::temp_dir().join(format!("weir-index-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    let disk = Arc::new(Directory::open(&path).unwrap());
    let geometry = Geometry::of_size(256 << 20).unwrap();
    let before = ALLOCATED.load(Ordering::Relaxed);
    let options = Options::new(geometry, 4 << 20);
    let (volume, _) = Volume::open(disk, options).unwrap();
    let moment = volume.checkpoint(&Checkpoint::default());
    volume.commit(moment).unwrap();
    let (mut highest, mut lowest) = (0.0f64, f64::MAX);
    let mut check = |number: u64| {
        let live = volume.held().0;
        assert_eq!(live as u64, number, "something was refused or evicted");
        let each = (ALLOCATED.load(Ordering::Relaxed) - before) as f64 / live as f64;
        (highest, lowest) = (highest.max(each), lowest.min(each));
    };
    for number in 1..=MOST {
        volume.put(head(number), Vec::new(), None).unwrap();
        if number % 1000 == 0 {
            while volume.work(usize::MAX) {}
            // As removals are committed, about once a second.
            if number % 20_000 == 0 {
                volume.settle().unwrap();
            }
            if number >= MOST / 2 {
                check(number);
            }
        }
    }
    // Down again: half of them are removed.
    for number in 1..=MOST / 2 {
        volume.remove_url(head(number).url);
        if number % 10_000 == 0 {
            let moment = volume.checkpoint(&Checkpoint::default());
            volume.commit(moment).unwrap();
            check(MOST - number);
        }
    }
    println!("between {lowest:.1} and {highest:.1} bytes a response");
    drop(volume);
    std::fs::remove_dir_all(&path).unwrap();
    assert!(highest <= 40.0, "{highest:.1} bytes");
}
