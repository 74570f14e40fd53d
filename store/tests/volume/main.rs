//! A volume in a world that kills, cuts the power, and damages.

#![allow(clippy::unwrap_used)]

mod damage;
mod histories;
mod policy;
mod world;
