//! What the policy keeps is what a volume keeps, but for what it says of the size of records.

use crate::world::Random;
use bytes::Bytes;
use std::sync::Arc;
use weir_store::disk::simulated::SimulatedDisk;
use weir_store::volume::Body;
use weir_store::{Checkpoint, Geometry, Options, ResponseHead, Stamps, Volume, VolumePolicy};

const GEOMETRY: Geometry = Geometry { segment: 64 << 10, slots: 12, slice: 16 << 10 };
const HEAD: usize = 64;

struct Real(Arc<Volume>);

impl Real {
    fn new() -> Self {
        let disk = Arc::new(SimulatedDisk::default());
        let (volume, _) = Volume::open(disk, Options::new(GEOMETRY, 1 << 20)).unwrap();
        volume.commit(volume.checkpoint(&Checkpoint::default())).unwrap();
        Self(Arc::new(volume))
    }

    fn key(url: u64) -> Bytes {
        let mut key = url.to_le_bytes().to_vec();
        key.resize(HEAD, b'k');
        key.into()
    }

    /// Whether all of a response is there.
    fn get(&self, url: u64) -> bool {
        let Ok(Some(stored)) = self.0.get(url, &Self::key(url)) else { return false };
        match stored.body {
            Body::Whole(_) | Body::Cached(_) => true,
            Body::Sliced { objects, length } => {
                let slices = length.div_ceil(u64::from(GEOMETRY.slice)) as u32;
                let mut is_whole = true;
                for number in 0..slices {
                    is_whole &=
                        self.0.get_slice(url, &objects, number).is_ok_and(|it| it.is_some());
                }
                is_whole
            }
        }
    }

    fn put(&self, url: u64, length: usize) {
        let head = ResponseHead {
            url,
            key: Self::key(url),
            selecting: Bytes::new(),
            site: "".into(),
            tags: Vec::new(),
            fields: Bytes::new(),
            stamps: Stamps::default(),
        };
        let body = Bytes::from(vec![7; length]);
        let slice = GEOMETRY.slice as usize;
        if length <= slice {
            self.0.put(head, vec![body], None).unwrap();
        } else {
            let object = self.0.begin_object(url, &head.key, &[]);
            for (number, begin) in (0..length).step_by(slice).enumerate() {
                let slice = body.slice(begin..length.min(begin + slice));
                object.slice(number as u32, slice).unwrap();
                while self.0.work(usize::MAX) {}
            }
            object.commit(head, length as u64, None).unwrap();
        }
        while self.0.work(usize::MAX) {}
    }
}

/// Requests of a popular hundred and of others, some of them long; `hits` of both, and in how many requests
/// they differed.
fn compared(seed: u64, longest: u64) -> (usize, usize, usize) {
    let (real, mut policy) = (Real::new(), VolumePolicy::new(GEOMETRY));
    let mut random = Random::new(seed);
    let (mut of_real, mut of_policy, mut differ) = (0, 0, 0);
    for _ in 0..6_000 {
        let url = match random.chance(60) {
            true => random.below(100),
            false => random.below(4_000),
        };
        let length = (mixed(url) % longest) as usize;
        let (is_held, is_kept) = (real.get(url), policy.get(url).is_some());
        of_real += usize::from(is_held);
        of_policy += usize::from(is_kept);
        differ += usize::from(is_held != is_kept);
        if !is_held {
            real.put(url, length);
        }
        if !is_kept {
            policy.put(url, HEAD, length as u64, 0);
        }
    }
    (of_real, of_policy, differ)
}

fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed ^ (mixed >> 27)
}

#[test]
fn a_policy_finds_what_a_volume_finds() {
    for (seed, longest) in [(1, 4_000), (2, 15_000), (3, 50_000)] {
        let (real, policy, differ) = compared(seed, longest);
        assert!(real > 400, "a hit ratio that means something: {real}");
        // Sizes of records are not exact: segments end a record earlier or later.
        assert!(real.abs_diff(policy) < 15, "{longest}: {real} hits, and {policy}");
        assert!(differ < 30, "{longest}: {differ} of 6000 requests");
    }
}
