//! The rules of HTTP caching (RFC 9110, 9111, 9211, 9213, 5861, 8246, 9875) as plain functions.
//!
//! Nothing here opens a socket, spawns a task or reads a clock: `now` is an argument, and every
//! answer is a value that says why. `weir-edge` moves the bytes and obeys.

pub mod access;
pub mod assets;
pub mod cache_control;
pub mod calendar;
pub mod client_share;
pub mod coding;
pub mod cookies;
pub mod country;
pub mod fields;
pub mod freshness;
pub mod identity;
pub mod invalidation;
pub mod key;
pub mod lease;
pub mod log;
pub mod origin_host;
pub mod outcome;
mod plain;
pub mod range;
pub mod redirect;
pub mod reference;
pub mod relay;
pub mod release;
pub mod remedy;
pub mod s3;
pub mod semantics;
pub mod shown;
pub mod sigv4;
pub mod site_rules;
pub mod slices;
pub mod storability;
pub mod target;
pub mod targeted;
pub mod term;
pub mod tier;
pub mod time;
pub mod trace_context;
pub mod turns;
pub mod validation;
pub mod vary;
pub mod versions;
pub mod wildcard;
pub mod withdrawal;
