//! The five panes: what each lists, and in which orders.

mod certificates;
mod misses;
mod nodes;
mod purges;
mod urls;

use super::figures::AskedNode;
use super::listing::Listing;
use super::state::Figures;
use crate::text::harmless;
use std::time::SystemTime;

/// What can be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pane {
    Nodes,
    Urls,
    Misses,
    Purges,
    Certificates,
}

impl Pane {
    pub(super) const ALL: [Self; 5] =
        [Self::Nodes, Self::Urls, Self::Misses, Self::Purges, Self::Certificates];

    /// Its key, and its place among all.
    pub(super) fn number(self) -> usize {
        self as usize
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nodes => "nodes",
            Self::Urls => "URLs",
            Self::Misses => "misses",
            Self::Purges => "purges",
            Self::Certificates => "TLS",
        }
    }

    /// By what it can be sorted, the first unless another is chosen.
    pub(super) fn orders(self) -> &'static [&'static str] {
        match self {
            Self::Nodes => &nodes::ORDERS,
            Self::Urls => &urls::ORDERS,
            Self::Misses => &misses::ORDERS,
            Self::Purges => &purges::ORDERS,
            Self::Certificates => &certificates::ORDERS,
        }
    }

    /// What it lists; `None` until control has answered. `order` is one of [`Pane::orders`].
    pub(super) fn listing(self, figures: &Figures, order: &str) -> Option<Listing> {
        match self {
            Self::Nodes => figures.stats.told().map(|stats| nodes::listing(stats, order)),
            Self::Urls => figures.popular.told().map(|popular| urls::listing(popular, order)),
            Self::Misses => figures.uncached.told().map(|uncached| {
                let stats = figures.stats.told();
                misses::listing(
                    uncached,
                    stats.and_then(|stats| stats.traffic.results.as_ref()),
                    order,
                )
            }),
            Self::Purges => figures.purges.told().map(|purges| purges::listing(purges, order)),
            Self::Certificates => figures
                .certificates
                .told()
                .map(|told| certificates::listing(told, order, SystemTime::now())),
        }
    }
}

/// Which nodes did not answer, as an addition to a title.
fn without(nodes: &[AskedNode]) -> String {
    let silent: Vec<_> =
        nodes.iter().filter(|node| node.error.is_some()).map(|node| harmless(&node.name)).collect();
    match silent.len() {
        0 => String::new(),
        1..=3 => format!(", without {}", silent.join(", ")),
        silent => format!(", without {silent} nodes"),
    }
}

/// One node by its name, several by how many.
fn names(nodes: &[String]) -> String {
    match nodes {
        [node] => node.clone(),
        nodes => format!("{} nodes", nodes.len()),
    }
}
