//! The generated layer of a box: files and mount points that are made for it, below everything that it changed itself.
//!
//! It is made anew when what it is made from has changed, which one small file tells ([`Made`]).

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::environment::MARKS;
use super::error::{BoxesResult, IoContext};
use super::state::write_json;
use crate::base::RootLayers;
use crate::image::digest;
use crate::sandbox::etc::{self, Base, Generated, ca, hosts, locale};
use crate::userns::idmap::{IdMap, IdMode};
use crate::userns::stage;

/// What the layer is made from.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// The box's id.
    pub id: &'a str,
    /// The box's name.
    pub name: &'a str,
    /// The base.
    pub base: &'a RootLayers,
    /// Layers of the box above the base, the topmost first.
    pub above: &'a [PathBuf],
    /// The ids of the box.
    pub map: &'a IdMap,
    /// The name of the user that is given the invoking uid, unless that is root.
    pub user: Option<&'a str>,
    /// The host's extra CA certificates are wanted.
    pub certificates: bool,
    /// Directories to mount on.
    pub mount_points: Vec<PathBuf>,
    /// Files to mount on.
    pub placeholders: Vec<PathBuf>,
    /// The host's `LANG`.
    pub language: Option<String>,
}

/// What was made: `generated/made.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Digest of everything that the layer depends on.
    key: String,
    /// Variables that every session of the box has.
    pub environment: Vec<(String, String)>,
}

impl Made {
    /// What the box's sessions have in their environment. Empty before the first start.
    #[must_use]
    pub fn load(directory: &Path) -> Self {
        std::fs::read(directory.join("made.json"))
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default()
    }
}

/// Where the layer's tree lies.
#[must_use]
pub fn tree(directory: &Path) -> PathBuf {
    directory.join("fs")
}

/// Makes the layer in `directory` unless it is up to date.
pub fn make(directory: &Path, inputs: &Inputs<'_>) -> BoxesResult<Made> {
    let key = key(inputs);
    let known = Made::load(directory);
    if known.key == key && tree(directory).is_dir() {
        return Ok(known);
    }
    let view = super::view::View::new(inputs.above, inputs.base);
    let (files, environment) = contents(inputs, &view);
    let (points, map, target) = (inputs.mount_points.clone(), inputs.map, tree(directory));
    let home = inputs.user.map(|user| {
        let known = super::user::id_in(&view, user);
        (Path::new("/home").join(user), known.unwrap_or(map.user))
    });
    stage::run_mapped(map, || {
        write(&target, &files, &points, home.as_ref())
            .map_err(|error| format!("cannot write `{}`: {error}", target.display()))
    })
    .map_err(|source| super::error::BoxesError::Generated { path: directory.to_owned(), source })?;
    let made = Made { key, environment };
    write_json(&directory.join("made.json"), &made)?;
    Ok(made)
}

/// Files of the host that go into the layer are told by their identity: reading them all costs more than a start.
fn key(inputs: &Inputs<'_>) -> String {
    let mut text = format!(
        "7 {} {} {} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        inputs.id,
        inputs.name,
        inputs.base.id,
        inputs.above,
        inputs.map.layout(),
        inputs.user,
        inputs.certificates,
        inputs.mount_points,
        inputs.placeholders,
        inputs.language
    );
    let identity = |path: &str| {
        std::fs::metadata(path).map(|meta| format!("{path} {} {} {}", meta.ino(), meta.size(), meta.mtime_nsec()))
    };
    for path in ca::BUNDLES.iter().chain(&ca::ANCHORS).chain(&["/etc/localtime"]) {
        text.push_str(&identity(path).unwrap_or_default());
    }
    digest::of_bytes(text.as_bytes())
}

type Variables = Vec<(String, String)>;

fn contents(inputs: &Inputs<'_>, base: &dyn Base) -> (Vec<Generated>, Variables) {
    let hostname = hosts::host_name(inputs.name);
    let mut environment = inputs.base.environment.clone();
    let mut files = vec![
        hosts::hostname_file(&hostname),
        etc::machine_id(inputs.id),
        // Mounted over at each start.
        Generated::file("/etc/hosts", ""),
        Generated::file("/etc/resolv.conf", ""),
    ];
    let zone = std::fs::read_link("/etc/localtime").ok().map(|target| target.to_string_lossy().into_owned());
    let zone_content = std::fs::read("/etc/localtime").ok();
    files.extend(locale::time_zone(zone.as_deref(), zone_content.as_deref(), base));
    if let Some(wanted) = &inputs.language {
        let exists = |path: &Path| etc::resolve(base, path).is_some_and(|path| base.exists(&path));
        environment.push(("LANG".to_owned(), locale::choose_locale(wanted, exists)));
    }
    files.extend(inputs.placeholders.iter().map(|path| Generated::file(path, "")));
    if inputs.map.mode == IdMode::Single {
        files.extend(etc::apt_without_sandbox(base));
    }
    if inputs.certificates {
        let trust = ca::trust(&host_trust(), base);
        files.extend(trust.files);
        environment.extend(trust.environment);
    }
    if let Some(user) = inputs.user {
        files.extend(accounts(user, inputs.map.user, base));
    }
    (files, environment)
}

