//! Passwords are checked off the workers, because bcrypt takes long on purpose: a few at a time, each once
//! however many requests wait for it, and with a bounded queue. Those that were right are remembered for some
//! minutes by a keyed hash, so that their next requests wait for nothing.

use crate::error::StartError;
use moka::sync::Cache;
use ring::hmac;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OnceCell, Semaphore};
use weir_rules::access::Refusal;
use weir_rules::access::attempts::Attempts;
use weir_rules::client_share::Prefix;
use weir_rules::time::Time;

/// How long a password that was right is remembered.
const REMEMBERED: Duration = Duration::from_secs(300);

/// Part of the queue that passwords of one client prefix may take.
const PART: usize = 4;

/// What is known of passwords.
pub(crate) struct Passwords {
    secret: hmac::Key,
    right: Cache<Hash, ()>,
    attempts: Mutex<Attempts>,
    waiting: Mutex<HashMap<Hash, Waiting>>,
    /// A place for each that is checked at the same time.
    places: Arc<Semaphore>,
}

/// The keyed hash of a password together with the hash that it is compared with.
type Hash = [u8; 32];

/// A password that waits to be checked, or is.
struct Waiting {
    prefix: Prefix,
    is_right: Arc<OnceCell<bool>>,
}

/// A password, and what it is compared with.
pub(crate) struct Check<'a> {
    /// The password.
    pub(crate) password: &'a [u8],
    /// The hash of bcrypt.
    pub(crate) hash: &'a str,
    /// Whether that is the user's; else it is somebody's, so that the time says nothing of who there is.
    pub(crate) is_of_user: bool,
    /// The client prefix that a wrong one counts for.
    pub(crate) prefix: Prefix,
}

impl Passwords {
    /// Remembers at most so many passwords and prefixes, and checks so many passwords at the same time.
    ///
    /// # Errors
    /// The system returned no random numbers.
    pub(crate) fn new(most: usize, at_once: usize) -> Result<Self, StartError> {
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| {
            StartError(format!("the system returned no random numbers: {error}"))
        })?;
        Ok(Self {
            secret: hmac::Key::new(hmac::HMAC_SHA256, &random),
            right: Cache::builder().max_capacity(most as u64).time_to_live(REMEMBERED).build(),
            attempts: Mutex::new(Attempts::new(most)),
            waiting: Mutex::default(),
            places: Arc::new(Semaphore::new(at_once.max(1))),
        })
    }

    /// Forgets which passwords were right.
    pub(crate) fn forget(&self) {
        self.right.invalidate_all();
    }

    /// Whether a password was right a short while ago.
    pub(crate) fn is_known(&self, check: &Check<'_>) -> bool {
        check.is_of_user && self.right.contains_key(&self.hash(check))
    }

    /// Whether a password is right. At most `queue` wait.
    ///
    /// # Errors
    /// It is not checked: too many wait, or too many from its prefix were wrong.
    pub(crate) async fn is_right(
        &self,
        check: &Check<'_>,
        queue: usize,
        now: Time,
    ) -> Result<bool, Refusal> {
        if self.is_known(check) {
            return Ok(true);
        }
        let hash = self.hash(check);
        let place = self.wait(hash, check.prefix, queue)?;
        let is_right = place.is_right.get_or_try_init(|| self.compared(hash, check, now));
        is_right.await.copied()
    }

    async fn compared(&self, key: Hash, check: &Check<'_>, now: Time) -> Result<bool, Refusal> {
        // Only a closed semaphore gives no place.
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| Refusal::Busy)?;
        self.attempts().begin(check.prefix, now).map_err(|wait| {
            Refusal::Attempts(u32::try_from(wait.div_ceil(1000)).unwrap_or(u32::MAX))
        })?;
        let (password, hash) = (check.password.to_vec(), check.hash.to_owned());
        let compared = tokio::task::spawn_blocking(move || {
            let _place = place;
            bcrypt::verify(password, &hash).unwrap_or(false)
        });
        let is_right = compared.await.map_err(|_| Refusal::Busy)? && check.is_of_user;
        if is_right {
            self.attempts().was_right(check.prefix, now);
            self.right.insert(key, ());
        }
        Ok(is_right)
    }

    /// A place among those that wait.
    fn wait(&self, hash: Hash, prefix: Prefix, queue: usize) -> Result<Place<'_>, Refusal> {
        let mut waiting = self.waiting();
        if !waiting.contains_key(&hash) {
            let of_prefix = waiting.values().filter(|waiting| waiting.prefix == prefix).count();
            if waiting.len() >= queue || of_prefix >= (queue / PART).max(1) {
                return Err(Refusal::Busy);
            }
        }
        let entry = waiting.entry(hash);
        let entry = entry.or_insert_with(|| Waiting { prefix, is_right: Arc::default() });
        Ok(Place { passwords: self, hash, is_right: Arc::clone(&entry.is_right) })
    }

    fn hash(&self, check: &Check<'_>) -> Hash {
        let mut context = hmac::Context::with_key(&self.secret);
        context.update(&(check.hash.len() as u64).to_be_bytes());
        context.update(check.hash.as_bytes());
        context.update(&[u8::from(check.is_of_user)]);
        context.update(check.password);
        context.sign().as_ref().try_into().unwrap_or_default()
    }

    fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Hash, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request's place among those that wait for a password to be checked.
