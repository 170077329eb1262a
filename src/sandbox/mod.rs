//! A plan for a box and its execution: namespaces, mounts, sessions, network.
//!
//! [`plan`] turns what is wanted into a [`spec::SandboxSpec`] without touching anything; [`launch`] carries it out.
//! The processes involved are drawn in `docs/architecture.md`.

pub mod attach;
pub mod bus;
pub mod caps;
pub mod channel;
pub mod companion;
pub mod control;
pub mod denied;
pub mod dev;
pub mod etc;
pub mod fuse;
pub mod guard;
pub mod init;
pub mod journal;
pub mod landlock;
pub mod launch;
pub mod locks;
pub mod mounts;
pub mod net;
pub mod overlay;
pub mod owners;
pub mod passwd;
pub mod plan;
pub mod reach;
pub mod seccomp;
pub mod session;
pub mod spec;
pub mod watch;
pub mod window;
