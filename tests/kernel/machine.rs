//! The machine and the user are what the other tests take them for.

use std::fs;

use crate::require;
use crate::support::{Identity, identity};

/// Whether `/etc/subuid` or `/etc/subgid` names the user of this process, by number or by name.
fn has_range(file: &str) -> bool {
    let uid = rustix::process::getuid().as_raw();
    let passwd = fs::read_to_string("/etc/passwd").expect("read the accounts");
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid.to_string()).then(|| name.to_owned())
    });
    fs::read_to_string(file).unwrap_or_default().lines().any(|line| {
        let owner = line.split(':').next();
        owner == Some(uid.to_string().as_str()) || (owner.is_some() && owner == name.as_deref())
    })
}

#[test]
fn the_user_is_the_one_that_was_asked_for() {
    let is_root = rustix::process::getuid().is_root();
    match identity() {
        Identity::Root => assert!(is_root),
        Identity::Range => {
            assert!(!is_root);
            assert!(has_range("/etc/subuid") && has_range("/etc/subgid"));
        }
        Identity::Plain => {
            assert!(!is_root);
            assert!(!has_range("/etc/subuid") && !has_range("/etc/subgid"));
        }
    }
}

#[test]
fn an_ordinary_user_has_no_capability() {
    require!(Ordinary);
    let status = fs::read_to_string("/proc/self/status").expect("read our status");
    for name in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert!(status.contains(&format!("{name}:\t0000000000000000")), "{status}");
    }
}

/// Every feature that boxes are made of; on a laptop this prints what the other tests will miss.
mod features {
    use crate::require;

    #[test]
    fn namespaces() {
        require!(Userns);
    }

    #[test]
    fn overlay() {
        require!(Userns, Overlay);
    }

    #[test]
    fn data_only_layers() {
        require!(Userns, DataOnly);
    }

    #[test]
    fn subuids() {
        require!(Subuid);
    }

    #[test]
    fn fuse_overlayfs() {
        require!(FuseOverlayfs);
    }

    #[test]
    fn private_network() {
        require!(Pasta, Slirp);
    }

    #[test]
    fn mirror() {
        require!(Mirror);
    }
}
