//! Real boxes on a real distribution: systemd, cgroups of version 2, sessions. Runs inside the machine of `scripts/test-vm`, as an
//! ordinary user, one without subuids, and root; anywhere else its tests do not apply.

#[allow(dead_code, reason = "each test executable uses a part of it")]
#[path = "../support/mod.rs"]
mod support;

mod delegated;
mod doctor;
mod limits;
mod package;
