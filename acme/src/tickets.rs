//! Session tickets (RFC 5077, RFC 8446 §4.6.1) whose keys all edges have: a client that comes to another edge
//! resumes its session there.

use arc_swap::ArcSwapOption;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use rustls::server::ProducesTickets;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::{Arc, RwLock};

/// Bytes of a key, and of its name.
const KEY: usize = 32;
const NAME: usize = 16;

/// Random bytes of a ticket from which its own key is derived.
const SALT: usize = 16;

/// How long clients may use a ticket, seconds: no longer than two periods of the shortest rotation that makes
/// sense (RFC 8446 §4.6.1 allows a week).
const LIFETIME: u32 = 6 * 3600;

/// The keys of a time: tickets are made with `current`; those of `previous` and `next` are taken, too. An edge
/// that has not heard of a change yet has both keys that others may use.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketKeys {
    /// When `current` became that, milliseconds since the Unix epoch.
    pub since: u64,
    current: Key,
    next: Key,
    previous: Option<Key>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Key {
    name: [u8; NAME],
    key: [u8; KEY],
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKeys").field("since", &self.since).finish_non_exhaustive()
    }
}

impl TicketKeys {
    /// Keys that nobody has had.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn new(now: u64) -> Result<Self, String> {
        Ok(Self { since: now, current: Key::new()?, next: Key::new()?, previous: None })
    }

    /// The keys of the next time.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn rotated(&self, now: u64) -> Result<Self, String> {
        let (current, previous) = (self.next.clone(), Some(self.current.clone()));
        Ok(Self { since: now, current, next: Key::new()?, previous })
    }

    fn named(&self, name: &[u8]) -> Option<&Key> {
        let keys = [Some(&self.current), Some(&self.next), self.previous.as_ref()];
        keys.into_iter().flatten().find(|key| key.name == name)
    }
}

impl Key {
    fn new() -> Result<Self, String> {
        let mut key = Self { name: [0; NAME], key: [0; KEY] };
        let filled = getrandom::fill(&mut key.name).and_then(|()| getrandom::fill(&mut key.key));
        filled.map_err(|error| format!("the system returned no random bytes: {error}"))?;
        Ok(key)
    }

    /// The key of the one ticket that has this salt.
    fn ticket_key(&self, salt: &[u8]) -> Option<LessSafeKey> {
        let extracted = Salt::new(HKDF_SHA256, salt).extract(&self.key);
        let purpose = [&b"weir ticket 1"[..]];
        let derived = extracted.expand(&purpose, &CHACHA20_POLY1305).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(derived)))
    }
}

/// Makes and takes the tickets of a node: with keys that edges share where there are such, else with those of
/// its own.
#[derive(Default)]
pub struct Tickets {
    shared: ArcSwapOption<TicketKeys>,
    own: RwLock<Option<Arc<dyn ProducesTickets>>>,
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

impl Tickets {
    /// Uses these keys from now on; `None` are those of the node alone.
    pub fn share(&self, keys: Option<TicketKeys>) {
        self.shared.store(keys.map(Arc::new));
    }

    /// Takes no ticket any more that was made with the node's own keys.
    ///
    /// # Errors
    /// There are no new keys.
    pub fn renew(&self) -> Result<(), String> {
        let new = rustls::crypto::ring::Ticketer::new().map_err(|error| error.to_string())?;
        *self.own.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(new);
        Ok(())
    }

    /// The node's own; the first use makes them.
    fn own(&self) -> Option<Arc<dyn ProducesTickets>> {
        let own = || self.own.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        if let Some(own) = own() {
            return Some(own);
        }
        self.renew().ok()?;
        own()
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let shared = self.shared.load();
        let Some(keys) = shared.as_ref() else { return self.own()?.encrypt(plain) };
        let mut ticket = keys.current.name.to_vec();
        let mut salt = [0; SALT];
        getrandom::fill(&mut salt).ok()?;
        ticket.extend(salt);
        let mut text = plain.to_vec();
        let key = keys.current.ticket_key(&salt)?;
        // Each ticket has a key of its own.
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        key.seal_in_place_append_tag(nonce, Aad::from(&keys.current.name), &mut text).ok()?;
        ticket.extend(text);
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let shared = self.shared.load();
        let Some(keys) = shared.as_ref() else { return self.own()?.decrypt(ticket) };
        let (name, rest) = ticket.split_at_checked(NAME)?;
        let (salt, text) = rest.split_at_checked(SALT)?;
        let key = keys.named(name)?;
        let mut text = text.to_vec();
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        let opened = key.ticket_key(salt)?.open_in_place(nonce, Aad::from(&key.name), &mut text);
        Some(opened.ok()?.to_vec())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn with(keys: &TicketKeys) -> Tickets {
        let tickets = Tickets::default();
        tickets.share(Some(keys.clone()));
        tickets
    }

    #[test]
    fn a_ticket_is_taken_by_all_that_share_keys_over_one_change_of_them() {
        let first = TicketKeys::new(1).unwrap();
        let second = first.rotated(2).unwrap();
        let third = second.rotated(3).unwrap();
        let ticket = with(&first).encrypt(b"session").unwrap();
        assert_eq!(with(&first).decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(with(&second).decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert!(with(&third).decrypt(&ticket).is_none());
        // An edge that has not heard of the change takes what one that has makes.
        let early = with(&second).encrypt(b"session").unwrap();
        assert!(with(&first).decrypt(&early).is_some());
        assert!(with(&TicketKeys::new(1).unwrap()).decrypt(&ticket).is_none());
    }

    #[test]
    fn what_is_no_ticket_is_not_taken() {
        let tickets = with(&TicketKeys::new(1).unwrap());
        let ticket = tickets.encrypt(b"session").unwrap();
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert!(tickets.decrypt(&changed).is_none());
            assert!(tickets.decrypt(&ticket[..at]).is_none());
        }
    }

    #[test]
    fn without_shared_keys_the_node_has_its_own_and_can_change_them() {
        let tickets = Tickets::default();
        let ticket = tickets.encrypt(b"session").unwrap();
        assert!(tickets.decrypt(&ticket).is_some());
        tickets.renew().unwrap();
        assert!(tickets.decrypt(&ticket).is_none());
    }
}
