//! Our own conformance cases, as tables by the section that orders them. A row is one exchange and
//! what must become of it.

mod credentials;
mod explicit_freshness;
mod implied_freshness;
mod partial_content;
mod reuse;
mod stale;
mod storing;
mod support;
mod targeted;
