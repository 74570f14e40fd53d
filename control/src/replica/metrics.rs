//! What a process that shares its log counts, as Prometheus text.

use super::{Replica, Standing};
use crate::metrics::Text;
use std::sync::atomic::Ordering;

/// The metrics of the election.
pub(super) fn exposition(replica: &Replica) -> String {
    let mut text = Text::default();
    let standing = replica.standing.borrow().clone();
    let is_writer = matches!(&standing, Standing::Writer(writer) if writer.tenure.is_sure());
    let has_writer = is_writer || matches!(standing, Standing::Standby(_));
    for (name, kind, help, value) in [
        (
            "weir_control_is_writer",
            "gauge",
            "1 if this process of control is the writer of the log in etcd.",
            u64::from(is_writer),
        ),
        (
            "weir_control_has_writer",
            "gauge",
            "1 if this process of control is the writer of the log in etcd, or knows who is.",
            u64::from(has_writer),
        ),
        (
            "weir_control_terms_total",
            "counter",
            "How often this process of control became the writer.",
            replica.terms.load(Ordering::Relaxed),
        ),
        (
            "weir_control_etcd_failures_total",
            "counter",
            "Requests to a member of etcd that failed or got no answer in time.",
            replica.election.etcd.failures(),
        ),
        (
            "weir_control_forwarded_total",
            "counter",
            "Calls and connections of nodes that were passed on to the writer.",
            replica.forward.count(),
        ),
    ] {
        text.metric(name, kind, help);
        text.sample(name, &[], value);
    }
    text.into_string()
}
