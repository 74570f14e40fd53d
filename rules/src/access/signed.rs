//! Signed URLs: who has one may fetch what it names until it expires, whoever made it known to them.
//!
//! A token is `v1~KEY~EXPIRES~DEPTH~NETWORK~MAC`, in the parameter or in a cookie named [`NAME`]. `KEY` is the id
//! of a signing key and `EXPIRES` a time in seconds since the Unix epoch. `DEPTH` is `-`, or the number of
//! segments of the path that the token is for: it then takes all paths that begin with these. `NETWORK` is `-`,
//! or the network of the clients that it is for. `MAC` is HMAC-SHA256 in hexadecimal digits over [`Message`].

mod found;
mod token;

pub use found::{remaining_query, remove_cookies, tokens};
pub use token::Token;

use super::spellings::has_one_spelling;
use crate::invalidation::normalised;
use crate::time::Time;
use ring::hmac;
use std::borrow::Cow;
use std::net::IpAddr;

/// The name of the parameter, and of the cookie.
pub const NAME: &str = "weir-token";

/// A key that URLs are signed with.
pub struct SigningKey {
    id: Box<str>,
    key: hmac::Key,
}

impl SigningKey {
    /// The key with this id and secret.
    pub fn new(id: &str, secret: &[u8]) -> Self {
        Self { id: id.into(), key: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// The secret is never shown.
impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Why no token of a request holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureError {
    /// There is none.
    Missing,
    /// It is no token of this version, or there are several.
    Malformed,
    /// It is signed with a key that the site does not have.
    Key,
    /// It is for something else, or was not made with the key.
    Wrong,
    /// It is for all paths that begin like this one, which servers understand in different ways.
    Path,
    /// It has expired.
    Expired,
    /// It is for clients of another network.
    Network,
}

impl SignatureError {
    /// A stable word for Cache-Status detail and the log.
    pub fn word(self) -> &'static str {
        match self {
            Self::Missing => "signature-missing",
            Self::Malformed => "signature-malformed",
            Self::Key => "signature-key",
            Self::Wrong => "signature-wrong",
            Self::Path => "signature-path",
            Self::Expired => "signature-expired",
            Self::Network => "signature-network",
        }
    }

    /// One sentence for the client.
    pub fn message(self) -> &'static str {
        match self {
            Self::Missing => "The URL must be signed.",
            Self::Malformed => "The URL's signature cannot be read.",
            Self::Key => "The URL is signed with a key that is not known.",
            Self::Wrong => "The URL's signature is for another request.",
            Self::Path => {
                "The signature is for a prefix; the path may not have dot segments, empty segments, \
                 path parameters or encoded separators."
            }
            Self::Expired => "The URL's signature has expired.",
            Self::Network => "The URL's signature is for clients of another network.",
        }
    }
}

/// What a signature is about. Its message has a line each for the version (`weir-v1`), the key's id, the site's
/// id, the method, the host, the path or its prefix, the query, the time of expiry, the depth and the network.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The site's id.
    pub site: &'a str,
    /// The request's method. HEAD counts as GET.
    pub method: &'a str,
    /// The host, lower case, without a port.
    pub host: &'a str,
    /// The path as sent.
    pub path: &'a str,
    /// The query as sent, without tokens.
    pub query: Option<&'a str>,
}

impl Message<'_> {
    /// Signs this request.
    ///
    /// # Errors
    /// The path has fewer segments than the token is for, or one that servers understand in different ways.
    pub fn sign(&self, key: &SigningKey, unsigned: Token) -> Result<Token, SignatureError> {
        let text = self.text(&unsigned)?;
        let mac = hmac::sign(&key.key, text.as_bytes());
        Ok(Token { mac: mac.as_ref().try_into().unwrap_or_default(), ..unsigned })
    }

    /// Judges a token that came with this request from `client`, if that is known.
    ///
    /// # Errors
    /// Why it does not hold.
    pub fn judge(
        &self,
        token: &str,
        keys: &[SigningKey],
        client: Option<IpAddr>,
        now: Time,
    ) -> Result<(), SignatureError> {
        let token = Token::parse(token).ok_or(SignatureError::Malformed)?;
        let key = keys.iter().find(|key| *key.id == *token.key).ok_or(SignatureError::Key)?;
        let text = self.text(&token)?;
        // In constant time.
        hmac::verify(&key.key, text.as_bytes(), &token.mac).map_err(|_| SignatureError::Wrong)?;
        if now.as_secs() >= token.expires {
            return Err(SignatureError::Expired);
        }
        let client = client.map(|client| client.to_canonical());
        match token.network {
            Some(network) if !client.is_some_and(|client| network.contains(&client)) => {
                Err(SignatureError::Network)
            }
            _ => Ok(()),
        }
    }

    /// What the MAC is made of. No part has a line feed.
    fn text(&self, token: &Token) -> Result<String, SignatureError> {
        let path = normalised(self.path);
        let covered = match token.depth {
            None => &*path,
            Some(_) if !has_one_spelling(&path) => return Err(SignatureError::Path),
            Some(depth) => prefix(&path, depth).ok_or(SignatureError::Wrong)?,
        };
        let query = self
            .query
            .map_or(Cow::Borrowed(""), |query| Cow::Owned(format!("?{}", normalised(query))));
        let method = if self.method == "HEAD" { "GET" } else { self.method };
        let Token { key, expires, .. } = token;
        let (depth, network) = (token.depth_text(), token.network_text());
        let Self { site, host, .. } = self;
        Ok(format!(
            "weir-v1\n{key}\n{site}\n{method}\n{host}\n{covered}\n{query}\n{expires}\n{depth}\n{network}"
        ))
    }
}

/// The first so many segments of a path, up to and with the slash behind them.
pub fn prefix(path: &str, depth: u8) -> Option<&str> {
    let mut slashes = path.match_indices('/');
    let (end, _) = slashes.nth(depth.into())?;
    Some(&path[..=end])
}

#[cfg(test)]
mod tests;
