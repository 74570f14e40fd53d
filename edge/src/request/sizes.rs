//! How much memory a request takes while it waits: the futures that hold it. Each is one allocation, and a
//! crowd of them is most of what a node takes. A future has room for all that it may come to, so that what is
//! large and rare is boxed where it begins.

use super::visit::Visit;
use super::{Spine, fetch, pass};
use crate::access_log::RequestRecord;
use crate::fill::FillTask;
use crate::lookup::Lookup;
use crate::server::{Connection, Handler, Received};
use crate::upstream::{Ask, Upstream, UpstreamBody};
use http::Request;
use std::rc::Rc;

fn of_one<A, F>(_: impl Fn(A) -> F) -> usize {
    size_of::<F>()
}

fn of_three<A, B, C, F>(_: impl Fn(A, B, C) -> F) -> usize {
    size_of::<F>()
}

fn of_four<A, B, C, D, F>(_: impl Fn(A, B, C, D) -> F) -> usize {
    size_of::<F>()
}

fn of_the_pool() -> usize {
    type Of = &'static Upstream;
    of_four(|pool: Of, worker: usize, ask: &'static Ask, body: &'static UpstreamBody| {
        pool.fetch(worker, ask, body)
    })
}

#[test]
fn what_waits_is_small() {
    type Record = &'static mut RequestRecord;
    type At = &'static Rc<Spine>;
    let handle = |spine: Rc<Spine>, to: Rc<Connection>, request: Request<Received>| {
        spine.handle(to, request)
    };
    let fetch = |spine: At, visit: Box<Visit>, found: Lookup, record: Record| {
        fetch::fetch(spine, visit, found, record)
    };
    let passed =
        |spine: At, visit: &'static Visit, record: Record| pass::pass_safe(spine, visit, record);
    for (what, bytes, most) in [
        ("a request at work", of_three(handle), 610),
        ("a request that waits for a fill", of_four(fetch), 400),
        ("a request that is passed on", of_three(passed), 800),
        ("a fill", of_one(FillTask::run), 700),
        ("what a fill was given", size_of::<FillTask>(), 600),
        ("a fill at a pool", of_the_pool(), 1_100),
        ("a visit", size_of::<Visit>(), 480),
    ] {
        println!("{what}: {bytes}");
        assert!(bytes <= most, "{what} takes {bytes} bytes");
    }
}
