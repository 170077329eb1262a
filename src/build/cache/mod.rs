//! What is kept of earlier builds.
//!
//! ```text
//! store/build/
//!   steps/<key>.<layout>   what a step made: Record
//!   sources/<key>          the digest of what a step copied from a stage or an image, which would take reading it
//!   files/<context>        digests of the context's files, by their identity
//!   downloads/<URL>        files of `ADD URL` (see `downloads`)
//!   mounts/                directories of `RUN --mount=type=cache` (see `run`)
//! ```
//!
//! A step is known by its *key*: the digest of the key of the step before it, of the instruction after expansion, and
//! of the content of what it reads. The layer that it made is an ordinary layer of the store, named by its diff id as
//! those of pulled images are: a step is cached as long as its record and its layer are there. Losing any of this costs
//! time and nothing else.

pub mod carried;
pub mod files;
pub mod key;
pub mod records;
