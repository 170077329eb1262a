//! Builds an image from a Containerfile.

mod builder;
pub mod cache;
pub mod config;
pub mod context;
pub mod copy;
mod downloads;
pub mod error;
pub mod events;
pub mod failure;
pub mod fetch;
pub mod images;
pub mod language;
pub mod layer;
mod plan;
pub mod profile;
pub mod request;
pub mod run;
pub mod stage;
pub mod trees;
pub mod workers;

pub use builder::{EPOCH, build, check};
pub use error::BuildError;
