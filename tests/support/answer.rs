//! What a client received.

use std::ops::Deref;

/// A head as it was on the wire.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// In order, as spelled.
    pub(crate) fields: Vec<(String, String)>,
}

impl Head {
    /// Reads a head, without its final empty line.
    pub(crate) fn parse(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text).into_owned();
        let mut lines = text.split("\r\n");
        let line = lines.next().unwrap_or_default();
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status line: {line:?}"));
        Self { status, fields: fields(lines) }
    }

    /// The first value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.values(name).first().copied()
    }

    /// All values of a field, in order.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        let named = self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// A field's value as a number.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.field(name).and_then(|value| value.parse().ok())
    }

    /// What the node says that it did: its Cache-Status, less its name and the ttl, which time
    /// changes. [`Head::ttl`] has that.
    pub(crate) fn handled(&self) -> String {
        let status = self.field("cache-status").unwrap_or_else(|| panic!("unsigned: {self:?}"));
        let mut members = status.split("; ");
        assert_eq!(members.next(), Some("edge"), "{status}");
        let told: Vec<&str> = members.filter(|member| !member.starts_with("ttl=")).collect();
        told.join("; ")
    }

    /// The same of the node of this name, one of several.
    pub(crate) fn handled_by(&self, node: &str) -> String {
        let members = self.values("cache-status").into_iter();
        let mut named = members.filter_map(|member| member.strip_prefix(node)?.strip_prefix("; "));
        let told = named.next_back().unwrap_or_else(|| panic!("{node} did not sign: {self:?}"));
        let told = told.split("; ").filter(|member| !member.starts_with("ttl="));
        told.collect::<Vec<_>>().join("; ")
    }

    /// The ttl of its Cache-Status.
    pub(crate) fn ttl(&self) -> Option<i64> {
        let ttl = self.field("cache-status")?.split("; ").find_map(|m| m.strip_prefix("ttl="));
        ttl.and_then(|ttl| ttl.parse().ok())
    }
}

/// `name: value` lines.
pub(crate) fn fields<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    let field = |line: &str| {
        let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no field: {line:?}"));
        (name.to_owned(), value.trim().to_owned())
    };
    lines.filter(|line| !line.is_empty()).map(field).collect()
}

/// A whole answer, or what came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// Heads of interim responses, in order.
    pub(crate) interims: Vec<Head>,
    pub(crate) head: Head,
    /// The content, chunks joined.
    pub(crate) body: Vec<u8>,
    /// Whether it arrived to the end that its framing promised.
    pub(crate) whole: bool,
    pub(crate) trailers: Vec<(String, String)>,
}

impl Answer {
    /// The content as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Status and content in one line, as `200 hello`; `200 hel...` when it broke off.
    pub(crate) fn line(&self) -> String {
        let end = if self.whole { "" } else { "..." };
        format!("{} {}{end}", self.status, self.text())
    }
}

impl Deref for Answer {
    type Target = Head;

    fn deref(&self) -> &Head {
        &self.head
    }
}