/// The base's `/etc/passwd` and `/etc/group` with one more user, if it does not know that name.
fn accounts(user: &str, id: u32, base: &dyn Base) -> Vec<Generated> {
    let extend = |path: &str, line: String| {
        let mut text = base.read(Path::new(path)).unwrap_or_default();
        let known = text.split(|byte| *byte == b'\n').any(|line| line.starts_with(format!("{user}:").as_bytes()));
        if known {
            return None;
        }
        // First, so that the id has this name even where the base gives it another one as well.
        text.splice(..0, line.bytes());
        Some(Generated::file(path, text))
    };
    let passwd = extend("/etc/passwd", format!("{user}:*:{id}:{id}::/home/{user}:/bin/sh\n"));
    let group = extend("/etc/group", format!("{user}:x:{id}:\n"));
    // The box belongs to its user, who needs no password to change it. In single mode nobody else exists.
    let sudo = Generated {
        mode: 0o440,
        ..Generated::file("/etc/sudoers.d/devbox", format!("{user} ALL=(ALL:ALL) NOPASSWD: ALL\n"))
    };
    passwd.into_iter().chain(group).chain([sudo]).collect()
}

/// What the host trusts.
#[must_use]
pub fn host_trust() -> ca::HostTrust {
    let bundle = ca::BUNDLES.iter().find_map(|path| std::fs::read(path).ok()).unwrap_or_default();
    let mut anchors = Vec::new();
    let files: BTreeSet<PathBuf> = ca::ANCHORS
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
        .collect();
    for path in files {
        if let Ok(content) = std::fs::read(&path) {
            anchors.extend_from_slice(&content);
            anchors.push(b'\n');
        }
    }
    ca::HostTrust { bundle, anchors }
}

/// Runs as the box's root. The tree is ours alone: it is written beside the old one and takes its place.
fn write(
    target: &Path,
    files: &[Generated],
    mount_points: &[PathBuf],
    home: Option<&(PathBuf, u32)>,
) -> std::io::Result<()> {
    let fresh = target.with_extension("new");
    for old in [&fresh, target] {
        match std::fs::remove_dir_all(old) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    std::fs::create_dir_all(&fresh)?;
    // The top directory of the stack's lowest layer that has one decides nothing: overlayfs takes the topmost's mode.
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o755))?;
    let below = |path: &Path| fresh.join(path.strip_prefix("/").unwrap_or(path));
    // Whoever runs the hooks leaves the marks.
    for point in mount_points.iter().map(PathBuf::as_path).chain([Path::new(MARKS)]) {
        std::fs::create_dir_all(below(point))?;
    }
    for file in files {
        let path = below(&file.path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        if file.is_symlink() {
            let target: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(&file.content);
            std::os::unix::fs::symlink(target, &path)?;
        } else {
            std::fs::write(&path, &file.content)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(file.mode))?;
        }
    }
    let homes = [Path::new("/root")].into_iter().chain(home.map(|(path, _)| path.as_path()));
    for private in homes.map(|home| below(&home.join(".gnupg"))).filter(|path| path.is_dir()) {
        // GnuPG complains of any other mode.
        std::fs::set_permissions(private, std::fs::Permissions::from_mode(0o700))?;
    }
    if let Some((path, owner)) = home {
        give_to(&below(path), *owner)?;
        give_to(&below(Path::new(MARKS)), *owner)?;
    }
    std::fs::rename(&fresh, target)
}

/// A home directory and all that was made in it belong to its user.
fn give_to(path: &Path, owner: u32) -> std::io::Result<()> {
    std::os::unix::fs::lchown(path, Some(owner), Some(owner))?;
    if std::fs::symlink_metadata(path)?.is_dir() {
        for entry in std::fs::read_dir(path)? {
            give_to(&entry?.path(), owner)?;
        }
    }
    Ok(())
}

/// So that callers can name the directory in errors.
pub(super) fn prepare_directory(directory: &Path) -> BoxesResult<()> {
    std::fs::create_dir_all(directory).at("create", directory)
}
