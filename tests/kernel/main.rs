//! Real boxes on the real kernel, asserted from inside; run as root and as ordinary users (`DEVBOX_TEST_AS`).

#[allow(dead_code, reason = "each test executable uses a part of it")]
#[path = "../support/mod.rs"]
mod support;

mod bases;
mod capture;
mod denied;
mod disk;
mod editors;
mod fuse;
mod hardening;
mod install;
mod limits;
mod lock;
mod machine;
mod masks;
mod network;
mod owners;
mod profiles;
mod sandbox;
mod session;
mod shares;
mod shells;
mod state;
mod terminal;
mod upkeep;
mod vscode;
