//! What the binary prints, byte for byte, and its exit status.

#[allow(dead_code, reason = "each test executable uses a part of it")]
#[path = "../support/mod.rs"]
mod support;

mod boxes;
mod capture;
mod devcontainers;
mod editors;
mod own;
mod places;
mod profile;
mod trust;
mod usage;
mod written;
