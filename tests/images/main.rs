//! Images against real registries on loopback ports: see `support::registry` and `support::fault_proxy`.

#[allow(dead_code, reason = "each test executable uses a part of it")]
#[path = "../support/mod.rs"]
mod support;

mod bombs;
mod disk;
mod faults;
mod gc;
mod load;
mod lock;
mod login;
mod peers;
mod progress;
mod proxies;
mod pull;
mod push;
mod registry;
mod tokens;
mod uploads;
