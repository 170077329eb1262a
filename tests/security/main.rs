//! One test for each attack on a box's walls, named after it: real programs in real boxes, as root and as ordinary users
//! (`DEVBOX_TEST_AS`). Each fails when its defence is taken out. What a box can do at all is in the table of `SECURITY.md`,
//! which `audit` compares with a real one.

#[allow(dead_code, reason = "each test executable uses a part of it")]
#[path = "../support/mod.rs"]
mod support;

mod audit;
mod bombs;
mod calls;
mod descriptors;
mod escapes;
mod kernel;
mod mounts;
mod processes;
mod project;
mod terminal;
