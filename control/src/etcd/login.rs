//! Who control is to a cluster that asks for a user: what stands for its name and password.
//!
//! A cluster ends what it gave when it likes: after a time, when a password changes, when a member starts again. It
//! is then asked for another one. Of those who need it at once, one asks: a password takes etcd's processor long.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use weir_config::Secret;

/// How long a user and a password that were refused are not tried again.
const REFUSED_FOR: Duration = Duration::from_secs(2);

/// What the cluster gave for the name and the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// This token.
    Token(String),
    /// Nothing: it asks for no user.
    Unasked,
}

/// A user and its password.
pub(super) type User = (String, Secret);

/// See the module.
#[derive(Default)]
pub(super) struct Login {
    state: Mutex<State>,
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    user: Option<User>,
    pass: Option<Pass>,
    /// When the user was refused last, and why.
    refused: Option<(Instant, String)>,
}

impl Login {
    pub(super) fn new(user: Option<User>) -> Self {
        let state = State { user, ..State::default() };
        Self { state: Mutex::new(state), turn: tokio::sync::Mutex::default() }
    }

    /// From now on it is this user. What an earlier one was given is of use until the cluster ends it.
    pub(super) fn is_now(&self, user: Option<User>) {
        let mut state = self.state();
        let renamed =
            state.user.as_ref().map(|(name, _)| name) != user.as_ref().map(|(name, _)| name);
        if renamed {
            state.pass = None;
        }
        state.refused = None;
        state.user = user;
    }

    /// The user; `None` where the configuration has none.
    pub(super) fn user(&self) -> Option<User> {
        self.state().user.clone()
    }

    /// What was given, while it is not known to be over.
    pub(super) fn pass(&self) -> Option<Pass> {
        self.state().pass.clone()
    }

    /// Waits for the turn to ask.
    pub(super) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Why the user is not tried now: it was refused a moment ago.
    pub(super) fn refusal(&self, now: Instant) -> Option<String> {
        let state = self.state();
        let (at, why) = state.refused.as_ref()?;
        (now.saturating_duration_since(*at) < REFUSED_FOR).then(|| why.clone())
    }

    /// The cluster gave this to `user`.
    pub(super) fn given(&self, user: &User, pass: Pass) {
        let mut state = self.state();
        if state.user.as_ref() == Some(user) {
            (state.pass, state.refused) = (Some(pass), None);
        }
    }

    /// The cluster refused `user`.
    pub(super) fn refused(&self, user: &User, why: String, now: Instant) {
        let mut state = self.state();
        if state.user.as_ref() == Some(user) {
            state.refused = Some((now, why));
        }
    }

    /// What was shown is over, if it is what is known.
    pub(super) fn over(&self, shown: &Pass) {
        let mut state = self.state();
        if state.pass.as_ref() == Some(shown) {
            state.pass = None;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, password: &str) -> User {
        (name.to_owned(), Secret::new(password.to_owned()))
    }

    fn token(text: &str) -> Pass {
        Pass::Token(text.to_owned())
    }

    #[test]
    fn a_token_that_another_one_replaced_ends_nothing() {
        let login = Login::new(Some(user("weir", "one")));
        login.given(&user("weir", "one"), token("a"));
        login.over(&token("a"));
        assert_eq!(login.pass(), None);
        login.given(&user("weir", "one"), token("b"));
        login.over(&token("a"));
        assert_eq!(login.pass(), Some(token("b")), "of who asked before it was over");
    }

    #[test]
    fn a_new_password_keeps_what_was_given_and_is_tried_at_once() {
        let (login, now) = (Login::new(Some(user("weir", "one"))), Instant::now());
        login.given(&user("weir", "one"), token("a"));
        login.refused(&user("weir", "one"), "wrong".to_owned(), now);
        assert_eq!(login.refusal(now).as_deref(), Some("wrong"));
        assert_eq!(login.refusal(now + REFUSED_FOR), None);
        login.is_now(Some(user("weir", "two")));
        assert_eq!(login.refusal(now), None);
        assert_eq!(login.pass(), Some(token("a")));
        // What is said of a password that is not used any more tells nothing of the one that is.
        login.refused(&user("weir", "one"), "wrong".to_owned(), now);
        assert_eq!(login.refusal(now), None);
        login.is_now(Some(user("other", "two")));
        assert_eq!(login.pass(), None);
    }
}
