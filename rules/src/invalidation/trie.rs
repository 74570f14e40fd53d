//! Prefixes on whole segments. A path of n segments passes at most n nodes, however many prefixes
//! there are.

use super::Seq;
use super::kept::Kept;
use std::collections::HashMap;

/// Nodes lie in one list, parents before their children, so that neither removal nor a drop ever
/// recurses: a path may have thousands of segments.
#[derive(Debug)]
pub(super) struct Trie<V> {
    nodes: Vec<Node<V>>,
}

#[derive(Debug, Default)]
struct Node<V> {
    kept: V,
    children: HashMap<Box<str>, usize>,
}

impl<V: Kept> Default for Trie<V> {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

impl<V: Kept> Trie<V> {
    /// Changes what is kept for a prefix; returns how many nodes that added. The first segment is
    /// the host, empty for all hosts.
    pub(super) fn change(&mut self, prefix: &str, change: impl FnOnce(&mut V)) -> usize {
        let before = self.nodes.len();
        let mut at = 0;
        for segment in segments(prefix) {
            at = match self.nodes[at].children.get(segment) {
                Some(child) => *child,
                None => {
                    let child = self.nodes.len();
                    self.nodes.push(Node::default());
                    self.nodes[at].children.insert(segment.into(), child);
                    child
                }
            };
        }
        change(&mut self.nodes[at].kept);
        self.nodes.len() - before
    }

    /// Tells `found` what is kept for every prefix of `path` on `host`.
    pub(super) fn find(&self, host: &str, path: &str, found: &mut impl FnMut(&V)) {
        let Some(mut at) = self.nodes[0].children.get(host).copied() else { return };
        found(&self.nodes[at].kept);
        for segment in path.strip_prefix('/').unwrap_or(path).split('/') {
            match self.nodes[at].children.get(segment) {
                Some(child) => at = *child,
                None => return,
            }
            found(&self.nodes[at].kept);
        }
    }

    /// Number of nodes but the root.
    pub(super) fn len(&self) -> usize {
        self.nodes.len() - 1
    }

    /// The last seq of every prefix, into `seqs`.
    pub(super) fn last_seqs(&self, seqs: &mut Vec<Seq>) {
        seqs.extend(self.nodes.iter().map(|node| node.kept.last()).filter(|seq| *seq > 0));
    }

    /// Forgets what is not to be kept, and the nodes that then lead nowhere.
    pub(super) fn retain(&mut self, keep: impl Fn(&V) -> bool) {
        let mut needed: Vec<bool> =
            self.nodes.iter().map(|node| node.kept.last() > 0 && keep(&node.kept)).collect();
        for at in (0..self.nodes.len()).rev() {
            if !needed[at] {
                self.nodes[at].kept = V::default();
                needed[at] = self.nodes[at].children.values().any(|child| needed[*child]);
            }
        }
        needed[0] = true;
        let mut place = vec![0; self.nodes.len()];
        let mut next = 0;
        for (at, needed) in needed.iter().enumerate() {
            place[at] = next;
            next += usize::from(*needed);
        }
        let mut at = 0;
        self.nodes.retain_mut(|node| {
            node.children.retain(|_, child| needed[*child]);
            node.children.values_mut().for_each(|child| *child = place[*child]);
            at += 1;
            needed[at - 1]
        });
    }
}

/// A prefix in segments, the host first; a slash at its end makes no difference.
pub(super) fn segments(prefix: &str) -> impl Iterator<Item = &str> {
    prefix.strip_suffix('/').unwrap_or(prefix).split('/')
}
