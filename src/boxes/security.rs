//! What a running box may do, as its start left it for other commands: a file in the box's runtime directory.

use std::path::Path;

use super::directory::BoxDir;
use super::error::{BoxesResult, IoContext};
use super::session::{Options, SessionError};
use crate::profile::{LoadedProfile, Security};
use crate::userns::idmap::IdMode;

/// The file's name.
const FILE: &str = "security.json";

/// Leaves what the box is started with.
pub(super) fn save(runtime: &Path, security: &Security) -> BoxesResult<()> {
    let path = runtime.join(FILE);
    let text = serde_json::to_vec(security).unwrap_or_default();
    std::fs::write(&path, text).at("write", &path)
}

/// What the box of this runtime directory was started with; `None` where there is none.
#[must_use]
pub fn load(runtime: &Path) -> Option<Security> {
    serde_json::from_slice(&std::fs::read(runtime.join(FILE)).ok()?).ok()
}

/// What is typed cannot change a box that runs: it must have been started so.
pub(super) fn require(directory: &BoxDir, loaded: &LoadedProfile, options: &Options) -> Result<(), SessionError> {
    match load(&directory.runtime()) {
        Some(running) if options.own_security && running != loaded.profile.security => Err(SessionError::OtherSecurity),
        _ => Ok(()),
    }
}

/// In a line: what differs from other boxes with these ids. Empty if nothing does.
#[must_use]
pub fn line(security: &Security, mode: IdMode) -> String {
    let mut words = Vec::new();
    for changes in [&security.capabilities, &security.seccomp] {
        words.extend(changes.more.iter().cloned());
        words.extend(changes.less.iter().map(|name| format!("no {name}")));
    }
    // With a range they are there.
    if security.emulate_ids && mode == IdMode::Single {
        words.push("emulated ids".to_owned());
    }
    if security.no_new_privileges {
        words.push("no new privileges".to_owned());
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::security::Changes;

    #[test]
    fn what_differs_is_said_and_kept() {
        let set = |name: &str| std::iter::once(name.to_owned()).collect();
        let security = Security {
            capabilities: Changes { more: set("CAP_NET_ADMIN"), less: set("CAP_NET_RAW") },
            emulate_ids: true,
            no_new_privileges: true,
            seccomp: Changes { more: set("keyctl"), ..Changes::default() },
        };
        let range = "CAP_NET_ADMIN, no CAP_NET_RAW, keyctl, no new privileges";
        assert_eq!(line(&security, IdMode::Range), range);
        assert_eq!(line(&security, IdMode::Single), range.replace("keyctl", "keyctl, emulated ids"));
        assert_eq!(line(&Security::default(), IdMode::Single), "");
        let runtime = tempfile::tempdir().unwrap();
        assert_eq!(load(runtime.path()), None);
        save(runtime.path(), &security).unwrap();
        assert_eq!(load(runtime.path()), Some(security));
    }
}
