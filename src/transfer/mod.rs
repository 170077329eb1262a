//! Images on their way into the store and out of it.
//!
//! [`pull`] fetches from a registry, [`load`] takes from a file. Whatever the way, [`install`] turns archives of layers
//! into layers of the store: each is one stream, hashed, kept for a next try, decompressed, hashed again and unpacked as
//! it comes. [`compose`] makes new images, [`push`] gives them to a registry, [`save`] writes them into files;
//! [`archives`] knows where the archives of unpacked layers are, [`repack`] makes those of layers that were built here, and
//! [`other_ids`] unpacks an image once more for other ids.

pub mod archives;
pub mod compose;
mod error;
mod implied;
pub mod install;
mod layers;
pub mod load;
pub mod other_ids;
pub mod pull;
pub mod push;
pub mod repack;
pub mod save;

pub use error::TransferError;
