//! What was done to a box by hand becomes part of its profile.
//!
//! ```text
//! devbox add, remove   the profile's new list ──> apply: installed in a layer, or in the running box ──> devbox.toml
//! devbox freeze        the box's package databases ──> freeze: what was asked for by name ──> devbox.toml
//! ```
//!
//! The profile is written last: what could not be installed is not in it. [`explicit`] and [`owners`] are pure and read
//! the databases, which the box may have filled with anything. That of rpm is read by the box's own program: [`rpm`].

pub mod apply;
pub mod change;
pub mod explicit;
pub mod freeze;
pub mod owners;
pub(super) mod question;
pub mod rpm;

pub use apply::{Act, Applied};
pub use change::{CaptureError, Changed, change, rewrite};
