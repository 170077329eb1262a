//! A project's environment on this machine.
//!
//! ```text
//! <data>/boxes/<id>/               one box; appears and disappears by one rename
//!   box.json                       BoxRecord: what the box is, its layers, what is being done to it
//!   lower.json                     the store's layers that it was last started on
//!   lock                           held exclusively by whoever changes the box
//!   upper/{fs/,map.json}           the writable layer; only `fs` is seen in the box
//!   work/                          overlayfs' scratch space
//!   volumes/<name>/                directories of the profile that outlive the root file system
//!   generated/                     placeholders for what is mounted over
//!   log/events.jsonl               what happened
//! <data>/store/box-layers/<layer>/ frozen writable layers, each `{fs/,map.json}` like `upper`; shared by clones
//! <data>/trash/<entry>/            dropped trees, waiting for `remove::empty_trash`
//! <runtime>/<12 hex>/{s,c}         the sockets of a running box: init's and its supervisor's
//! ```
//!
//! A box is its record and the layers that the record names. Snapshot, restore, reset and clone ([`snapshot`],
//! [`clone`]) rename directories and write records; they neither copy nor walk a tree. Whatever is to be done is first
//! written into the record ([`state::Pending`]), so that the next command can finish what a killed one began
//! ([`change`]). A layer lives as long as some record names it ([`pool`]).
//!
//! `fs` lies one level below what is renamed because the box owns it: renaming a directory to another parent needs
//! write permission on the directory itself, and a box may give its `/` any owner and mode.

pub mod boot;
pub mod capture;
pub mod change;
pub mod clone;
pub mod commit;
pub mod comparison;
pub mod describe;
pub mod diff;
pub mod directory;
pub mod environment;
pub mod error;
pub mod events;
pub mod follow;
pub mod generated;
pub mod guards;
pub mod hold;
pub mod id;
pub mod limits;
pub mod list;
pub mod lock;
pub mod locking;
pub mod lower;
pub mod manager;
pub mod network;
pub mod packages;
pub mod packages_layer;
pub mod path_text;
pub mod pool;
pub mod ports;
pub mod remove;
mod repositories;
pub mod review;
pub mod running;
mod scratch;
pub mod security;
pub mod service;
pub mod session;
pub mod shares;
pub mod shell;
pub mod snapshot;
pub mod state;
#[cfg(test)]
mod testing;
pub mod transient;
pub mod tree;
pub mod user;
pub mod view;
pub mod window;

use crate::image::layer::stack;
pub use directory::BoxDir;
pub use error::BoxesError;
pub use id::BoxId;
pub use state::BoxRecord;
