//! The text of a token.

use ipnet::IpNet;
use std::fmt;

/// Longest token that is read, bytes.
const LONGEST: usize = 256;

/// Most segments of a prefix.
const DEEPEST: u8 = 64;

/// What a signed URL carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The id of the key: letters, digits, `-`, `_` and `.`.
    pub key: String,
    /// When it expires, in seconds since the Unix epoch: from this second on it does not hold.
    pub expires: u64,
    /// Of how many segments the prefix is that it is for, at most 64; `None` is for one path.
    pub depth: Option<u8>,
    /// The network of the clients that it is for.
    pub network: Option<IpNet>,
    pub(super) mac: [u8; 32],
}

impl Token {
    /// A token that is not signed yet.
    pub fn unsigned(key: &str, expires: u64) -> Self {
        Self { key: key.to_owned(), expires, depth: None, network: None, mac: [0; 32] }
    }

    /// Reads a token. Each has one spelling only.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let mut parts = text.split('~');
        let mut part = || parts.next();
        let ("v1", key, expires, depth, network, mac) =
            (part()?, part()?, part()?, part()?, part()?, part()?)
        else {
            return None;
        };
        let token = Self {
            key: key.to_owned(),
            expires: expires.parse().ok()?,
            depth: optional(depth)?,
            network: optional(network)?,
            mac: bytes(mac)?,
        };
        let is_id = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        let fits = part().is_none()
            && !key.is_empty()
            && key.bytes().all(is_id)
            && token.depth.is_none_or(|depth| depth <= DEEPEST)
            && token.network.is_none_or(|network| network.trunc() == network);
        (fits && token.to_string() == text).then_some(token)
    }

    pub(super) fn depth_text(&self) -> String {
        self.depth.map_or_else(|| "-".to_owned(), |depth| depth.to_string())
    }

    pub(super) fn network_text(&self) -> String {
        self.network.map_or_else(|| "-".to_owned(), |network| network.to_string())
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, expires, mac, .. } = self;
        write!(f, "v1~{key}~{expires}~{}~{}~", self.depth_text(), self.network_text())?;
        mac.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn optional<T: std::str::FromStr>(text: &str) -> Option<Option<T>> {
    match text {
        "-" => Some(None),
        text => text.parse().ok().map(Some),
    }
}

fn bytes(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if hex.len() != 2 * bytes.len() || !hex.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}
