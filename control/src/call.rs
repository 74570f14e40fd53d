//! One call of the API: where it is, what answers it, and what the OpenAPI document says of it.

use crate::control::Control;
use crate::operation::Operation;
use crate::process::Process;
use axum::routing::MethodRouter;
use serde_json::Value;
use std::sync::Arc;

/// Bytes of a body.
pub(crate) const LARGEST_BODY: usize = 1 << 20;

/// What calls of control are answered from.
pub(crate) type SharedControl = Arc<Control>;

/// What calls are answered from, whatever the process is.
pub(crate) trait OfProcess: Clone + Send + Sync + 'static {
    /// The process.
    fn process(&self) -> &Process;

    /// How certificates stand, by name: those that are ordered here, and those from files of its node.
    fn certificates(&self) -> Vec<Value> {
        self.process().program().certificates()
    }
}

impl OfProcess for SharedControl {
    fn process(&self) -> &Process {
        &self.process
    }

    fn certificates(&self) -> Vec<Value> {
        self.certificates.told()
    }
}

impl OfProcess for Arc<Process> {
    fn process(&self) -> &Process {
        self
    }
}

/// One call.
pub(crate) struct Call<S = SharedControl> {
    pub(crate) path: &'static str,
    /// In lower case, as the document has it.
    pub(crate) method: &'static str,
    pub(crate) kind: Kind,
    pub(crate) handler: MethodRouter<S>,
    pub(crate) operation: Operation,
}

/// What holds for a call beside what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Open to everyone: says nothing but whether the process lives.
    Open,
    /// For callers who are let in; so many at once.
    Guarded,
    /// Likewise, but it goes on: counted by itself.
    Lasting,
}

impl<S> Call<S> {
    /// A call for callers who are let in.
    pub(crate) fn new(
        method: &'static str,
        path: &'static str,
        handler: MethodRouter<S>,
        operation: Operation,
    ) -> Self {
        Self { path, method, kind: Kind::Guarded, handler, operation }
    }

    /// The same call, of another kind.
    pub(crate) fn of_kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }
}
