//! Images on their way into the store and out of it.
//!
//! [`pull`] fetches from a registry. Whatever the way, [`install`] turns archives of layers into layers of the store:
//! each is one stream, hashed, kept for a next try, decompressed, hashed again and unpacked as it comes.

mod error;
mod implied;
pub mod install;
pub mod pull;

pub use error::TransferError;