struct Place<'a> {
    passwords: &'a Passwords,
    hash: Hash,
    is_right: Arc<OnceCell<bool>>,
}

impl Drop for Place<'_> {
    /// The last that waits takes the entry along.
    fn drop(&mut self) {
        let mut waiting = self.passwords.waiting();
        let is_last = Arc::strong_count(&self.is_right) <= 2;
        let is_it = |waiting: &Waiting| Arc::ptr_eq(&waiting.is_right, &self.is_right);
        if is_last && waiting.get(&self.hash).is_some_and(is_it) {
            waiting.remove(&self.hash);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use weir_rules::access::attempts::BURST;

    fn prefix(last: u8) -> Prefix {
        Prefix::of([192, 0, 2, last].into())
    }

    fn check<'a>(password: &'a str, hash: &'a str, last: u8) -> Check<'a> {
        Check { password: password.as_bytes(), hash, is_of_user: true, prefix: prefix(last) }
    }

    async fn judged(passwords: &Passwords, check: &Check<'_>) -> Result<bool, Refusal> {
        passwords.is_right(check, 64, Time::from_secs(1000)).await
    }

    #[tokio::test]
    async fn a_right_password_is_remembered_until_it_is_forgotten() {
        let passwords = Passwords::new(100, 1).unwrap();
        let (hash, other) =
            (bcrypt::hash("secret", 4).unwrap(), bcrypt::hash("secret", 4).unwrap());
        let right = check("secret", &hash, 1);
        assert!(!passwords.is_known(&right));
        assert_eq!(judged(&passwords, &right).await, Ok(true));
        assert!(passwords.is_known(&right));
        assert!(!passwords.is_known(&check("secre", &hash, 1)));
        assert!(!passwords.is_known(&check("secret", &other, 1)), "another user's");
        assert_eq!(judged(&passwords, &check("wrong", &hash, 1)).await, Ok(false));
        assert!(!passwords.is_known(&check("wrong", &hash, 1)));
        passwords.forget();
        assert!(!passwords.is_known(&right));
        assert!(passwords.waiting().is_empty());
    }

    #[tokio::test]
    async fn nobody_is_let_in_by_the_password_of_somebody_else() {
        let passwords = Passwords::new(100, 1).unwrap();
        let hash = bcrypt::hash("secret", 4).unwrap();
        assert_eq!(judged(&passwords, &check("secret", &hash, 1)).await, Ok(true));
        let stranger = Check { is_of_user: false, ..check("secret", &hash, 1) };
        assert_eq!(judged(&passwords, &stranger).await, Ok(false));
        assert!(!passwords.is_known(&stranger));
    }

    #[tokio::test]
    async fn a_prefix_with_wrong_passwords_waits_unless_its_password_is_known() {
        let passwords = Passwords::new(100, 1).unwrap();
        let (hash, other) = (bcrypt::hash("secret", 4).unwrap(), bcrypt::hash("other", 4).unwrap());
        assert_eq!(judged(&passwords, &check("secret", &hash, 1)).await, Ok(true));
        for n in 0..BURST {
            let guess = format!("guess {n}");
            assert_eq!(judged(&passwords, &check(&guess, &hash, 1)).await, Ok(false));
        }
        let right = check("other", &other, 1);
        assert_eq!(judged(&passwords, &right).await, Err(Refusal::Attempts(3)));
        assert_eq!(judged(&passwords, &check("secret", &hash, 1)).await, Ok(true));
        assert_eq!(judged(&passwords, &check("other", &other, 2)).await, Ok(true));
    }

    /// Requests of one page that come at once must not have the password checked for each.
    #[tokio::test]
    async fn what_many_wait_for_is_checked_once() {
        let passwords = Arc::new(Passwords::new(100, 1).unwrap());
        let hash: Arc<str> = bcrypt::hash("secret", 4).unwrap().into();
        let all: Vec<_> = (0..5 * BURST)
            .map(|_| {
                let (passwords, hash) = (Arc::clone(&passwords), Arc::clone(&hash));
                tokio::spawn(async move { judged(&passwords, &check("wrong", &hash, 1)).await })
            })
            .collect();
        for one in all {
            assert_eq!(one.await.unwrap(), Ok(false), "one wrong password, not a hundred");
        }
        assert!(passwords.waiting().is_empty());
    }

    #[tokio::test]
    async fn the_queue_is_bounded_and_no_prefix_takes_it_all() {
        let passwords = Passwords::new(100, 1).unwrap();
        let mut places = Vec::new();
        let mut wait = |number: u8, last: u8| match passwords.wait([number; 32], prefix(last), 8) {
            Ok(place) => places.push(place),
            Err(refusal) => assert_eq!(refusal, Refusal::Busy),
        };
        for number in 0..4 {
            wait(number, 1);
        }
        for number in 10..30 {
            wait(number, number);
        }
        assert_eq!(places.len(), 8);
        assert_eq!(places.iter().filter(|place| place.hash[0] < 4).count(), 2);
        drop(places);
        assert!(passwords.waiting().is_empty());
    }
}
