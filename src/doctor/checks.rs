//! The table of checks. Pure: each judges what [`Machine`] holds.

use super::machine::Machine;
use super::{Finding, State};
use crate::limits::host::Found;
use crate::limits::{Controller, Key};
use crate::sandbox::net::plan::{Mode, plan};
use crate::userns::idmap::IdMode;
use crate::userns::mapper::MINIMUM_RANGE;
use crate::userns::subid::total;

/// Every check, in the order of a start.
pub const ALL: [fn(&Machine) -> Finding; 12] = [
    kernel,
    namespaces,
    apparmor,
    subuids,
    mappers,
    host_base,
    overlay,
    network,
    cgroups,
    shares,
    data_directory,
    program,
];

/// `mount_setattr`.
const OLDEST_KERNEL: (u32, u32) = (5, 12);
/// NFS, SMB, CIFS, FUSE-based network file systems do not carry an overlay's writable layer.
const NETWORK_FILE_SYSTEMS: [(i64, &str); 5] =
    [(0x6969, "NFS"), (0x517b, "SMB"), (0xff53_4d42, "CIFS"), (0xfe53_4d42, "SMB2"), (0x6b41_4653, "AFS")];
const TMPFS: i64 = 0x0102_1994;
const LITTLE_SPACE_BYTES: u64 = 1 << 30;

/// "6.18.44-x" is (6, 18).
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn kernel(machine: &Machine) -> Finding {
    let release = &machine.kernel;
    match version(release) {
        Some(found) if found < OLDEST_KERNEL => {
            Finding::new("kernel", State::Blocker, format!("Linux {release} lacks `mount_setattr` (5.12)"))
                .remedy("install a newer kernel")
        }
        _ => Finding::new("kernel", State::Ok, format!("Linux {release}")),
    }
}

fn namespaces(machine: &Machine) -> Finding {
    let Some(error) = &machine.namespaces else {
        return Finding::new("namespaces", State::Ok, "user namespaces work");
    };
    let blocker = |summary: String| Finding::new("namespaces", State::Blocker, summary);
    if machine.max_user_namespaces == Some(0) {
        return blocker("`user.max_user_namespaces` is 0".into())
            .remedy("sudo sysctl -w user.max_user_namespaces=15000");
    }
    if machine.unprivileged_userns_clone == Some(0) {
        return blocker("`kernel.unprivileged_userns_clone` is 0".into())
            .remedy("sudo sysctl -w kernel.unprivileged_userns_clone=1");
    }
    if machine.seccomp {
        return blocker(format!("the container around this shell forbids user namespaces ({error})"))
            .remedy("start it with `--security-opt seccomp=unconfined` (docker, podman)");
    }
    blocker(format!("a user namespace cannot be made: {error}"))
}

/// What belongs to nearly all profiles, also to that of `pasta`, which would not let us end it otherwise.
const ADDITIONS: &str = "/etc/apparmor.d/abstractions/base.d";

fn apparmor(machine: &Machine) -> Finding {
    if let (Some(profile), Some(_)) = (&machine.apparmor_profile, &machine.namespaces) {
        let summary = format!("the AppArmor profile `{profile}` confines this program");
        return Finding::new("apparmor", State::Blocker, summary)
            .remedy("call devbox outside of it, or add the rules `userns,` and `capability,` to it");
    }
    if machine.apparmor_restricts != Some(1) || machine.offer.uid == 0 {
        return Finding::new("apparmor", State::Ok, "AppArmor does not restrict user namespaces");
    }
    let program = machine.program.display();
    let profile = format!(
        "printf 'abi <abi/4.0>,\\ninclude <tunables/global>\\nprofile devbox {program} flags=(unconfined) {{\\n  userns,\\n}}\\n' \
         | sudo tee /etc/apparmor.d/devbox && sudo mkdir -p {ADDITIONS} \
         && echo 'signal (receive) peer={{devbox,usr.bin.devbox}},' | sudo tee {ADDITIONS}/devbox \
         && sudo apparmor_parser -r /etc/apparmor.d/devbox /etc/apparmor.d/*pasta*"
    );
    if machine.namespaces.is_none() {
        return Finding::new("apparmor", State::Ok, "AppArmor allows this program user namespaces");
    }
    Finding::new("apparmor", State::Blocker, "AppArmor restricts user namespaces to known programs").remedy(profile)
}

fn subuids(machine: &Machine) -> Finding {
    let offer = &machine.offer;
    if offer.uid == 0 {
        return Finding::new(
            "subuids",
            State::Ok,
            "not needed by root; an ordinary user is the safer way to run boxes",
        );
    }
    let (uids, gids) = (total(&offer.subuids), total(&offer.subgids));
    if uids >= MINIMUM_RANGE && gids >= MINIMUM_RANGE {
        return Finding::new("subuids", State::Ok, format!("{uids} subordinate uids, {gids} gids"));
    }
    let (first, last) = (machine.free_range, machine.free_range + 65_535);
    let user = &machine.user;
    Finding::new("subuids", State::Warning, format!("{uids} subordinate uids, {gids} gids: boxes have a single user"))
        .remedy(format!("sudo usermod --add-subuids {first}-{last} --add-subgids {first}-{last} {user}"))
}

