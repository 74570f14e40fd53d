//! Control: the invalidation log, the nodes that follow it, and the REST API.
//!
//! Life of a purge: [`rest`] authenticates ([`auth`]) and parses it ([`purge_request`]), the [`ledger`]
//! gives it its seq and makes it durable, each node's [`session`] sends it and takes the
//! acknowledgement, and the answer waits, within bounds, until every expected node applied it.
//! Control that is built into a node speaks to it over the same session as to any other.

mod attempts;
mod auth;
mod call;
mod certificates;
mod control;
mod dialects;
mod errors;
mod etcd;
mod event_stream;
mod events;
mod extract;
mod fields;
mod gate;
mod import;
mod journal;
mod ledger;
mod listener;
mod method;
mod metrics;
mod onward;
mod open;
mod openapi;
mod operation;
mod permission;
mod pieces;
mod process;
mod purge_request;
mod rate;
mod refused_joins;
mod relays;
mod replica;
mod report;
mod rest;
mod router;
mod session;
mod sessions;
mod sites;
pub mod timestamp;
mod traffic;
mod warm;
mod warming;

pub use control::Control;
pub use gate::Gate;
pub use import::{Imported, import};
pub use listener::serve;
pub use onward::{Onward, answer_passed_on};
pub use process::{Process, Program, Reloaded};
pub use purge_request::LONGEST_WAIT_MS;
pub use replica::{Clients, Replica};
pub use router::{node_router, router};
pub use warm::{
    DEFAULT_RATE as DEFAULT_WARM_RATE, MOST_RATE as MOST_WARM_RATE, MOST_URLS as MOST_WARM_URLS,
};
