//! A profile that came with a project asks once before it gets anything of the host.
//!
//! The measure is what the user's own `config.toml` says: whatever goes beyond it is a [`HostWish`], whoever's file it is
//! in, for it is the project that chose it. `devbox.local.toml` is measured by `devbox.toml` as well: code that runs in
//! a box may create the one, and cannot change the other. An answer is remembered as a file named
//! `<data>/trust/<digest>`; the digest covers the project's path, the content of every file that is not the user's own, and
//! the wishes with their symlinks resolved. An edited profile, a moved project, or a symlink in the project that now leads
//! elsewhere asks again.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use super::egress::{self, Rule};
use super::error::ProfileError;
use super::load::resolve_links;
use super::ports::{HostPort, Published};
use super::resolve::{LoadedFile, LoadedProfile, Source};
use super::share::{Cache, Grant, granted};
use super::validate::{BaseChoice, Layer};
use super::{DEFAULT_PASS, NetworkMode, Profile};
use crate::base::BaseSpec;
use crate::paths::{Paths, create_private};
use crate::text::sanitize;

/// Something of the host that a project's profile wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HostWish {
    /// To see a path that is outside the project, or that the user's configuration hides or protects.
    Mount {
        /// On the host, symlinks resolved.
        source: PathBuf,
        /// In the box.
        target: PathBuf,
        /// Only to look.
        read_only: bool,
    },
    /// Something that is shared by name.
    Share {
        /// What.
        grant: Grant,
    },
    /// To talk to a program of the user's session.
    Bus {
        /// Its name on the session bus.
        name: String,
    },
    /// To read and change what other boxes find in their package caches.
    Cache {
        /// Whose.
        cache: Cache,
    },
    /// To be on the host's network, with its local services.
    HostNetwork,
    /// More network than the user's configuration, or the project's profile without the local file, gives.
    MoreNetwork {
        /// What it gives.
        from: NetworkMode,
        /// What is wanted.
        to: NetworkMode,
    },
    /// To let other machines reach a port of the box.
    PublicPort {
        /// Where on the host, and which port.
        port: Published,
    },
    /// To reach a service of the host that listens on its loopback.
    HostPort {
        /// Which.
        port: HostPort,
    },
    /// To be in the network of another box.
    JoinNetwork {
        /// Its name.
        name: String,
    },
    /// To reach what the user's own list does not name.
    Egress {
        /// What; `None` for everything.
        rule: Option<Rule>,
    },
    /// To run something on the host, before each start of the box.
    HostCommand {
        /// As it is shown; what it comes to is in the file.
        command: String,
    },
    /// The value of a variable of the host, which may be a secret.
    Variable {
        /// Its name.
        name: String,
    },
    /// A root file system from outside the project.
    Rootfs {
        /// On the host, symlinks resolved.
        path: PathBuf,
    },
    /// A root file system that is fetched, or built on such, where the user's own configuration limits the network.
    Fetch {
        /// Which.
        base: String,
    },
    /// A profile from outside the project.
    Extends {
        /// On the host, symlinks resolved.
        path: PathBuf,
    },
    /// To change the project, which one of these protects.
    ChangeProject,
    /// To see a part of the project that one of these hides.
    Unmask {
        /// Relative to the project.
        path: PathBuf,
    },
    /// A capability that boxes do not have.
    Capability {
        /// In the kernel's words.
        name: String,
    },
    /// A system call that boxes cannot make.
    SystemCall {
        /// Its name.
        name: String,
    },
    /// Programs that gain privileges, which one of these forbids.
    NewPrivileges,
    /// To change a part of the project that one of these protects.
    Unprotect {
        /// Relative to the project.
        path: PathBuf,
    },
    /// To be obeyed although the file belongs to another user.
    ForeignFile {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
}

