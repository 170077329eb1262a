//! `[security]`: what processes of the box may do beyond, or short of, what every box may. Pure.

pub mod calls;
mod walls;

use std::collections::BTreeSet;

use caps::Capability;
use serde::{Deserialize, Serialize};

use super::schema::{At, RawSecurity};
use super::validate::{Checked, Origin};
use crate::text::closest;

/// Calls that make or change mounts and namespaces: with one of them a box can undo what mounts hide and protect.
const WALLS: [&str; 14] = [
    "clone",
    "clone3",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "mount",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "pivot_root",
    "setns",
    "umount2",
    "unshare",
];

/// What the root of a box keeps, unless its profile changes it.
///
/// `CAP_SYS_PTRACE` is for gdb and strace on programs that changed their ids; the box sees no process but its own.
/// `CAP_NET_RAW` is for ping.
pub const KEPT: [Capability; 15] = [
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FOWNER,
    Capability::CAP_FSETID,
    Capability::CAP_KILL,
    Capability::CAP_SETGID,
    Capability::CAP_SETUID,
    Capability::CAP_SETPCAP,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_NET_RAW,
    Capability::CAP_SYS_CHROOT,
    Capability::CAP_SYS_PTRACE,
    Capability::CAP_MKNOD,
    Capability::CAP_AUDIT_WRITE,
    Capability::CAP_SETFCAP,
];

/// A change of the list that every box has: a name is in one of the two at most.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Besides what every box has.
    pub more: BTreeSet<String>,
    /// Taken from what every box has.
    pub less: BTreeSet<String>,
}

impl Changes {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.more.is_empty() && self.less.is_empty()
    }

    /// What `higher` says goes before.
    pub(super) fn extend(&mut self, higher: &Self) {
        self.more.retain(|name| !higher.less.contains(name));
        self.less.retain(|name| !higher.more.contains(name));
        self.more.extend(higher.more.iter().cloned());
        self.less.extend(higher.less.iter().cloned());
    }

    /// Takes what `other` takes, and gives nothing that it gives.
    pub(super) fn restrict(&mut self, other: &Self) {
        self.more.retain(|name| !other.less.contains(name));
        self.less.extend(other.less.iter().cloned());
    }

    /// What is wanted beyond `granted`.
    pub(super) fn beyond<'a>(&'a self, granted: &'a Self) -> impl Iterator<Item = &'a String> {
        let lost = granted.less.iter().filter(|name| !self.less.contains(*name) && !self.more.contains(*name));
        self.more.difference(&granted.more).chain(lost)
    }
}

/// `[security]`, complete.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// The capabilities of root, in the kernel's words: `CAP_NET_RAW`.
    pub capabilities: Changes,
    /// With one id, the owners of files and the ids of processes are those that were asked for, not that one.
    #[serde(default)]
    pub emulate_ids: bool,
    /// No program gains anything by its setuid bit or its file capabilities.
    pub no_new_privileges: bool,
    /// System calls.
    pub seccomp: Changes,
}

/// What one file says of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecurityLayer {
    /// Capabilities.
    pub capabilities: Changes,
    /// Whether owners and ids are emulated.
    pub emulate_ids: Option<bool>,
    /// Whether programs gain nothing.
    pub no_new_privileges: Option<bool>,
    /// System calls.
    pub seccomp: Changes,
}

impl From<SecurityLayer> for Security {
    fn from(layer: SecurityLayer) -> Self {
        Self {
            capabilities: layer.capabilities,
            emulate_ids: layer.emulate_ids.unwrap_or(false),
            no_new_privileges: layer.no_new_privileges.unwrap_or(false),
            seccomp: layer.seccomp,
        }
    }
}

impl Security {
    /// The grant with which a box could undo what mounts hide and protect, as words.
    #[must_use]
    pub fn breaks_mounts(&self) -> Option<String> {
        let wall = self.seccomp.more.iter().find(|name| WALLS.contains(&name.as_str()));
        wall.map(|name| format!("the system call `{name}`"))
    }

