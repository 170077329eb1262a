//! The profiles that come with devbox, embedded in the binary.

/// A shipped profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shipped {
    /// What `extends` calls it.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

impl Shipped {
    /// What it is for: the first line of the file, which is a comment.
    pub fn summary(&self) -> &'static str {
        self.text.lines().next().unwrap_or_default().trim_start_matches('#').trim()
    }
}

macro_rules! shipped {
    ($($name:literal),*) => {
        &[$(Shipped { name: $name, text: include_str!(concat!("../../profiles/", $name, ".toml")) }),*]
    };
}

/// All of them, in the order in which they are listed.
pub const SHIPPED: &[Shipped] = shipped!["base", "rust", "python", "node", "go", "c", "java", "agent"];

/// The shipped profile `name`.
pub fn find_shipped(name: &str) -> Option<&'static Shipped> {
    SHIPPED.iter().find(|shipped| shipped.name == name)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::validate::{Extends, Origin, parse_profile};
    use super::super::{Grant, NetworkMode};
    use super::*;

    #[test]
    fn all_are_valid_and_say_what_they_are() {
        for shipped in SHIPPED {
            let root = Path::new("/");
            let origin = Origin { file: Path::new(shipped.name), text: shipped.text, folder: root, home: root };
            let layer = parse_profile(&origin).unwrap_or_else(|error| panic!("{}", error.render(false)));
            assert!(shipped.text.starts_with("# ") && shipped.summary().len() > 10, "{}", shipped.name);
            // They fit any base, name no box, and want nothing of the host.
            assert_eq!((layer.name, layer.base), (None, None), "{}", shipped.name);
            assert!(layer.mounts.is_empty() && layer.pass.is_empty(), "{}", shipped.name);
            assert!(layer.grants.values().all(|on| !on) && layer.dbus.is_empty(), "{}", shipped.name);
            if let Some(extends) = layer.extends {
                assert_eq!(extends.value, Extends::Name("base".into()), "{}", shipped.name);
            }
        }
    }

    #[test]
    fn the_agent_is_kept_apart() {
        let root = Path::new("/");
        let origin = Origin { file: root, text: find_shipped("agent").unwrap().text, folder: root, home: root };
        let layer = parse_profile(&origin).unwrap();
        assert_eq!(layer.grants, [(Grant::SshAgent, false), (Grant::GitConfig, false)].into());
        assert_eq!(layer.network_mode, Some(NetworkMode::Private));
        assert_eq!(layer.mask, [Path::new(".env"), Path::new(".env.local")]);
        assert_eq!(layer.protect, [Path::new(".git")]);
        assert!(layer.network.egress.is_some_and(|list| !list.is_empty()));
        assert_eq!((layer.security.no_new_privileges, layer.review), (Some(true), Some(true)));
    }
}
