//! The secret of a node's own, by which it proves that a name is its own.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Random bytes of a secret.
pub const BYTES: usize = 32;

/// A node's secret: 32 random bytes as 64 hexadecimal digits in lower case. Shown by nothing that
/// formats it for people.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeSecret(String);

impl NodeSecret {
    /// The secret that consists of these bytes.
    pub fn new(bytes: &[u8; BYTES]) -> Self {
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Its digits.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for NodeSecret {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        match text.len() == 2 * BYTES && text.bytes().all(digit) {
            true => Ok(Self(text)),
            false => Err("not a secret of a node: it has 64 hexadecimal digits in lower case"),
        }
    }
}

impl From<NodeSecret> for String {
    fn from(secret: NodeSecret) -> Self {
        secret.0
    }
}

impl fmt::Debug for NodeSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeSecret")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_as_it_is_written_and_shown_by_nobody() {
        let secret = NodeSecret::new(&[0xa5; BYTES]);
        let line = serde_json::to_string(&secret).unwrap();
        assert_eq!(line, format!("\"{}\"", "a5".repeat(BYTES)));
        assert_eq!(serde_json::from_str::<NodeSecret>(&line).unwrap(), secret);
        assert_eq!(format!("{secret:?}"), "NodeSecret");
        for other in ["", "a5", &"A5".repeat(BYTES), &"a5".repeat(BYTES + 1), &"é".repeat(BYTES)] {
            assert!(NodeSecret::try_from(other.to_owned()).is_err(), "{other}");
        }
    }
}
