//! The members of pools: origins by site, and parents.

use super::Text;
use crate::upstream::{Counts, MemberCounts};

/// Members with labels of their own; those after them are summed up as one.
const LABELLED: usize = 1000;

/// A metric of each member: name, type, help, and how it is read.
type Metric = (&'static str, &'static str, &'static str, fn(&Counts) -> u64);

const METRICS: [Metric; 5] = [
    (
        "weir_upstream_member_requests_total",
        "counter",
        "Requests sent to a member of a pool (the origins of a site, by its id), including each \
         retry.",
        |counts| counts.requests,
    ),
    (
        "weir_upstream_member_errors_total",
        "counter",
        "Requests to a member that failed, ended early, or were answered with 502, 503 or 504.",
        |counts| counts.errors,
    ),
    (
        "weir_upstream_member_ejections_total",
        "counter",
        "Times a member was ejected because its requests failed, or taken out by its probes.",
        |counts| counts.ejections,
    ),
    (
        "weir_upstream_member_healthy",
        "gauge",
        "1 for a healthy member, 0 for one that is ejected or out.",
        |counts| u64::from(counts.healthy),
    ),
    (
        "weir_upstream_member_running",
        "gauge",
        "Requests in progress at a member, including those that wait for a connection.",
        |counts| counts.running as u64,
    ),
];

/// Writes the metrics of members.
pub(super) fn members(text: &mut Text, members: &[MemberCounts]) {
    let (labelled, others) = members.split_at(members.len().min(LABELLED));
    for (name, kind, help, read) in METRICS {
        text.metric(name, kind, help);
        for MemberCounts { pool, member, counts } in labelled {
            text.sample(name, &[("pool", pool), ("member", member)], read(counts));
        }
        if !others.is_empty() {
            let sum = others.iter().map(|other| read(&other.counts)).fold(0, u64::wrapping_add);
            text.sample(name, &[("pool", "(other)"), ("member", "(other)")], sum);
        }
    }
}
