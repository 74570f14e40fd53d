//! Sealing what control and edges share for TLS.
//!
//! Each item has a key of its own, derived (HKDF, RFC 5869) from the shared secret and 32 random bytes that stand
//! before the ciphertext, so that no key meets two nonces. ChaCha20-Poly1305 (RFC 8439) seals; purpose, host and
//! version are associated data: an item cannot pass for another one, nor for another version.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Prk, Salt};
use std::fmt;
use weir_config::{Acme, Secret};
use weir_protocol::sealed::{ItemName, Sealed};

/// What the shared secret is extracted with.
const EXTRACT: &[u8] = b"weir tls.acme.secret 1";

/// What the key of an item is derived for.
const EXPAND: &[u8] = b"weir item 1";

/// Random bytes before the ciphertext.
const SALT: usize = 32;

/// Longest item that is opened, bytes of base64: a key with a long chain takes some 30 KiB.
const LONGEST: usize = 4 << 20;

/// Seals and opens with the secret that control and edges share.
#[derive(Clone)]
pub struct Seal {
    /// The first one seals, all open.
    keys: Vec<Prk>,
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").finish_non_exhaustive()
    }
}

impl Seal {
    /// With `secret`; what was sealed with `old` is opened, too.
    pub fn new(secret: &Secret, old: Option<&Secret>) -> Self {
        let extract =
            |secret: &Secret| Salt::new(HKDF_SHA256, EXTRACT).extract(secret.reveal().as_bytes());
        Self { keys: [Some(secret), old].into_iter().flatten().map(extract).collect() }
    }

    /// With the secrets of a configuration; `None` if it has none.
    pub fn of(acme: &Acme) -> Option<Self> {
        Some(Self::new(acme.secret.as_ref()?, acme.old_secret.as_ref()))
    }

    /// Seals.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn seal(&self, name: ItemName, plain: &[u8]) -> Result<Sealed, String> {
        let mut salt = [0; SALT];
        getrandom::fill(&mut salt)
            .map_err(|error| format!("the system returned no random bytes: {error}"))?;
        let failed = || "it cannot be sealed".to_owned();
        let key = self.keys.first().and_then(|key| item_key(key, &salt)).ok_or_else(failed)?;
        let mut text = plain.to_vec();
        key.seal_in_place_append_tag(nonce(), Aad::from(bound(&name)), &mut text)
            .map_err(|_| failed())?;
        let sealed = [&salt[..], &text].concat();
        Ok(Sealed { name, sealed: STANDARD_NO_PAD.encode(sealed) })
    }

    /// Opens, and says whether it was sealed with the newest secret.
    ///
    /// # Errors
    /// It was sealed with another secret, for something else, or changed on its way.
    pub fn open(&self, item: &Sealed) -> Result<(Vec<u8>, bool), String> {
        let Sealed { name, sealed } = item;
        let failed = || {
            let what = format!("{} {}", name.purpose.word(), name.host);
            format!("{} cannot be opened with tls.acme.secret_file", what.trim_end())
        };
        if sealed.len() > LONGEST {
            return Err(failed());
        }
        let sealed = STANDARD_NO_PAD.decode(sealed).map_err(|_| failed())?;
        let (salt, text) = sealed.split_at_checked(SALT).ok_or_else(failed)?;
        let bound = bound(name);
        let opened = self.keys.iter().enumerate().find_map(|(place, key)| {
            let key = item_key(key, salt)?;
            let mut text = text.to_vec();
            let plain = key.open_in_place(nonce(), Aad::from(&bound), &mut text).ok()?;
            Some((plain.to_vec(), place == 0))
        });
        opened.ok_or_else(failed)
    }
}

/// The key of the one item that begins with this salt.
fn item_key(key: &Prk, salt: &[u8]) -> Option<LessSafeKey> {
    let purpose = [EXPAND, salt];
    let derived = key.expand(&purpose, &CHACHA20_POLY1305).ok()?;
    Some(LessSafeKey::new(UnboundKey::from(derived)))
}

/// A key is used once, so that the nonce need not differ.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

/// What is bound to an item: no two names give the same.
fn bound(name: &ItemName) -> Vec<u8> {
    let ItemName { purpose, host, version } = name;
    let mut bound = version.to_be_bytes().to_vec();
    for part in [purpose.word(), host] {
        bound.extend((part.len() as u64).to_be_bytes());
        bound.extend(part.as_bytes());
    }
    bound
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use weir_protocol::sealed::Purpose;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    fn name(host: &str) -> ItemName {
        ItemName { purpose: Purpose::Certificate, host: host.to_owned(), version: 7 }
    }

    #[test]
    fn only_who_has_the_secret_opens_and_only_as_what_it_was_sealed() {
        let seal = Seal::new(&secret("a".repeat(32).as_str()), None);
        let item = seal.seal(name("a.test"), b"the key").unwrap();
        assert_eq!(seal.open(&item).unwrap(), (b"the key".to_vec(), true));
        let other = Seal::new(&secret("b".repeat(32).as_str()), None);
        assert!(other.open(&item).is_err());
        for (purpose, host, version) in [
            (Purpose::Challenge, "a.test", 7),
            (Purpose::Certificate, "b.test", 7),
            (Purpose::Certificate, "a.test", 8),
        ] {
            let name = ItemName { purpose, host: host.to_owned(), version };
            assert!(seal.open(&Sealed { name, ..item.clone() }).is_err());
        }
        let again = seal.seal(name("a.test"), b"the key").unwrap();
        assert_ne!(again.sealed, item.sealed, "each item has a key of its own");
    }

    #[test]
    fn what_was_sealed_with_the_old_secret_is_opened_beside_a_new_one() {
        let (old, new) = (secret(&"a".repeat(32)), secret(&"b".repeat(32)));
        let item = Seal::new(&old, None).seal(name("a.test"), b"x").unwrap();
        let both = Seal::new(&new, Some(&old));
        assert_eq!(both.open(&item).unwrap(), (b"x".to_vec(), false));
        let item = both.seal(name("a.test"), b"x").unwrap();
        assert!(Seal::new(&old, None).open(&item).is_err());
        assert_eq!(Seal::new(&new, None).open(&item).unwrap(), (b"x".to_vec(), true));
    }

    proptest! {
        #[test]
        fn whatever_is_changed_is_not_opened(
            plain in proptest::collection::vec(any::<u8>(), 0..100),
            at in any::<prop::sample::Index>(),
            bit in 0_u8..8,
            text in ".{0,80}",
        ) {
            let seal = Seal::new(&secret(&"a".repeat(32)), None);
            let item = seal.seal(name("a.test"), &plain).unwrap();
            prop_assert_eq!(seal.open(&item).unwrap().0, plain);
            let mut bytes = STANDARD_NO_PAD.decode(&item.sealed).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let changed = Sealed { sealed: STANDARD_NO_PAD.encode(bytes), ..item.clone() };
            prop_assert!(seal.open(&changed).is_err());
            let other = Sealed { sealed: text, ..item };
            prop_assert!(seal.open(&other).is_err());
        }
    }
}
