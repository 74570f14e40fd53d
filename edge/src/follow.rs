//! Following the invalidation log: one streaming connection to control, over which entries arrive
//! in order and are acknowledged.

pub mod frame;
