//! Tests of what lies between the socket and the spine: the guard by itself, the intake by
//! itself, and whole servers over real sockets.

mod guard;
mod intake;
mod limits;
mod requests;
mod rest;
mod smuggling;
mod support;
mod tls;
mod upgrades;
