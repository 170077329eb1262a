//! `/etc/resolv.conf`.

use std::fmt::Write;

use super::Generated;
use crate::sandbox::net::{Driver, NetPlan};

/// What the plan says; on the host's network the host's own text, which may hold what a plan does not (scoped addresses,
/// `sortlist`).
#[must_use]
pub fn resolv_conf(plan: &NetPlan, host_text: Option<&str>) -> Generated {
    let text = match (&plan.driver, host_text) {
        (Driver::Host, Some(text)) => text.to_owned(),
        _ => render(plan),
    };
    Generated::file("/etc/resolv.conf", text)
}

fn render(plan: &NetPlan) -> String {
    let mut text = String::from("# Made by devbox at each start.\n");
    for address in &plan.nameservers {
        // Writing to a `String` cannot fail.
        writeln!(text, "nameserver {address}").unwrap_or_default();
    }
    for (word, values) in [("search", &plan.search), ("options", &plan.options)] {
        if !values.is_empty() {
            writeln!(text, "{word} {}", values.join(" ")).unwrap_or_default();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_driver() {
        let mut plan = NetPlan {
            driver: Driver::Loopback,
            nameservers: vec!["192.0.2.1".parse().unwrap(), "fd00::1".parse().unwrap()],
            search: vec!["a.example".to_owned(), "b.example".to_owned()],
            options: vec!["edns0".to_owned()],
            notes: Vec::new(),
            tasks: crate::sandbox::net::Tasks::default(),
            bandwidth: crate::profile::bandwidth::Bandwidth::default(),
            journal: None,
        };
        let text = "# Made by devbox at each start.\nnameserver 192.0.2.1\nnameserver fd00::1\n\
                    search a.example b.example\noptions edns0\n";
        assert_eq!(resolv_conf(&plan, Some("host")).content, text.as_bytes());
        plan.driver = Driver::Host;
        assert_eq!(resolv_conf(&plan, Some("host")).content, b"host");
    }
}