fn mappers(machine: &Machine) -> Finding {
    if machine.offer.uid == 0 {
        return Finding::new("newuidmap", State::Ok, "not needed by root");
    }
    for (name, found) in &machine.mappers {
        match found {
            None => {
                return Finding::new(
                    "newuidmap",
                    State::Warning,
                    format!("`{name}` is missing: boxes have a single user"),
                )
                .remedy("sudo apt-get install uidmap");
            }
            Some((path, false)) => {
                let path = path.display();
                let what = if name == "newuidmap" { "cap_setuid" } else { "cap_setgid" };
                return Finding::new("newuidmap", State::Blocker, format!("`{path}` has lost its privilege"))
                    .remedy(format!("sudo setcap {what}=ep {path}"));
            }
            Some((_, true)) => {}
        }
    }
    Finding::new("newuidmap", State::Ok, "`newuidmap` and `newgidmap` are there")
}

fn host_base(machine: &Machine) -> Finding {
    let name = "host base";
    if machine.offer.mode() == IdMode::Root {
        return Finding::new(name, State::Ok, "plain overlays");
    }
    match (&machine.host_base.metadata, &machine.host_base.fuse) {
        (None, _) => Finding::new(name, State::Ok, "metadata layers work"),
        (Some(_), None) => {
            Finding::new(name, State::Ok, "through `fuse-overlayfs`: this kernel is older than Linux 6.16")
        }
        (Some(reason), Some(fuse)) => {
            Finding::new(name, State::Warning, format!("not possible here: {reason}; {fuse}")).remedy(fuse.remedy())
        }
    }
}

fn overlay(machine: &Machine) -> Finding {
    match &machine.host_base.metadata {
        Some(reason) if reason.contains("unknown filesystem") || reason.contains("ENODEV") => {
            Finding::new("overlay", State::Blocker, "this kernel has no overlayfs").remedy("sudo modprobe overlay")
        }
        _ => Finding::new("overlay", State::Ok, "overlayfs is there"),
    }
}

fn network(machine: &Machine) -> Finding {
    match plan(Mode::Private, &machine.network) {
        Ok(_) => Finding::new("network", State::Ok, "private networks work"),
        Err(error) => Finding::new("network", State::Warning, format!("boxes share the host's network: {error}"))
            .remedy(error.remedy()),
    }
}

/// What makes systemd delegate every controller to users.
const DELEGATE: &str = "sudo mkdir -p /etc/systemd/system/user@.service.d && printf '[Service]\\nDelegate=cpu cpuset io memory \
                        pids\\n' | sudo tee /etc/systemd/system/user@.service.d/delegate.conf && sudo systemctl daemon-reload, \
                        and log in anew";

fn cgroups(machine: &Machine) -> Finding {
    let warning = |text: String| Finding::new("cgroups", State::Warning, text);
    let Found { place, controllers } = &machine.cgroup;
    if let Err(lack) = place {
        return warning(format!("limits cannot hold: {lack}")).remedy(lack.remedy());
    }
    let missing: Vec<_> = Controller::ALL.into_iter().filter(|one| !controllers.contains(one)).collect();
    if missing.is_empty() {
        return Finding::new("cgroups", State::Ok, "version 2, delegated");
    }
    let keys: Vec<_> = Key::ALL
        .into_iter()
        .filter(|key| key.controller().is_some_and(|one| missing.contains(&one)))
        .map(|key| format!("`{key}`"))
        .collect();
    warning(format!("limits of {} cannot hold: not delegated to this user", keys.join(", "))).remedy(DELEGATE)
}

/// Nothing is amiss when a share is missing that nobody asks for.
fn shares(machine: &Machine) -> Finding {
    let there = machine.shares.iter().filter(|(_, found)| found.is_ok()).map(|(grant, _)| format!("`{grant}`"));
    let there: Vec<_> = there.collect();
    let summary = if there.is_empty() { "there is nothing to share by name".into() } else { there.join(", ") };
    let missing = machine.shares.iter().filter_map(|(_, found)| found.as_ref().err());
    let missing: Vec<_> = missing.map(|lack| format!("`{}`: {}; {}", lack.share, lack.reason, lack.remedy)).collect();
    let finding = Finding::new("shares", State::Ok, summary);
    if missing.is_empty() { finding } else { finding.remedy(missing.join("\n")) }
}

fn data_directory(machine: &Machine) -> Finding {
    let disk = &machine.data;
    let path = disk.path.display();
    let finding = |state, text: String| Finding::new("data directory", state, text);
    let elsewhere = "set `XDG_DATA_HOME` to a directory on a local disk";
    if disk.foreign {
        return finding(State::Blocker, format!("`{path}` belongs to another user")).remedy(elsewhere);
    }
    if let Some((_, kind)) = NETWORK_FILE_SYSTEMS.iter().find(|(magic, _)| *magic == disk.magic) {
        return finding(State::Blocker, format!("`{path}` lies on {kind}, which cannot carry overlayfs"))
            .remedy(elsewhere);
    }
    if disk.free_bytes < LITTLE_SPACE_BYTES {
        let left = indicatif::HumanBytes(disk.free_bytes);
        return finding(State::Warning, format!("`{path}` has only {left} left"));
    }
    if disk.noexec {
        return finding(State::Warning, format!("`{path}` is mounted noexec: programs in boxes cannot run"))
            .remedy(elsewhere);
    }
    if disk.magic == TMPFS {
        return finding(State::Warning, format!("`{path}` is in memory: boxes are gone after a reboot"))
            .remedy(elsewhere);
    }
    finding(State::Ok, format!("`{path}`"))
}

fn program(machine: &Machine) -> Finding {
    match machine.others.first() {
        None => Finding::new("program", State::Ok, format!("`{}`", machine.program.display())),
        Some(other) => {
            Finding::new("program", State::Warning, format!("`{}` on PATH is another program", other.display()))
                .remedy(format!("call `{}` by its path, or put it first on PATH", machine.program.display()))
        }
    }
}

#[cfg(test)]
#[path = "checks_tests.rs"]
mod tests;
