//! A plan and its execution: what a process in a box may do.

pub mod caps;
pub mod seccomp;