impl std::fmt::Display for HostWish {
    /// The rest of the sentence "this profile wants to ...", without control characters.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let clean = |path: &Path| sanitize(&path.to_string_lossy()).into_owned();
        match self {
            Self::Mount { source, target, read_only } => {
                let verb = if *read_only { "read" } else { "read and change" };
                write!(f, "{verb} `{}` of the host, as `{}`", clean(source), clean(target))
            }
            Self::Share { grant } => f.write_str(grant.wish()),
            Self::Bus { name } => write!(f, "talk to `{}` on your session bus", sanitize(name)),
            Self::Cache { cache } => {
                write!(f, "read and change the downloads of `{}` that boxes share", cache.name())
            }
            Self::HostNetwork => f.write_str("use the host's network, with every service that listens on it locally"),
            Self::MoreNetwork { from, to } => {
                write!(f, "set the network to `{}`, which is limited to `{}`", mode(*to), mode(*from))
            }
            Self::PublicPort { port } => write!(f, "let other machines reach it: `{port}`"),
            Self::HostPort { port } => write!(f, "reach the port `{port}` of the host's loopback"),
            Self::JoinNetwork { name } => write!(f, "be in the network of the box `{}`", sanitize(name)),
            Self::Egress { rule: Some(rule) } => write!(f, "reach `{rule}` over the network, beyond your own list"),
            Self::Egress { rule: None } => f.write_str("reach everything over the network, beyond your own list"),
            Self::HostCommand { command } => {
                write!(f, "run `{}` on the host, as you, with whatever the project holds by then", sanitize(command))
            }
            Self::Variable { name } => write!(f, "read the environment variable `{}`", sanitize(name)),
            Self::Rootfs { path } => write!(f, "use `{}` as its root file system", clean(path)),
            Self::Fetch { base } => write!(f, "fetch {}, beyond your own list", sanitize(base)),
            Self::Extends { path } => write!(f, "build on the profile `{}`, outside the project", clean(path)),
            Self::ChangeProject => f.write_str("change the project, which is set to be read-only"),
            Self::Unmask { path } => write!(f, "see `{}`, which is set to be hidden", clean(path)),
            Self::Unprotect { path } => write!(f, "change `{}`, which is set to be protected", clean(path)),
            Self::Capability { name } => write!(f, "have the capability `{name}`"),
            Self::SystemCall { name } => write!(f, "make the system call `{name}`, which boxes cannot"),
            Self::NewPrivileges => f.write_str("run setuid programs, which is forbidden"),
            Self::ForeignFile { path, owner } => {
                write!(f, "be used although `{}` belongs to uid {owner}, not to you", clean(path))
            }
        }
    }
}

fn mode(mode: NetworkMode) -> &'static str {
    match mode {
        NetworkMode::None => "none",
        NetworkMode::Private => "private",
        NetworkMode::Auto => "auto",
        NetworkMode::Host => "host",
    }
}

/// The wishes as sentences for the question, each one line, without control characters.
pub fn describe(wants: &[HostWish]) -> Vec<String> {
    wants.iter().map(ToString::to_string).collect()
}

/// Narrows `baseline` to what `stated` leaves of it.
pub(super) fn restrict(baseline: &mut Layer, stated: &Layer) {
    baseline.network_mode = match (baseline.network_mode, stated.network_mode) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    baseline.network.egress = match (baseline.network.egress.take(), &stated.network.egress) {
        (Some(own), Some(stated)) => {
            Some(stated.iter().filter(|rule| own.iter().any(|own| own.covers(rule))).cloned().collect())
        }
        (own, stated) => own.or_else(|| stated.clone()),
    };
    if stated.read_only == Some(true) {
        baseline.read_only = Some(true);
    }
    baseline.mask.extend(stated.mask.iter().cloned());
    baseline.protect.extend(stated.protect.iter().cloned());
    for (key, value) in &stated.limits {
        baseline.limits.entry(*key).and_modify(|own| *own = (*own).min(*value)).or_insert(*value);
    }
    baseline.security.capabilities.restrict(&stated.security.capabilities);
    baseline.security.seccomp.restrict(&stated.security.seccomp);
    if stated.security.no_new_privileges == Some(true) {
        baseline.security.no_new_privileges = Some(true);
    }
    if stated.require_limits == Some(true) {
        baseline.require_limits = Some(true);
    }
}

