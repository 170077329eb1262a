//! Containers: boxes that a docker-shaped command line makes, finds by id, name and label, and runs a first process in.
//!
//! ```text
//! <data>/docker/
//!   containers/<64 hex>/       one container; appears by one rename, and stands for the project of its box
//!     container.json           Container: what was asked for; never changes
//!     state.json               State: when it was started and how it ended
//!     lock                     held by the monitor while the first process runs
//!     stdout.log  stderr.log   what the first process wrote
//!   volumes/<name>/            named volumes
//!   asked/<12 hex>.json        what was refused for want of trust
//!   events.jsonl               what happened to containers
//! ```
//!
//! The box is an ordinary one: it is listed, looked at and removed as every other. Its profile is made of the options
//! ([`options`]) and checked as one of a file. The first process is a session whose client is the *monitor*, a fork of
//! `docker run` that outlives it ([`monitor`]): it keeps the logs and says how the process ended. When that ends, the box does.
//! A container holds on to its image by a name of its own (`localhost/devbox-container:<id>`), for tags move.

pub mod command;
pub mod container;
pub mod create;
pub mod error;
pub mod events;
pub mod images;
pub mod inspect;
pub mod listing;
pub mod logs;
pub mod monitor;
pub mod mounts;
pub mod options;
pub mod size;
pub mod template;
pub mod time;
pub mod trust;
pub mod volumes;

pub use container::{Container, State, Status};
pub use error::DockerError;
