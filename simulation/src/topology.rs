//! Edges and parents: which node a request reaches, and what is counted.

use crate::Request;
use crate::estimate::{Count, Estimate};
use crate::node::{Asked, Found, Node, Stores};
use crate::sample::Sample;
use crate::survey::Survey;
use std::collections::HashMap;
use weir_store::mixed;

/// The nodes, all with the same stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Edges, at least one: each client asks one of them, always the same.
    pub edges: usize,
    /// Parents: each URL has one of them. Without any, edges ask the origin.
    pub parents: usize,
}

/// Nodes with empty stores, and what is counted of the requests that they get.
pub struct Topology {
    stores: Stores,
    edges: Vec<Node>,
    parents: Vec<Node>,
    ttl: Option<u64>,
    from_disk: Count,
    edge_misses: Misses,
    origin: Misses,
}

#[derive(Default)]
struct Misses {
    requests: Count,
    bytes: Count,
}

impl Misses {
    fn add(&mut self, request: &Request) {
        self.requests.add(request.url, 1);
        self.bytes.add(request.url, request.bytes);
    }
}

/// What the requests of a log come to with stores of one size.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// The stores of each node.
    pub stores: Stores,
    /// The share of the requests that no origin sees.
    pub hit_ratio: Estimate,
    /// The share of the bytes that no origin sends.
    pub byte_hit_ratio: Estimate,
    /// The share of the requests that an edge answers.
    pub edge_hit_ratio: Estimate,
    /// The share of the requests that the disk of an edge answers.
    pub edge_disk_ratio: Estimate,
    /// Requests to the origin.
    pub origin_requests: Estimate,
    /// Bytes that the origin sends.
    pub origin_bytes: Estimate,
    /// Requests to parents.
    pub parent_requests: Estimate,
    /// Bytes that parents send.
    pub parent_bytes: Estimate,
}

impl Topology {
    /// Nodes that get a share of the URLs. Responses are fresh for `ttl` seconds, or for ever. `None` if a
    /// disk is too small to be simulated.
    pub fn new(layout: Layout, stores: Stores, ttl: Option<u64>, sample: Sample) -> Option<Self> {
        let nodes =
            |count| (0..count).map(|_| Node::new(stores, sample)).collect::<Option<Vec<_>>>();
        Some(Self {
            stores,
            edges: nodes(layout.edges.max(1))?,
            parents: nodes(layout.parents)?,
            ttl,
            from_disk: Count::default(),
            edge_misses: Misses::default(),
            origin: Misses::default(),
        })
    }

    /// A request for a response with a body of `length` bytes.
    pub fn request(&mut self, request: &Request, length: u64) {
        let asked = Asked { url: request.url, length, at: request.at.unwrap_or(0), ttl: self.ttl };
        let edges = self.edges.len() as u64;
        let edge = &mut self.edges[(mixed(request.client) % edges) as usize];
        match edge.request(asked) {
            Found::Memory => return,
            Found::Disk => return self.from_disk.add(request.url, 1),
            Found::Nowhere => edge.store(asked),
        }
        self.edge_misses.add(request);
        let parents = self.parents.len() as u64;
        if parents > 0 {
            // Other bits than those that the sample is chosen by.
            let parent = &mut self.parents[(mixed(request.url.rotate_left(32)) % parents) as usize];
            if parent.request(asked) != Found::Nowhere {
                return;
            }
            parent.store(asked);
        }
        self.origin.add(request);
    }

    /// What it came to, of all requests of a survey.
    pub fn outcome(&self, all: &Survey, sample: Sample) -> Outcome {
        let (requests, bytes) = (all.requests, all.bytes);
        let from_disk = self.from_disk.of_all(sample);
        let part = |value: f64| if requests == 0 { 0.0 } else { value / requests as f64 };
        Outcome {
            stores: self.stores,
            hit_ratio: self.origin.requests.rest_of(requests, sample),
            byte_hit_ratio: self.origin.bytes.rest_of(bytes, sample),
            edge_hit_ratio: self.edge_misses.requests.rest_of(requests, sample),
            edge_disk_ratio: Estimate {
                value: part(from_disk.value),
                error: part(from_disk.error),
            },
            origin_requests: self.origin.requests.of_all(sample),
            origin_bytes: self.origin.bytes.of_all(sample),
            parent_requests: self.edge_misses.requests.of_all(sample),
            parent_bytes: self.edge_misses.bytes.of_all(sample),
        }
    }
}

/// How long the bodies of URLs are, as far as requests have shown: the longest that was sent.
#[derive(Default)]
pub struct Lengths(HashMap<u64, u64>);

impl Lengths {
    /// The length of the body of a request's response, as far as it is known.
    pub fn of(&mut self, request: &Request) -> u64 {
        let length = self.0.entry(request.url).or_default();
        // A HEAD, a 304 and a part say less.
        *length = request.bytes.max(*length);
        *length
    }

    /// URLs that it knows.
    pub fn urls(&self) -> usize {
        self.0.len()
    }
}
