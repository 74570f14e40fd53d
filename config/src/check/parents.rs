//! `[parents]`: the parents that an edge asks before the origins, and how a parent treats edges that have applied more.

use super::host::{ORIGIN_FORM, origin};
use super::tls::ca;
use super::{health, node_name, pool};
use crate::file::Value;
use crate::section::Section;
use crate::{Node, Origin, Parent, ParentScope, Parents, Protocol, Tier, Timeouts};
use std::time::Duration;

const MOST_PARENTS: usize = 256;
const MOST_VIRTUAL_NODES: u32 = 4096;

/// Reads the section; `node` says whose parents they are.
pub(super) fn parents(mut s: Section<'_>, node: &Node) -> Parents {
    let second = Duration::from_secs(1);
    let urls = urls(&mut s, node);
    let https = urls.iter().any(|parent| parent.url.tls);
    let parents = Parents {
        urls,
        ca: ca(&mut s, "no parent's url", https),
        scope: s.word("scope", ParentScope::Region),
        virtual_nodes: s.count("virtual_nodes", 128, 1..=MOST_VIRTUAL_NODES),
        origin_fallback: s.boolean("origin_fallback", true),
        catch_up: s.duration("catch_up", second / 4, Duration::ZERO..=10 * second),
        timeouts: pool::timeouts(s.section("timeouts"), PARENT_TIMEOUTS),
        probe: health::of_parents(s.section("health")),
    };
    s.finish(&[]);
    parents
}

/// Waits on a parent, where nothing else is written.
const PARENT_TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(1),
    // Longer than a parent waits for an origin, so that it is the parent who says what failed.
    first_byte: Duration::from_secs(65),
    idle: Duration::from_secs(65),
    total: Duration::ZERO,
};

fn urls(s: &mut Section<'_>, node: &Node) -> Vec<Parent> {
    let accepted = format!("a list, each {ORIGIN_FORM}, or a table with url, region and protocol");
    let Some(elements) = s.elements("urls", MOST_PARENTS, &accepted) else { return vec![] };
    if node.tier == Tier::Parent && !elements.is_empty() {
        s.mistake("urls", "a node of tier \"parent\" asks origins only; accepted: no urls there");
    }
    let mut parents: Vec<Parent> = Vec::with_capacity(elements.len());
    for (n, element) in elements.iter().enumerate() {
        let Some(parent) = parent(s, n, element, &node.region) else { continue };
        let place = |parent: &Parent| (parent.url.tls, parent.url.host.clone(), parent.url.port);
        if parents.iter().any(|other| place(other) == place(&parent)) {
            s.mistake("urls", format!("{:?} is named twice", parent.url.authority));
        }
        parents.push(parent);
    }
    parents
}

/// A parent is its URL, or a table with `url`, `region` and `protocol`.
fn parent(s: &Section<'_>, n: usize, element: &Value, own_region: &str) -> Option<Parent> {
    let path = format!("{}[{n}]", s.path_of("urls"));
    if let Some(mut table) = Section::of(element, path.clone(), s.notes()) {
        let url = table.text("url", ORIGIN_FORM, origin);
        if !table.has("url") {
            table.mistake("url", format!("missing; accepted: {ORIGIN_FORM}"));
        }
        let form = "a region's name, as node.region";
        let region = table.text("region", form, node_name);
        let protocol = table.word("protocol", Protocol::H2);
        table.finish(&[]);
        let url = Origin { protocol, ..url? };
        return Some(Parent { url, region: region.unwrap_or_else(|| own_region.into()) });
    }
    let url = Origin { protocol: Protocol::H2, ..pool::plain_origin(s, path, element)? };
    Some(Parent { url, region: own_region.into() })
}