/// What `profile` wants beyond `baseline`, which is what the user's own configuration says on its own.
pub(super) fn wishes(project: &Path, profile: &Profile, baseline: &Layer, files: &[LoadedFile]) -> Vec<HostWish> {
    let mut wants = Vec::new();
    foreign_files(files, rustix::process::getuid().as_raw(), &mut wants);
    for file in files {
        if let Source::Untrusted(path) = &file.source {
            let path = resolve_links(path);
            // `devbox.toml` itself may be a symlink to anywhere; what it says is checked all the same.
            if file.source.file().and_then(Path::parent) != Some(project) && !path.starts_with(project) {
                wants.push(HostWish::Extends { path });
            }
        }
    }
    if let BaseSpec::Directory(path) | BaseSpec::Archive(path) = &profile.base {
        let own = matches!(&baseline.base, Some(BaseChoice::Rootfs(rootfs)) if resolve_links(rootfs) == *path);
        let hides = |mask: &PathBuf| {
            let hidden = project.join(mask);
            path.starts_with(&hidden) || hidden.starts_with(path)
        };
        if !own && (!path.starts_with(project) || baseline.mask.iter().any(hides)) {
            wants.push(HostWish::Rootfs { path: path.clone() });
        }
    }
    if baseline.network.egress.is_some() || baseline.network_mode == Some(NetworkMode::None) {
        wants.extend(fetched(profile, baseline).map(|base| HostWish::Fetch { base }));
    }
    mounts(project, profile, baseline, &mut wants);
    let mut wish = |wanted: bool, wish: HostWish| {
        if wanted {
            wants.push(wish);
        }
    };
    let share = &profile.share;
    for grant in share.grants.difference(&granted(&baseline.grants)) {
        wish(true, HostWish::Share { grant: *grant });
    }
    for name in share.dbus.iter().filter(|name| !baseline.dbus.contains(name)) {
        wish(true, HostWish::Bus { name: name.clone() });
    }
    for cache in share.home_cache.iter().filter(|cache| !baseline.home_cache.contains(cache)) {
        wish(true, HostWish::Cache { cache: *cache });
    }
    match (baseline.network_mode, profile.network.mode) {
        (Some(NetworkMode::Host), _) => {}
        (_, NetworkMode::Host) => wish(true, HostWish::HostNetwork),
        (Some(from), to) => wish(to > from, HostWish::MoreNetwork { from, to }),
        (None, _) => {}
    }
    if let Some(name) = profile.network.join.as_ref().filter(|name| baseline.network.join.as_ref() != Some(name)) {
        wish(true, HostWish::JoinNetwork { name: name.clone() });
    }
    for port in profile.network.ports.iter().filter(|port| port.is_public() && !baseline.network.ports.contains(port)) {
        wish(true, HostWish::PublicPort { port: *port });
    }
    for port in profile.network.host_ports.iter().filter(|port| !baseline.network.host_ports.contains(port)) {
        wish(true, HostWish::HostPort { port: *port });
    }
    match (&baseline.network.egress, &profile.network.egress) {
        (None, _) => {}
        (Some(_), None) => wish(true, HostWish::Egress { rule: None }),
        (Some(own), Some(wanted)) => {
            for rule in egress::beyond(wanted, own) {
                wish(true, HostWish::Egress { rule: Some(rule.clone()) });
            }
        }
    }
    for name in profile.env.pass.iter().filter(|name| !is_harmless(name) && !baseline.pass.contains(name)) {
        wish(true, HostWish::Variable { name: name.clone() });
    }
    for file in files {
        let Some(devcontainer) = &file.layer.devcontainer else { continue };
        for name in devcontainer.variables.iter().filter(|name| !is_harmless(name) && !is_of_the_path(name)) {
            wish(!baseline.pass.contains(name), HostWish::Variable { name: name.clone() });
        }
        if let Some(initialize) = &devcontainer.initialize {
            wish(true, HostWish::HostCommand { command: initialize.shown.clone() });
        }
    }
    wish(baseline.read_only == Some(true) && !profile.project.read_only, HostWish::ChangeProject);
    for path in baseline.mask.iter().filter(|path| !profile.project.mask.contains(path)) {
        wish(true, HostWish::Unmask { path: path.clone() });
    }
    for path in baseline.protect.iter().filter(|path| !profile.project.protect.contains(path)) {
        wish(true, HostWish::Unprotect { path: path.clone() });
    }
    let (security, granted) = (&profile.security, &baseline.security);
    for name in security.capabilities.beyond(&granted.capabilities) {
        wish(true, HostWish::Capability { name: name.clone() });
    }
    for name in security.seccomp.beyond(&granted.seccomp) {
        wish(true, HostWish::SystemCall { name: name.clone() });
    }
    wish(granted.no_new_privileges == Some(true) && !security.no_new_privileges, HostWish::NewPrivileges);
    wants
}

/// What is fetched for the base, unless the user's own configuration names it.
fn fetched(profile: &Profile, baseline: &Layer) -> Option<String> {
    let (base, own) = match (&profile.build, &profile.base) {
        (Some(_), _) => ("what its Containerfile names with `FROM` and `ADD`".to_owned(), false),
        (None, BaseSpec::Image(image)) => {
            let own = matches!(&baseline.base, Some(BaseChoice::Image(own)) if own.parse() == Ok(image.clone()));
            (format!("the image `{}`", image.familiar()), own)
        }
        (None, BaseSpec::Distro(distro)) => {
            (format!("`{distro}`"), matches!(&baseline.base, Some(BaseChoice::Distro(own)) if own == distro))
        }
        _ => return None,
    };
    (!own).then_some(base)
}

/// Another user may put a `devbox.toml` into a folder above, such as `/tmp`. The host's root is nobody's enemy; and root
/// itself works in the folders of others all the time.
fn foreign_files(files: &[LoadedFile], me: u32, wants: &mut Vec<HostWish>) {
    for file in files {
        if let (Source::Untrusted(path), Some(owner)) = (&file.source, file.owner)
            && me != 0
            && owner != 0
            && owner != me
        {
            wants.push(HostWish::ForeignFile { path: path.clone(), owner });
        }
    }
}

