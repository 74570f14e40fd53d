//! The keys of a log, all below one prefix.

use weir_rules::invalidation::Seq;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Layout(String);

impl Layout {
    /// Below `prefix`, which ends with `/`.
    pub(crate) fn new(prefix: &str) -> Self {
        Self(prefix.to_owned())
    }

    /// Who is the writer; it goes with the writer's lease.
    pub(crate) fn writer(&self) -> String {
        self.key("writer")
    }

    /// Written with each batch: whoever compares its revision compares all of the log.
    pub(crate) fn head(&self) -> String {
        self.key("head")
    }

    /// What an import of another log says of itself.
    pub(crate) fn import(&self) -> String {
        self.key("import")
    }

    /// What stands for entries that are gone.
    pub(crate) fn base(&self) -> String {
        self.key("base")
    }

    /// What nodes reported of their sites.
    pub(crate) fn sites(&self) -> String {
        self.key("sites")
    }

    /// The expected nodes of one bucket.
    pub(crate) fn nodes(&self, bucket: usize) -> String {
        self.key(&format!("nodes/{bucket:02x}"))
    }

    /// The entries of a batch, of which this is the first.
    pub(crate) fn entries(&self, first: Seq) -> String {
        self.key(&format!("entries/{first:020}"))
    }

    /// How an entry arrived.
    pub(crate) fn arrivals(&self, seq: Seq) -> String {
        self.key(&format!("arrivals/{seq:020}"))
    }

    /// How several entries arrived, of which this is the last.
    pub(crate) fn arrivals_to(&self, last: Seq) -> String {
        self.key(&format!("arrivals/{last:020}/to"))
    }

    /// What is kept for TLS under a name.
    pub(crate) fn tls(&self, name: &str) -> String {
        self.key(&format!("tls/{name}"))
    }

    /// What is behind `key`: what [`Layout::part`] takes apart.
    pub(crate) fn end(&self) -> String {
        // Keys are compared by bytes: the byte after "/" ends all that begin with the prefix.
        let mut end = self.0.clone();
        end.pop();
        end.push('0');
        end
    }

    /// The first key that there may be.
    pub(crate) fn begin(&self) -> String {
        self.0.clone()
    }

    /// The part of a key after the prefix.
    pub(crate) fn part<'a>(&self, key: &'a str) -> Option<&'a str> {
        key.strip_prefix(&*self.0)
    }

    fn key(&self, part: &str) -> String {
        format!("{}{part}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_are_between_its_ends_and_in_the_order_of_their_seqs() {
        let layout = Layout::new("/weir/");
        let keys = [
            layout.writer(),
            layout.head(),
            layout.base(),
            layout.import(),
            layout.sites(),
            layout.nodes(63),
            layout.tls("ca/a.test.pem"),
            layout.entries(Seq::MAX),
        ];
        for key in keys {
            assert!(layout.begin() < key && key < layout.end(), "{key}");
        }
        assert!(layout.entries(9) < layout.entries(10));
        assert!(layout.entries(Seq::MAX) < layout.head());
        assert_eq!(layout.part(&layout.head()), Some("head"));
    }
}
