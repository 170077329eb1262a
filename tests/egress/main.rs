//! Egress lists on a host of their own with a small internet around it, which `scripts/test-run` makes as root; the tests run
//! on it as root and as ordinary users (`DEVBOX_TEST_AS`), one at a time.

#[allow(dead_code, reason = "each test executable uses a part of it")]
#[path = "../support/mod.rs"]
mod support;

mod attacks;
mod lab;
mod lists;
