//! Several files, one profile.
//!
//! Pure. Single values: the higher file wins. Tables (`env`, `limits`, `tasks`): merged by key. `packages`, `pass`, `mask`, `protect`, `dbus`,
//! `home_cache` and ports: the union, in order. `mounts`: appended, a target that was named before is replaced where it stands.
//! `hooks`: appended.

use std::collections::BTreeMap;

use super::validate::Layer;

/// Which layers (by index) a value comes from, by the name of its key: `shell`, `packages.git`, `env.LANG`,
/// `env.pass.TERM`, `project.mask..env`, `mounts./data`, `hooks.create.0`.
pub type Origins = BTreeMap<String, usize>;

/// Merges `layers`, the lowest first. `name` and `extends` are not merged: the one is never inherited through
/// `extends`, the other is what made the list.
pub fn merge<'a>(layers: impl IntoIterator<Item = (usize, &'a Layer)>) -> (Layer, Origins) {
    let mut whole = Layer::default();
    let mut origins = Origins::new();
    for (index, layer) in layers {
        let mut one = |key: &str| {
            origins.insert(key.to_owned(), index);
        };
        replace(&mut whole.base, &layer.base, || one("base"));
        replace(&mut whole.shell, &layer.shell, || one("shell"));
        replace(&mut whole.user, &layer.user, || one("user"));
        replace(&mut whole.lifetime, &layer.lifetime, || one("lifetime"));
        replace(&mut whole.terminal_integration, &layer.terminal_integration, || one("terminal_integration"));
        replace(&mut whole.project_path, &layer.project_path, || one("project.path"));
        replace(&mut whole.read_only, &layer.read_only, || one("project.read_only"));
        for (grant, on) in &layer.grants {
            one(&format!("share.{grant}"));
            whole.grants.insert(*grant, *on);
        }
        replace(&mut whole.review, &layer.review, || one("hooks.review"));
        replace(&mut whole.network_mode, &layer.network_mode, || one("network.mode"));
        replace(&mut whole.require_limits, &layer.require_limits, || one("limits.require"));
        for (key, value) in &layer.limits {
            one(&format!("limits.{key}"));
            whole.limits.insert(*key, *value);
        }
        let security = &layer.security;
        replace(&mut whole.security.emulate_ids, &security.emulate_ids, || one("security.emulate_ids"));
        replace(&mut whole.security.no_new_privileges, &security.no_new_privileges, || {
            one("security.no_new_privileges")
        });
        for (kind, all, more) in [
            ("capabilities", &mut whole.security.capabilities, &security.capabilities),
            ("seccomp", &mut whole.security.seccomp, &security.seccomp),
        ] {
            more.more.iter().chain(&more.less).for_each(|name| one(&format!("security.{kind}.{name}")));
            all.extend(more);
        }
        replace(&mut whole.network.forward, &layer.network.forward, || one("network.forward"));
        replace(&mut whole.network.join, &layer.network.join, || one("network.join"));
        replace(&mut whole.network.bandwidth, &layer.network.bandwidth, || one("network.bandwidth"));
        replace(&mut whole.network.egress, &layer.network.egress, || one("network.egress"));
        union(&mut whole.network.ports, &layer.network.ports, |port| one(&format!("network.ports.{port}")));
        union(&mut whole.network.host_ports, &layer.network.host_ports, |port| {
            one(&format!("network.host_ports.{port}"));
        });
        union(&mut whole.packages, &layer.packages, |package| one(&format!("packages.{package}")));
        union(&mut whole.pass, &layer.pass, |name| one(&format!("env.pass.{name}")));
        union(&mut whole.dbus, &layer.dbus, |name| one(&format!("share.dbus.{name}")));
        union(&mut whole.home_cache, &layer.home_cache, |cache| one(&format!("share.home_cache.{}", cache.name())));
        union(&mut whole.mask, &layer.mask, |path| one(&format!("project.mask.{}", path.display())));
        union(&mut whole.protect, &layer.protect, |path| one(&format!("project.protect.{}", path.display())));
        for (name, value) in &layer.env {
            one(&format!("env.{name}"));
            whole.env.insert(name.clone(), value.clone());
        }
        for (name, command) in &layer.tasks {
            one(&format!("tasks.{name}"));
            whole.tasks.insert(name.clone(), command.clone());
        }
        for mount in &layer.mounts {
            one(&format!("mounts.{}", mount.target.display()));
            match whole.mounts.iter_mut().find(|other| other.target == mount.target) {
                Some(other) => *other = mount.clone(),
                None => whole.mounts.push(mount.clone()),
            }
        }
        for (name, value) in &layer.session_env {
            one(&format!("env.{name}"));
            whole.session_env.insert(name.clone(), value.clone());
        }
        for volume in &layer.volumes {
            one(&format!("volumes.{}", volume.target.display()));
            whole.volumes.retain(|other| other.target != volume.target);
            whole.volumes.push(volume.clone());
        }
        replace(&mut whole.devcontainer, &layer.devcontainer, || {});
        for (kind, all, more) in [
            ("create", &mut whole.create, &layer.create),
            ("start", &mut whole.start, &layer.start),
            ("enter", &mut whole.enter, &layer.enter),
        ] {
            for command in more {
                one(&format!("hooks.{kind}.{}", all.len()));
                all.push(command.clone());
            }
        }
    }
    (whole, origins)
}

