//! The digest of a key: SipHash-1-3 with a secret, so that no client can aim for a collision. The
//! key itself is still compared on every hit.

use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::{BuildHasherDefault, Hasher};

/// The digest of a key.
pub(crate) type Digest = u128;

/// The secret that keys are digested with. Digests mean the same wherever the secret is the same:
/// a store that outlives the process keeps it with what it stores.
#[derive(Clone)]
pub(crate) struct DigestSecret([u8; 16]);

impl DigestSecret {
    /// A new secret.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self::from(bytes))
    }

    /// Digests a key.
    pub(crate) fn digest(&self, key: &[u8]) -> Digest {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        hasher.write(key);
        hasher.finish128().as_u128()
    }
}

/// How maps hash digests.
pub(crate) type ByDigest = BuildHasherDefault<DigestHasher>;

/// The digest is a keyed hash already; hashing it again would be waste.
#[derive(Default)]
pub(crate) struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 = self.0.rotate_left(31) ^ u64::from_le_bytes(word);
        }
    }

    fn write_u128(&mut self, digest: u128) {
        // Truncation is meant: either half is as good as the whole.
        self.0 = digest as u64;
    }
}

impl From<[u8; 16]> for DigestSecret {
    fn from(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"http://example.com/a";

    /// SipHash-1-3-128 of `KEY` by an independent implementation. A store keeps digests: were they
    /// to change, it would lose what it holds.
    const GOLDEN: Digest = 0x646f_a41d_d15a_a603_2d21_15d3_4833_9da9;

    #[test]
    fn a_secret_that_is_kept_gives_the_same_digests_in_every_process() {
        let secret = DigestSecret::from(*b"0123456789abcdef");
        assert_eq!(secret.digest(KEY), GOLDEN);
        assert_ne!(secret.digest(b"http://example.com/b"), GOLDEN);
    }

    #[test]
    fn secrets_differ_unless_one_is_given() {
        let digest = || DigestSecret::random().unwrap().digest(KEY);
        assert_ne!(digest(), digest());
    }
}