fn mounts(project: &Path, profile: &Profile, baseline: &Layer, wants: &mut Vec<HostWish>) {
    let hidden: Vec<PathBuf> = baseline.mask.iter().map(|mask| project.join(mask)).collect();
    let protected: Vec<PathBuf> = baseline.protect.iter().map(|path| project.join(path)).collect();
    for mount in &profile.mounts {
        let granted = baseline
            .mounts
            .iter()
            .any(|own| resolve_links(&own.source) == mount.source && (mount.read_only || !own.read_only));
        let harmless = mount.source.starts_with(project)
            && (mount.read_only || baseline.read_only != Some(true))
            && (mount.read_only
                || !protected.iter().any(|kept| mount.source.starts_with(kept) || kept.starts_with(&mount.source)))
            && !hidden.iter().any(|mask| mount.source.starts_with(mask) || mask.starts_with(&mount.source));
        if !granted && !harmless {
            wants.push(HostWish::Mount {
                source: mount.source.clone(),
                target: mount.target.clone(),
                read_only: mount.read_only,
            });
        }
    }
}

/// Variables that say how output should look, and nothing about the user.
fn is_harmless(name: &str) -> bool {
    DEFAULT_PASS.contains(&name) || name.starts_with("LC_") || matches!(name, "LANGUAGE" | "TZ" | "NO_COLOR")
}

/// Variables that say what the project's path says as well.
fn is_of_the_path(name: &str) -> bool {
    matches!(name, "HOME" | "USER" | "LOGNAME")
}

/// SHA-256 in hexadecimal. Each part goes in with its length, so that no two lists of parts look alike.
pub(super) fn digest(project: &Path, files: &[LoadedFile], wants: &[HostWish]) -> String {
    let mut context = Context::new(&SHA256);
    let mut part = |bytes: &[u8]| {
        context.update(&(bytes.len() as u64).to_be_bytes());
        context.update(bytes);
    };
    part(b"devbox trust 1");
    part(project.as_os_str().as_bytes());
    for file in files {
        if let Source::Untrusted(path) | Source::Carried(path) = &file.source {
            part(path.as_os_str().as_bytes());
            part(file.text.as_bytes());
        }
    }
    part(b"wants");
    for wish in wants {
        part(format!("{wish:?}").as_bytes());
    }
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a record says; its name alone is what counts.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    version: u32,
    /// With replacement characters where it is not UTF-8.
    project: String,
    wants: Vec<String>,
}

fn directory(paths: &Paths) -> PathBuf {
    paths.data.join("trust")
}

/// Whether nothing is wanted, or the user agreed to just this.
pub fn is_trusted(paths: &Paths, loaded: &LoadedProfile) -> Result<bool, ProfileError> {
    if loaded.wants.is_empty() {
        return Ok(true);
    }
    let path = directory(paths).join(&loaded.digest);
    match path.symlink_metadata() {
        Ok(meta) => Ok(meta.is_file() && meta.uid() == rustix::process::getuid().as_raw()),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
        Err(source) => Err(ProfileError::TrustStore { operation: "read", path, source }),
    }
}

/// Remembers that the user agreed to what `loaded` wants.
pub fn trust(paths: &Paths, loaded: &LoadedProfile) -> Result<(), ProfileError> {
    let directory = directory(paths);
    create_private(&directory)?;
    let path = directory.join(&loaded.digest);
    let record =
        Record { version: 1, project: loaded.project.to_string_lossy().into_owned(), wants: describe(&loaded.wants) };
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&directory)?;
        serde_json::to_writer_pretty(&mut file, &record)?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)?;
        fs::File::open(&directory)?.sync_all()
    };
    write().map_err(|source| ProfileError::TrustStore { operation: "write", path: path.clone(), source })
}

/// Forgets every answer given for `project` (absolute, symlinks resolved), and says how many there were.
pub fn untrust(paths: &Paths, project: &Path) -> Result<usize, ProfileError> {
    let directory = directory(paths);
    let failed = |operation, path: &Path, source| ProfileError::TrustStore { operation, path: path.to_owned(), source };
    let entries = match fs::read_dir(&directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        entries => entries.map_err(|source| failed("read", &directory, source))?,
    };
    let project = project.to_string_lossy();
    let mut removed = 0;
    for entry in entries {
        let path = entry.map_err(|source| failed("read", &directory, source))?.path();
        // What is no record (a temporary file of a killed process) is not ours to judge, and trusts nothing.
        let record = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok());
        if record.is_some_and(|record| record.project == project) {
            fs::remove_file(&path).map_err(|source| failed("remove", &path, source))?;
            removed += 1;
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests;