fn replace<T: Clone>(value: &mut Option<T>, higher: &Option<T>, changed: impl FnOnce()) {
    if higher.is_some() {
        value.clone_from(higher);
        changed();
    }
}

/// The first file to name an entry is its origin.
fn union<T: Clone + PartialEq>(list: &mut Vec<T>, more: &[T], mut added: impl FnMut(&T)) {
    for entry in more {
        if !list.contains(entry) {
            added(entry);
            list.push(entry.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::NetworkMode;
    use super::super::validate::{Origin, parse_profile};
    use super::*;

    fn layers(texts: &[&str]) -> Vec<Layer> {
        let (file, folder, home) = (Path::new("/p/devbox.toml"), Path::new("/p"), Path::new("/h"));
        texts.iter().map(|text| parse_profile(&Origin { file, text, folder, home }).unwrap()).collect()
    }

    #[test]
    fn merges_by_kind() {
        let layers = layers(&[
            "packages = [\"a\", \"b\"]\nshell = \"/bin/sh\"\n[env]\nA = \"1\"\nB = \"1\"\npass = [\"X\"]\n\
             [[mounts]]\nsource = \"/1\"\ntarget = \"/x\"\n[[mounts]]\nsource = \"/1\"\ntarget = \"/y\"\n\
             [hooks]\ncreate = [\"one\"]\n[tasks]\nt = \"1\"\n[network]\nmode = \"none\"",
            "",
            "packages = [\"c\", \"a\"]\nshell = \"/bin/zsh\"\n[env]\nB = \"2\"\npass = [\"X\", \"Y\"]\n\
             [[mounts]]\nsource = \"/2\"\ntarget = \"/x\"\nread_only = true\n\
             [hooks]\ncreate = [\"one\"]\n[tasks]\nt = \"2\"\nu = \"2\"",
        ]);
        let (whole, origins) = merge(layers.iter().enumerate());
        assert_eq!(whole.packages, ["a", "b", "c"]);
        assert_eq!(whole.shell.as_deref(), Some(Path::new("/bin/zsh")));
        assert_eq!(whole.network_mode, Some(NetworkMode::None));
        assert_eq!((whole.env["A"].as_str(), whole.env["B"].as_str()), ("1", "2"));
        assert_eq!(whole.pass, ["X", "Y"]);
        let commands: Vec<&str> = whole.create.iter().map(|hook| hook.command.as_str()).collect();
        assert_eq!(commands, ["one", "one"]);
        assert_eq!((whole.tasks["t"].as_str(), whole.tasks["u"].as_str()), ("2", "2"));
        assert_eq!(whole.mounts.len(), 2);
        assert_eq!((whole.mounts[0].source.as_path(), whole.mounts[0].read_only), (Path::new("/2"), true));
        for (key, layer) in [
            ("shell", 2),
            ("packages.a", 0),
            ("packages.c", 2),
            ("env.A", 0),
            ("env.B", 2),
            ("env.pass.X", 0),
            ("mounts./x", 2),
            ("mounts./y", 0),
            ("hooks.create.0", 0),
            ("hooks.create.1", 2),
            ("network.mode", 0),
        ] {
            assert_eq!(origins.get(key), Some(&layer), "{key}");
        }
        assert_eq!(origins.get("user"), None);
    }
}
