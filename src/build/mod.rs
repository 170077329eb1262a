//! Images from Containerfiles.

pub mod copy;
