//! What a profile changes of the list. Pure.

use super::{Action, Policy, Rule};
use crate::profile::security::{Changes, calls};

/// Allows what `changes` gives, whatever the arguments. What the emulation of root answers stays its own.
#[must_use]
pub fn allow(policy: Policy, changes: &Changes) -> Policy {
    before(policy, changes.more.iter(), Action::Allow)
}

/// Refuses what `changes` takes, whoever else would answer it.
#[must_use]
pub fn deny(policy: Policy, changes: &Changes) -> Policy {
    before(policy, changes.less.iter(), Action::Errno(libc::EPERM as u16))
}

/// The first rule of a call decides.
fn before<'a>(policy: Policy, names: impl Iterator<Item = &'a String>, action: Action) -> Policy {
    let numbers = names.filter_map(|name| calls::number(name));
    let mut rules: Vec<Rule> = numbers.map(|number| Rule::always(number, action)).collect();
    rules.extend(policy.rules);
    Policy { default: policy.default, rules }
}
