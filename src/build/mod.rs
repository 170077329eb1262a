//! Images from Containerfiles.

pub mod cache;
pub mod copy;
pub mod error;
pub mod language;
pub mod layer;
pub mod run;

pub use error::BuildError;
