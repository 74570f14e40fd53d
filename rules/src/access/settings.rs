//! The access settings of a rule.

use super::htpasswd::Users;
use super::rate::Rate;
use super::referer::Referers;
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::Arc;

/// What a rule demands of the requests that it matches. All of it must be satisfied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The networks of the clients that may send them; `None` is any.
    pub allow: Option<Vec<IpNet>>,
    /// The networks of clients that may not.
    pub deny: Option<Vec<IpNet>>,
    /// The pages that may cause them.
    pub referer: Option<Referers>,
    /// Whether they must be signed ([`super::signed`]).
    pub signed: bool,
    /// How many may be sent.
    pub rate: Option<Rate>,
    /// Who may send them.
    pub basic_auth: Option<BasicAuth>,
}

/// Users with passwords (RFC 7617).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasicAuth {
    /// The realm, visible ASCII without quotes and backslashes.
    pub realm: Box<str>,
    /// The users.
    pub users: Arc<Users>,
    /// Whether the origin gets the credentials. They then bear on storing (RFC 9111 §3.5).
    pub forward: bool,
}

impl Access {
    /// Whether a client may send requests; `None` is one whose address is not known.
    ///
    /// # Errors
    /// Why not.
    pub fn judge_client(&self, client: Option<IpAddr>) -> Result<(), super::Refusal> {
        let client = client.map(|client| client.to_canonical());
        let lies_in = |networks: &[IpNet], unknown| {
            let within = |client| networks.iter().any(|network| network.contains(&client));
            client.map_or(unknown, within)
        };
        if self.deny.as_deref().is_some_and(|networks| lies_in(networks, true)) {
            return Err(super::Refusal::Denied);
        }
        match self.allow.as_deref().is_none_or(|networks| lies_in(networks, false)) {
            true => Ok(()),
            false => Err(super::Refusal::NotAllowed),
        }
    }

    /// Whether responses differ by who asks, so that no other cache may store them.
    pub fn is_personal(&self) -> bool {
        self.allow.is_some() || self.signed || self.basic_auth.is_some()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::Refusal;
    use super::*;

    #[test]
    fn who_is_denied_is_refused_whatever_is_allowed() {
        let networks =
            |texts: &[&str]| Some(texts.iter().map(|text| text.parse().unwrap()).collect());
        let access = Access {
            allow: networks(&["192.0.2.0/24", "2001:db8::/32"]),
            deny: networks(&["192.0.2.128/25"]),
            ..Access::default()
        };
        let judge = |access: &Access, client: &str| access.judge_client(client.parse().ok());
        for client in ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1"] {
            assert_eq!(judge(&access, client), Ok(()), "{client}");
        }
        for client in ["192.0.2.128", "::ffff:192.0.2.129", "unknown"] {
            assert_eq!(judge(&access, client), Err(Refusal::Denied), "{client}");
        }
        assert_eq!(judge(&access, "198.51.100.1"), Err(Refusal::NotAllowed));
        let only_allow = Access { deny: None, ..access };
        assert_eq!(judge(&only_allow, "unknown"), Err(Refusal::NotAllowed));
        assert_eq!(judge(&Access::default(), "unknown"), Ok(()));
    }
}
