//! `devbox docker` as its clients call it: the shapes of its answers ([`contract`], [`verbs`]), and the real
//! `@devcontainers/cli` ([`devcontainers`]).

#[allow(dead_code, reason = "each test executable uses a part of it")]
#[path = "../support/mod.rs"]
mod support;

mod contract;
mod devcontainers;
mod image;
mod verbs;
