//! A plan for a box and its execution: namespaces, mounts, sessions, network.
//!
//! [`plan`] turns what is wanted into a [`spec::SandboxSpec`] without touching anything; [`launch`] carries it out.
//! The processes involved are drawn in `docs/architecture.md`.

pub mod channel;
pub mod dev;
pub mod init;
pub mod launch;
pub mod mounts;
pub mod overlay;
pub mod passwd;
pub mod session;
pub mod spec;
