//! What the binary prints, byte for byte, and its exit status.

#[allow(dead_code, reason = "each test executable uses a part of it")]
#[path = "../support/mod.rs"]
mod support;

use support::devbox::Devbox;

#[test]
fn help_is_no_error() {
    Devbox::new().args(["--help"]).any_stdout().run();
}
