//! Builds: the same Containerfile through `buildah` and through devbox ([`pair`]), and what buildah 1.28 cannot do
//! ([`own`]).

#[allow(dead_code, reason = "each test executable uses a part of it")]
#[path = "../support/mod.rs"]
mod support;

mod cache;
mod checks;
mod config;
mod copying;
mod devcontainer;
mod features;
mod killed;
mod machines;
mod options;
mod own;
mod pair;
mod projects;
mod remote;
mod running;
mod tree;
