//! `devbox docker` as its clients call it: the shapes of its answers ([`contract`], [`verbs`]), the real
//! `@devcontainers/cli` ([`devcontainers`]), and what Visual Studio Code's Container Tools call ([`container_tools`]).

#[allow(dead_code, reason = "each test executable uses a part of it")]
#[path = "../support/mod.rs"]
mod support;

mod container_tools;
mod contract;
mod devcontainers;
mod image;
mod verbs;