    /// The grant with which a box could undo a packet filter, or, when `shaped`, a limit of its bandwidth.
    #[must_use]
    pub fn breaks_network(&self, filtered: bool, shaped: bool) -> Option<String> {
        let broken = |name: &&str| self.capabilities.more.contains(*name);
        let admin = Some("CAP_NET_ADMIN").filter(|_| filtered || shaped);
        let raw = Some("CAP_NET_RAW").filter(|_| filtered);
        admin.into_iter().chain(raw).find(broken).map(|name| format!("the capability `{name}`"))
    }
}

/// The values of one file.
pub(super) fn check(origin: &Origin<'_>, raw: RawSecurity) -> Checked<SecurityLayer> {
    Ok(SecurityLayer {
        capabilities: changes(origin, raw.capabilities.add, raw.capabilities.drop, parse_capability)?,
        emulate_ids: raw.emulate_ids.map(|on| on.value),
        no_new_privileges: raw.no_new_privileges.map(|on| on.value),
        seccomp: changes(origin, raw.seccomp.allow, raw.seccomp.deny, parse_call)?,
    })
}

fn changes(
    origin: &Origin<'_>,
    more: Vec<At<String>>,
    less: Vec<At<String>>,
    parse: impl Fn(&str) -> Result<String, Unknown>,
) -> Checked<Changes> {
    let check = |at: &At<String>| {
        parse(&at.value).map_err(|Unknown { kind, name, advice }| {
            Box::new(origin.wrong(at, format!("there is no {kind} `{name}`")).label(&advice))
        })
    };
    let more = more.iter().map(check).collect::<Checked<BTreeSet<String>>>()?;
    let mut changes = Changes { more, less: BTreeSet::new() };
    for at in less {
        let name = check(&at)?;
        if changes.more.contains(&name) {
            return Err(origin
                .wrong(&at, format!("`{name}` is both given and taken"))
                .label("here it is taken")
                .into());
        }
        changes.less.insert(name);
    }
    Ok(changes)
}

/// A name of nothing that the kernel has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no {kind} `{name}`: {advice}")]
pub struct Unknown {
    kind: &'static str,
    name: String,
    /// What may be meant, or where to look.
    advice: String,
}

impl Unknown {
    fn new(kind: &'static str, name: &str, meant: Option<&str>, manual: &str) -> Self {
        let advice = meant.map_or_else(|| format!("see {manual}"), |meant| format!("did you mean `{meant}`?"));
        Self { kind, name: name.to_owned(), advice }
    }
}

/// The capability of this name, if the kernel has one.
#[must_use]
pub fn capability(text: &str) -> Option<Capability> {
    parse_capability(text).ok()?.parse().ok()
}

/// Whether the root of every box has the capability of this name.
#[must_use]
pub fn is_kept(text: &str) -> bool {
    capability(text).is_some_and(|capability| KEPT.contains(&capability))
}

/// `net_raw`, `NET_RAW` and `CAP_NET_RAW` are one.
pub fn parse_capability(text: &str) -> Result<String, Unknown> {
    let upper = text.to_ascii_uppercase();
    let name = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
    if name.parse::<Capability>().is_ok() {
        return Ok(name);
    }
    let known: Vec<String> = caps::all().iter().map(ToString::to_string).collect();
    let meant = closest(&name, known.iter().map(String::as_str));
    Err(Unknown::new("capability", text, meant, "capabilities(7)"))
}

