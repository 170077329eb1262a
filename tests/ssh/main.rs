//! `devbox ssh-proxy` behind the real OpenSSH client; run as root and as ordinary users (`DEVBOX_TEST_AS`).

#[allow(dead_code, reason = "each test executable uses a part of it")]
#[path = "../support/mod.rs"]
mod support;

mod client;
mod files;
mod forwards;
mod hostile;
mod sessions;
