//! What tests share.

use std::io::Write;

/// Whether this is root, whom a test is for; for another user it is said that the test does not apply.
pub fn only_for_root() -> bool {
    let is_root = rustix::process::getuid().is_root();
    if !is_root {
        let thread = std::thread::current();
        // Past the capture of the test harness: `scripts/test-run` counts these lines.
        let line = format!("N/A {}: only for root\n", thread.name().unwrap_or("a test"));
        std::io::stderr().write_all(line.as_bytes()).expect("write to stderr");
    }
    is_root
}