/// The name of a system call.
pub fn parse_call(text: &str) -> Result<String, Unknown> {
    match calls::number(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err(Unknown::new("system call", text, closest(text, calls::names()), "syscalls(2)")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::validate::parse_profile;
    use super::*;

    fn layer(text: &str) -> Result<SecurityLayer, String> {
        let (file, folder) = (Path::new("/p/devbox.toml"), Path::new("/p"));
        let text = format!("[security]\n{text}\n");
        let parsed = parse_profile(&Origin { file, text: &text, folder, home: folder });
        parsed.map(|layer| layer.security).map_err(|diagnostic| diagnostic.to_string())
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn names_are_the_kernels() {
        let layer = layer(
            "capabilities = { add = [\"net_admin\", \"CAP_SYS_NICE\"], drop = [\"NET_RAW\"] }\n\
             emulate_ids = true\nno_new_privileges = true\nseccomp = { allow = [\"keyctl\"], deny = [\"ptrace\"] }",
        )
        .unwrap();
        assert_eq!(layer.capabilities.more, set(&["CAP_NET_ADMIN", "CAP_SYS_NICE"]));
        assert_eq!(layer.capabilities.less, set(&["CAP_NET_RAW"]));
        assert_eq!((layer.seccomp.more, layer.seccomp.less), (set(&["keyctl"]), set(&["ptrace"])));
        assert_eq!((layer.emulate_ids, layer.no_new_privileges), (Some(true), Some(true)));
    }

    #[test]
    fn mistakes_have_a_place_and_an_answer() {
        for (text, expected) in [
            ("capabilities = { add = [\"NET_ADMN\"] }", "2:25: there is no capability `NET_ADMN`"),
            ("capabilities = { ad = [\"NET_ADMIN\"] }", "2:18: unknown key `ad` (did you mean `add`?)"),
            ("seccomp = { deny = [\"ptrac\"] }", "2:21: there is no system call `ptrac`"),
            ("seccomp = { allow = [\"bpf\"], deny = [\"bpf\"] }", "2:38: `bpf` is both given and taken"),
            ("no_new_privilege = true", "2:1: unknown key `no_new_privilege` (did you mean `no_new_privileges`?)"),
        ] {
            let error = layer(text).unwrap_err();
            assert!(error.starts_with(&format!("/p/devbox.toml:{expected}")), "{text}: {error}");
        }
    }

    #[test]
    fn the_higher_file_wins_and_loosening_is_seen() {
        let changes = |more: &[&str], less: &[&str]| Changes { more: set(more), less: set(less) };
        let mut whole = changes(&["a"], &["b", "c"]);
        whole.extend(&changes(&["b"], &["a", "d"]));
        assert_eq!(whole, changes(&["b"], &["a", "c", "d"]));
        let beyond = |wanted: &Changes, granted: &Changes| wanted.beyond(granted).cloned().collect::<Vec<_>>();
        assert_eq!(beyond(&whole, &changes(&["b"], &["c"])), Vec::<String>::new());
        assert_eq!(beyond(&whole, &changes(&[], &["x"])), ["b", "x"]);
        let mut narrowed = changes(&["a", "b"], &["c"]);
        narrowed.restrict(&changes(&["z"], &["b"]));
        assert_eq!(narrowed, changes(&["a"], &["b", "c"]));
    }

    #[test]
    fn what_undoes_another_wall() {
        let security = |capability: &[&str], call: &[&str]| Security {
            capabilities: Changes { more: set(capability), less: BTreeSet::new() },
            seccomp: Changes { more: set(call), less: BTreeSet::new() },
            ..Security::default()
        };
        let network = |name: &str, filtered, shaped| security(&[name], &[]).breaks_network(filtered, shaped).is_some();
        assert!(network("CAP_NET_ADMIN", true, false) && network("CAP_NET_ADMIN", false, true));
        assert!(network("CAP_NET_RAW", true, false) && !network("CAP_NET_RAW", false, true));
        assert!(!network("CAP_SYS_NICE", true, true));
        assert_eq!(security(&[], &["unshare"]).breaks_mounts().as_deref(), Some("the system call `unshare`"));
        assert_eq!(security(&[], &["keyctl"]).breaks_mounts(), None);
        assert!(WALLS.iter().all(|name| calls::number(name).is_some()));
    }
}
