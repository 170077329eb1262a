//! `COPY` and `ADD`: which files ([`select`]), what they hold ([`digest`]), and writing them ([`write`]).
//!
//! Sources lie in the build context, in another stage or in an image; either way they are a directory tree that is not
//! left ([`select::Mounted`]). The destination is the merged tree of the stage's layers, mounted with a new writable
//! layer on top: overlayfs copies up, whites out and merges, as it does for a `RUN`.

pub mod digest;
pub mod mode;
pub mod select;
pub mod walk;
pub mod whole;
pub mod write;

#[cfg(test)]
mod tests;
