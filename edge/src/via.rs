//! This node in Via (RFC 9110 §7.6.3) and CDN-Loop (RFC 8586 §2).

use http::{HeaderValue, Version};

/// The values that this node appends to Via: the version in which it received the message, and its
/// name.
#[derive(Clone, Debug)]
pub(crate) struct Via {
    http_10: HeaderValue,
    http_11: HeaderValue,
    http_2: HeaderValue,
    http_3: HeaderValue,
    name: HeaderValue,
}

impl Via {
    /// Those of the node `name`; `None` if the name cannot stand in a header.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let value = |version| HeaderValue::from_str(&format!("{version} {name}")).ok();
        Some(Self {
            http_10: value("1.0")?,
            http_11: value("1.1")?,
            http_2: value("2.0")?,
            http_3: value("3.0")?,
            name: HeaderValue::from_str(name).ok()?,
        })
    }

    /// The node's name, which is its identifier in CDN-Loop.
    pub(crate) fn name(&self) -> &HeaderValue {
        &self.name
    }

    /// The one for a message that was received in this version.
    pub(crate) fn of(&self, received: Version) -> &HeaderValue {
        match received {
            Version::HTTP_2 => &self.http_2,
            Version::HTTP_3 => &self.http_3,
            Version::HTTP_10 => &self.http_10,
            _ => &self.http_11,
        }
    }
}
