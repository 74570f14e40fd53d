//! Prefixes on whole segments. A path of n segments passes at most n nodes, however many prefixes
//! there are.

use super::Seq;
use super::marks::Marks;
use std::collections::HashMap;

/// Nodes lie in one list, parents before their children, so that neither removal nor a drop ever
/// recurses: a path may have thousands of segments.
#[derive(Debug)]
pub(super) struct Trie {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    marks: Marks,
    children: HashMap<Box<str>, usize>,
}

impl Default for Trie {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

impl Trie {
    /// Raises the marks of a prefix; returns how many nodes that added. The first segment is the
    /// host, empty for all hosts.
    pub(super) fn raise(&mut self, prefix: &str, marks: Marks) -> usize {
        let before = self.nodes.len();
        let mut at = 0;
        for segment in prefix.strip_suffix('/').unwrap_or(prefix).split('/') {
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
        self.nodes[at].marks.raise(marks);
        self.nodes.len() - before
    }

    /// Raises `found` by every prefix of `path` on `host`.
    pub(super) fn find(&self, host: &str, path: &str, found: &mut Marks) {
        let Some(mut at) = self.nodes[0].children.get(host).copied() else { return };
        found.raise(self.nodes[at].marks);
        for segment in path.strip_prefix('/').unwrap_or(path).split('/') {
            match self.nodes[at].children.get(segment) {
                Some(child) => at = *child,
                None => return,
            }
            found.raise(self.nodes[at].marks);
        }
    }

    /// Number of nodes but the root.
    pub(super) fn len(&self) -> usize {
        self.nodes.len() - 1
    }

    /// The last seq of every prefix, into `seqs`.
    pub(super) fn last_seqs(&self, seqs: &mut Vec<Seq>) {
        seqs.extend(self.nodes.iter().map(|node| node.marks.last()).filter(|seq| *seq > 0));
    }

    /// Forgets what is not to be kept, and the nodes that then lead nowhere.
    pub(super) fn retain(&mut self, keep: impl Fn(&Marks) -> bool) {
        let mut needed: Vec<bool> =
            self.nodes.iter().map(|node| node.marks.last() > 0 && keep(&node.marks)).collect();
        for at in (0..self.nodes.len()).rev() {
            if !needed[at] {
                self.nodes[at].marks = Marks::default();
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
