//! One safe wrapper per system call, and the only `unsafe` of the project.
//!
//! Each wrapper sets the safe default (CLOEXEC, NOFOLLOW, NOCTTY), returns an owned descriptor or a typed value, and
//! its error prints as the call with its arguments.
#![expect(unsafe_code, reason = "system calls without a safe wrapper in the crates are made here and nowhere else")]

pub mod clone;
pub mod error;
pub mod fs;
pub mod mount;
pub mod net;
pub mod process;
pub mod quota;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod spawn;
pub mod stat;
pub mod terminal;
#[cfg(test)]
pub mod testing;

pub use error::{Context, SysError, SysResult};
