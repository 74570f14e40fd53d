//! A body that nobody has to hold in memory: the byte at any offset follows from a seed and the
//! offset alone, so a server can send gigabytes of it and a client can verify any slice.
//!
//! Two seeds give two bodies that differ nearly everywhere, and no shift of one equals the other:
//! a slice in the wrong place, or of another version, does not go unnoticed.

/// The byte at `offset` of the body of `seed`.
pub fn byte_at(seed: u64, offset: u64) -> u8 {
    word(seed, offset / 8).to_le_bytes()[(offset % 8) as usize]
}

/// Fills `out` with the bytes of the body of `seed` from `offset` on.
pub fn fill(seed: u64, offset: u64, out: &mut [u8]) {
    let mut at = offset;
    let mut rest = out;
    while !rest.is_empty() {
        let within = (at % 8) as usize;
        let bytes = word(seed, at / 8).to_le_bytes();
        let take = rest.len().min(8 - within);
        let (now, later) = rest.split_at_mut(take);
        now.copy_from_slice(&bytes[within..within + take]);
        rest = later;
        at = at.wrapping_add(take as u64);
    }
}

/// Where `received`, taken to stand at `offset` of the body of `seed`, first differs from it.
pub fn first_difference(seed: u64, offset: u64, received: &[u8]) -> Option<u64> {
    let mut expected = [0; 4096];
    let mut at = offset;
    for chunk in received.chunks(expected.len()) {
        let expected = &mut expected[..chunk.len()];
        fill(seed, at, expected);
        if expected != chunk {
            let within = expected.iter().zip(chunk).position(|(a, b)| a != b)?;
            return Some(at + within as u64);
        }
        at += chunk.len() as u64;
    }
    None
}

/// Eight bytes of the body: a finalizer of two multiplications over position and seed.
fn word(seed: u64, index: u64) -> u64 {
    let mut x = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ seed.wrapping_mul(0xd134_2543_de82_ef95);
    x = (x ^ (x >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    x = (x ^ (x >> 29)).wrapping_mul(0xa076_1d64_78bd_642f);
    x ^ (x >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_slice_equals_the_bytes_at_its_offsets() {
        for (offset, len) in [(0, 64), (3, 1), (5, 100), (u64::from(u32::MAX) - 2, 4099)] {
            let mut slice = vec![0; len];
            fill(7, offset, &mut slice);
            let single: Vec<u8> = (0..len as u64).map(|i| byte_at(7, offset + i)).collect();
            assert_eq!(slice, single);
            assert_eq!(first_difference(7, offset, &slice), None);
        }
    }

    #[test]
    fn a_shift_or_another_seed_is_noticed_where_it_begins() {
        let mut slice = vec![0; 8192];
        fill(1, 0, &mut slice);
        assert!(first_difference(1, 1, &slice).is_some());
        assert!(first_difference(2, 0, &slice).is_some());
        slice[5000] ^= 1;
        assert_eq!(first_difference(1, 0, &slice), Some(5000));
    }
}
