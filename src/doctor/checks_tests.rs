use super::*;
use crate::base::driver::FuseError;
use crate::base::host::Probe;
use crate::doctor::machine::Disk;
use crate::limits::host::{Lack, Place};
use crate::sandbox::net::plan::{Found, Tun};
use crate::sandbox::net::resolver::HostResolver;
use crate::userns::mapper::Offer;

/// A machine of an ordinary user on which everything works.
fn good() -> Machine {
    let helper = |name: &str| (name.to_owned(), Some((format!("/usr/bin/{name}").into(), true)));
    Machine {
        kernel: "6.18.1".into(),
        namespaces: None,
        max_user_namespaces: Some(1000),
        unprivileged_userns_clone: None,
        apparmor_restricts: None,
        apparmor_profile: None,
        seccomp: false,
        program: "/usr/bin/devbox".into(),
        offer: Offer {
            uid: 1000,
            gid: 1000,
            helpers: true,
            subuids: vec![(100_000, 65_536)],
            subgids: vec![(100_000, 65_536)],
        },
        user: "alice".into(),
        free_range: 231_072,
        mappers: vec![helper("newuidmap"), helper("newgidmap")],
        host_base: Probe { metadata: None, fuse: Some(FuseError::NotInstalled) },
        network: Found {
            pasta: Some("/usr/bin/pasta".into()),
            nft: None,
            slirp: None,
            tun: Tun::Usable,
            default_route: true,
            resolver: HostResolver::parse("nameserver 192.0.2.1\n", |_| false),
        },
        cgroup: crate::limits::host::Found {
            place: Ok(Place::Below("/sys/fs/cgroup".into())),
            controllers: Controller::ALL.into(),
        },
        shares: vec![("ssh_agent", Ok(()))],
        data: Disk {
            path: "/home/alice/.local/share/devbox".into(),
            magic: 0xef53,
            noexec: false,
            free_bytes: 1 << 40,
            foreign: false,
        },
        others: vec![],
    }
}

#[test]
fn a_good_machine_has_nothing_to_mend() {
    for check in ALL {
        let finding = check(&good());
        assert_eq!((finding.state, finding.remedy), (State::Ok, None), "{}", finding.name);
    }
}

/// What is broken, the check that finds it, how bad it is, and what the remedy contains.
type Case = (fn(&mut Machine), &'static str, State, &'static str);

#[test]
fn each_blocker_is_named_with_its_command() {
    use State::{Blocker, Warning};
    let refused = |machine: &mut Machine| machine.namespaces = Some("clone3: EPERM".into());
    let cases: [Case; 19] = [
        (|m| m.kernel = "5.10.0-8".into(), "kernel", Blocker, "newer kernel"),
        (
            |m| (m.namespaces, m.max_user_namespaces) = (Some("ENOSPC".into()), Some(0)),
            "namespaces",
            Blocker,
            "sysctl -w user.max_user_namespaces=",
        ),
        (
            |m| (m.namespaces, m.unprivileged_userns_clone) = (Some("EPERM".into()), Some(0)),
            "namespaces",
            Blocker,
            "sysctl -w kernel.unprivileged_userns_clone=1",
        ),
        (|m| (m.namespaces, m.seccomp) = (Some("EPERM".into()), true), "namespaces", Blocker, "seccomp=unconfined"),
        (
            |m| (m.namespaces, m.apparmor_restricts) = (Some("EACCES".into()), Some(1)),
            "apparmor",
            Blocker,
            "profile devbox /usr/bin/devbox",
        ),
        (
            |m| (m.namespaces, m.apparmor_profile) = (Some("EACCES".into()), Some("editor".into())),
            "apparmor",
            Blocker,
            "`userns,`",
        ),
        (|m| m.offer.subuids.clear(), "subuids", Warning, "--add-subuids 231072-296607"),
        (|m| m.offer.subgids = vec![(1, 10)], "subuids", Warning, "alice"),
        (|m| m.mappers[1].1 = None, "newuidmap", Warning, "install uidmap"),
        (
            |m| m.mappers[0].1 = Some(("/usr/bin/newuidmap".into(), false)),
            "newuidmap",
            Blocker,
            "setcap cap_setuid=ep /usr/bin/newuidmap",
        ),
        (
            |m| m.host_base.metadata = Some("EINVAL".into()),
            "host base",
            Warning,
            "install the package `fuse-overlayfs`",
        ),
        (|m| m.network.pasta = None, "network", Warning, "passt"),
        (|m| m.network.tun = Tun::Denied, "network", Warning, "chmod 0666 /dev/net/tun"),
        (|m| m.cgroup.place = Err(Lack::Old), "cgroups", Warning, "unified_cgroup_hierarchy"),
        (|m| m.cgroup.place = Err(Lack::NotDelegated), "cgroups", Warning, "log in through systemd"),
        (|m| m.cgroup.controllers = [Controller::Memory].into(), "cgroups", Warning, "delegate.conf"),
        (|m| m.data.magic = 0x6969, "data directory", Blocker, "XDG_DATA_HOME"),
        (|m| m.data.noexec = true, "data directory", Warning, "XDG_DATA_HOME"),
        (|m| m.others = vec!["/opt/bin/devbox".into()], "program", Warning, "first on PATH"),
    ];
    for (damage, name, state, remedy) in cases {
        let mut machine = good();
        damage(&mut machine);
        let found = ALL.iter().map(|check| check(&machine)).find(|finding| finding.name == name).unwrap();
        assert_eq!(found.state, state, "{found:?}");
        assert!(found.remedy.as_deref().unwrap_or_default().contains(remedy), "{found:?}");
    }
    let mut machine = good();
    refused(&mut machine);
    assert_eq!(namespaces(&machine).state, Blocker);
}

#[test]
fn versions_are_compared_as_numbers() {
    for (release, expected) in [("6.18.44-fc", Some((6, 18))), ("5.9", Some((5, 9))), ("x", None)] {
        assert_eq!(version(release), expected);
    }
}
