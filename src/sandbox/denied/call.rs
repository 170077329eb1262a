//! What the arguments of a refused call say. Pure, but for the reading of text, which is the caller's.

use libc::*;

use super::line::Argument;
use crate::profile::security::calls;

/// How an argument is shown.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// The address of a text that ends with NUL.
    Text,
    /// A signed number of 32 bits.
    Number,
    /// A number of 32 bits without names.
    Hex,
    /// One of these.
    One(&'static [(u64, &'static str)]),
    /// Any of these together.
    Flags(&'static [(u64, &'static str)]),
}
use Shape::{Flags, Hex, Number, One, Text};

/// Position, name in the manual, shape.
type Parameter = (usize, &'static str, Shape);

/// What matters of calls that the default policy refuses.
#[rustfmt::skip]
const CALLS: &[(i64, &[Parameter])] = &[
    (SYS_mount, &[(0, "source", Text), (1, "target", Text), (2, "type", Text), (3, "flags", Flags(MOUNT_FLAGS))]),
    (SYS_umount2, &[(0, "target", Text), (1, "flags", Hex)]),
    (SYS_pivot_root, &[(0, "new_root", Text), (1, "put_old", Text)]),
    (SYS_fsopen, &[(0, "type", Text)]),
    (SYS_fspick, &[(1, "path", Text)]),
    (SYS_open_tree, &[(1, "path", Text), (2, "flags", Hex)]),
    (467, &[(1, "path", Text), (2, "flags", Hex)]),
    (SYS_move_mount, &[(1, "from", Text), (3, "to", Text)]),
    (SYS_mount_setattr, &[(1, "path", Text), (2, "flags", Hex)]),
    (SYS_setns, &[(1, "type", Flags(NAMESPACES))]),
    (SYS_clone, &[(0, "flags", Flags(NAMESPACES))]),
    (SYS_unshare, &[(0, "flags", Flags(NAMESPACES))]),
    (SYS_sethostname, &[(0, "name", Text)]),
    (SYS_setdomainname, &[(0, "name", Text)]),
    (SYS_reboot, &[(2, "command", Hex)]),
    (SYS_delete_module, &[(0, "name", Text)]),
    (SYS_swapon, &[(0, "path", Text)]),
    (SYS_swapoff, &[(0, "path", Text)]),
    (SYS_clock_settime, &[(0, "clock", Number)]),
    (SYS_acct, &[(0, "path", Text)]),
    (SYS_quotactl, &[(0, "command", Hex), (1, "device", Text)]),
    (SYS_quotactl_fd, &[(1, "command", Hex)]),
    (SYS_syslog, &[(0, "action", Number)]),
    (SYS_fanotify_init, &[(0, "flags", Hex)]),
    (SYS_add_key, &[(0, "type", Text), (1, "description", Text)]),
    (SYS_request_key, &[(0, "type", Text), (1, "description", Text)]),
    (SYS_keyctl, &[(0, "operation", Number)]),
    (SYS_bpf, &[(0, "command", Number)]),
    (SYS_personality, &[(0, "persona", Hex)]),
    (SYS_socket, &[(0, "domain", One(FAMILIES)), (1, "type", Hex), (2, "protocol", Number)]),
    (SYS_socketpair, &[(0, "domain", One(FAMILIES)), (1, "type", Hex), (2, "protocol", Number)]),
    (SYS_ioctl, &[(0, "fd", Number), (1, "request", One(REQUESTS))]),
    #[cfg(target_arch = "x86_64")]
    (SYS_iopl, &[(0, "level", Number)]),
    #[cfg(target_arch = "x86_64")]
    (SYS_ioperm, &[(0, "from", Hex), (1, "count", Number)]),
];

#[rustfmt::skip]
const MOUNT_FLAGS: &[(u64, &str)] = &[
    (MS_RDONLY, "MS_RDONLY"), (MS_NOSUID, "MS_NOSUID"), (MS_NODEV, "MS_NODEV"), (MS_NOEXEC, "MS_NOEXEC"),
    (MS_REMOUNT, "MS_REMOUNT"), (MS_BIND, "MS_BIND"), (MS_MOVE, "MS_MOVE"), (MS_REC, "MS_REC"), (MS_SILENT, "MS_SILENT"),
    (MS_UNBINDABLE, "MS_UNBINDABLE"), (MS_PRIVATE, "MS_PRIVATE"), (MS_SLAVE, "MS_SLAVE"), (MS_SHARED, "MS_SHARED"),
    (MS_RELATIME, "MS_RELATIME"), (MS_STRICTATIME, "MS_STRICTATIME"),
];

#[rustfmt::skip]
const NAMESPACES: &[(u64, &str)] = &[
    (CLONE_NEWNS as u64, "CLONE_NEWNS"), (CLONE_NEWCGROUP as u64, "CLONE_NEWCGROUP"), (CLONE_NEWUTS as u64, "CLONE_NEWUTS"),
    (CLONE_NEWIPC as u64, "CLONE_NEWIPC"), (CLONE_NEWUSER as u64, "CLONE_NEWUSER"), (CLONE_NEWPID as u64, "CLONE_NEWPID"),
    (CLONE_NEWNET as u64, "CLONE_NEWNET"),
];

#[rustfmt::skip]
const FAMILIES: &[(u64, &str)] = &[
    (AF_NETLINK as u64, "AF_NETLINK"), (AF_ALG as u64, "AF_ALG"), (AF_VSOCK as u64, "AF_VSOCK"), (AF_KEY as u64, "AF_KEY"),
    (AF_BLUETOOTH as u64, "AF_BLUETOOTH"), (AF_CAN as u64, "AF_CAN"), (AF_RDS as u64, "AF_RDS"), (AF_TIPC as u64, "AF_TIPC"),
    (44, "AF_XDP"),
];

const REQUESTS: &[(u64, &str)] = &[(0x5412, "TIOCSTI"), (0x541c, "TIOCLINUX"), (0x5423, "TIOCSETD")];

/// The name of call `number`, and those of its arguments that tell what it was for. `read` gives the text at an address
/// of the caller's.
pub fn describe(number: i64, values: &[u64; 6], read: impl Fn(u64) -> Option<String>) -> (String, Vec<Argument>) {
    let name = calls::name(number).map_or_else(|| format!("call {number}"), str::to_owned);
    let parameters = CALLS.iter().find(|(known, _)| *known == number).map_or(&[][..], |(_, parameters)| parameters);
    let argument = |(position, name, shape): &Parameter| {
        let value = values[*position];
        let value = match shape {
            Text if value == 0 => return None,
            Text => read(value).unwrap_or_else(|| format!("{value:#x}")),
            Number => (value as i32).to_string(),
            Hex => format!("{:#x}", value as u32),
            One(names) => one(u64::from(value as u32), names),
            Flags(names) => flags(value, names),
        };
        Some(Argument { name: (*name).to_owned(), value })
    };
    (name, parameters.iter().filter_map(argument).collect())
}

fn one(value: u64, names: &[(u64, &str)]) -> String {
    names.iter().find(|(known, _)| *known == value).map_or_else(|| value.to_string(), |(_, name)| (*name).to_owned())
}

fn flags(value: u64, names: &[(u64, &str)]) -> String {
    let mut left = value;
    let mut words = Vec::new();
    for (flag, name) in names.iter().filter(|(flag, _)| value & flag != 0) {
        left &= !flag;
        words.push((*name).to_owned());
    }
    if left != 0 || words.is_empty() {
        words.push(format!("{left:#x}"));
    }
    words.join("|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::seccomp::{Action, default_policy};

    #[test]
    fn arguments_are_named() {
        let shown = |number, values: [u64; 6]| {
            let read = |address| (address < 9).then(|| format!("/{address}"));
            let (call, arguments) = describe(number, &values, read);
            let arguments: Vec<_> = arguments.iter().map(|it| format!("{}={}", it.name, it.value)).collect();
            format!("{call} {}", arguments.join(" "))
        };
        for (number, values, expected) in [
            (SYS_mount, [1, 2, 0, MS_BIND | MS_REC, 0, 0], "mount source=/1 target=/2 flags=MS_BIND|MS_REC"),
            (SYS_mount, [0, 99, 3, 0, 0, 0], "mount target=0x63 type=/3 flags=0x0"),
            (SYS_unshare, [0x1002_0000, 0, 0, 0, 0, 0], "unshare flags=CLONE_NEWNS|CLONE_NEWUSER"),
            (SYS_unshare, [0x80, 0, 0, 0, 0, 0], "unshare flags=0x80"),
            (SYS_clone, [0x4000_0011, 0, 0, 0, 0, 0], "clone flags=CLONE_NEWNET|0x11"),
            (SYS_socket, [0xdead_0000_0000_0028, 1, u64::MAX, 0, 0, 0], "socket domain=AF_VSOCK type=0x1 protocol=-1"),
            (SYS_socket, [77, 1, 0, 0, 0, 0], "socket domain=77 type=0x1 protocol=0"),
            (SYS_ioctl, [3, 0x5412, 0, 0, 0, 0], "ioctl fd=3 request=TIOCSTI"),
            (SYS_bpf, [5, 0, 0, 0, 0, 0], "bpf command=5"),
            (100_000, [0; 6], "call 100000 "),
        ] {
            assert_eq!(shown(number, values), expected);
        }
    }

    #[test]
    fn what_is_refused_has_a_name() {
        let policy = default_policy();
        let unnamed: Vec<i64> = policy
            .rules
            .iter()
            .filter(|rule| rule.action == Action::Errno(EPERM as u16) && calls::name(rule.syscall).is_none())
            .map(|rule| rule.syscall)
            .collect();
        assert_eq!(unnamed, Vec::<i64>::new());
    }
}
