//! Who may send a request: the pure half of the access settings of site rules.
//!
//! INVARIANT: access settings only ever refuse. Every rule that matches a request must be satisfied, in
//! whatever order they are judged, so that matching more than one has to ([`spellings`]) is safe and matching
//! less is not.

pub mod attempts;
pub mod credentials;
pub mod htpasswd;
pub mod private;
pub mod rate;
pub mod referer;
mod refusal;
mod settings;
pub mod signed;
pub mod spellings;

pub use refusal::Refusal;
pub use settings::{Access, BasicAuth};
