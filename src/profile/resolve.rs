//! From a folder to a complete profile: which files there are, what is below what.
//!
//! ```text
//! lowest   config.toml [profile]     the user's defaults
//!          the chain of `extends`    a shipped profile, one of the user's, a path; each may extend another
//!          devbox.toml
//! highest  devbox.local.toml
//! ```
//!
//! There is one chain: of `extends` too the highest file wins, so that `devbox.local.toml` can exchange it. The chain of
//! an `extends` in `config.toml` lies below that file, as everywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::devcontainer::{self, Chosen};
use super::diagnostic::Diagnostic;
use super::error::ProfileError;
use super::load::{LOCAL_FILE, Text, exists, find, read, resolve_links};
use super::lock::{self, Lock};
use super::merge::{Origins, merge};
use super::schema::At;
use super::shipped::{SHIPPED, Shipped, find_shipped};
use super::trust::{self, HostWish};
use super::validate::{
    BaseChoice, Extends, Layer, Origin, ProjectPath, default_name, is_kernel_path, name_fault, parse_config,
    parse_profile,
};
use super::{
    DEFAULT_PASS, Devcontainer, Env, Hooks, Mount, Network, Profile, Project, Root, Security, Share, registries, share,
};
use crate::base::{BaseSpec, OverlayDriver};
use crate::image::reference::Reference;
use crate::limits::Limits;
use crate::paths::{self, Paths};
use crate::registry::Settings;
use crate::text::closest;

/// How many profiles may lie below each other.
const DEPTH_MAX: usize = 16;

/// Where a layer comes from, and with that: whose word it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Part of devbox.
    Shipped(&'static str),
    /// From the user's configuration directory, or a path named there.
    User(PathBuf),
    /// Came with the project, or is named by a file that did. `devbox.local.toml` too: an archive or a repository may
    /// bring one along, and nothing on disk tells it from the user's own.
    Untrusted(PathBuf),
    /// Came with an image, which is called so.
    Carried(PathBuf),
}

impl Source {
    /// The file, or `<shipped NAME>`.
    pub fn label(&self) -> PathBuf {
        match self {
            Self::Shipped(name) => PathBuf::from(format!("<shipped {name}>")),
            Self::User(path) | Self::Untrusted(path) | Self::Carried(path) => path.clone(),
        }
    }

    /// The file, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Shipped(_) | Self::Carried(_) => None,
            Self::User(path) | Self::Untrusted(path) => Some(path),
        }
    }
}

/// One file that was read and checked.
#[derive(Debug, Clone)]
pub(super) struct LoadedFile {
    pub(super) source: Source,
    pub(super) text: String,
    /// `None` for a shipped profile.
    pub(super) owner: Option<u32>,
    pub(super) layer: Layer,
}

/// A complete profile, and how it came about.
#[derive(Debug, Clone)]
pub struct LoadedProfile {
    /// The project folder: absolute, symlinks resolved.
    pub project: PathBuf,
    /// What the box is to be. Where the project has a lock file, its base and its packages are those that were locked.
    pub profile: Profile,
    /// The base as the files name it.
    pub asked_base: BaseSpec,
    /// The lock file.
    pub lock: Option<Lock>,
    /// Where images come from.
    pub registries: Settings,
    /// Who stacks the layers of a new box; `None`: whoever can.
    pub driver: Option<OverlayDriver>,
    /// The layers, the lowest first.
    pub sources: Vec<Source>,
    /// What the project's files want of the host that the user's own configuration does not already grant.
    pub wants: Vec<HostWish>,
    /// What only a devcontainer file says, for a project that has one in place of a `devbox.toml`.
    pub devcontainer: Option<Devcontainer>,
    /// Names the project, the content of its files and what they want, in hexadecimal: what is trusted, if it is.
    pub digest: String,
    pub(super) origins: Origins,
}

impl LoadedProfile {
    /// The layer that a value comes from, by its key (see [`Origins`]); `None` for a default.
    pub fn origin(&self, key: &str) -> Option<&Source> {
        self.sources.get(*self.origins.get(key)?)
    }
}

impl Profile {
    /// The profile for the folder `start`. Without any file it is the default one: the host base, and `start` is the
    /// project.
    pub fn load(paths: &Paths, start: &Path) -> Result<LoadedProfile, ProfileError> {
        Self::load_chosen(paths, start, Chosen::default())
    }

    /// As [`Profile::load`], with what is known of a devcontainer file.
    pub fn load_chosen(paths: &Paths, start: &Path, chosen: Chosen<'_>) -> Result<LoadedProfile, ProfileError> {
        let mut loaded = Self::load_with(paths, start, chosen)?;
        if loaded.sources.iter().any(|source| source.file().and_then(Path::parent) == Some(&loaded.project)) {
            loaded.lock = lock::read(&loaded.project)?;
        }
        if let Some(lock) = &loaded.lock {
            loaded.profile.versions.clone_from(&lock.versions);
            if lock.base.is_of(&loaded.asked_base, &loaded.project) {
                loaded.profile.base = lock.base.pinned(&loaded.asked_base);
            }
        }
        Ok(loaded)
    }

    /// As [`Profile::load`], without a look at the lock file.
    pub fn load_unlocked(paths: &Paths, start: &Path) -> Result<LoadedProfile, ProfileError> {
        Self::load_with(paths, start, Chosen::default())
    }

    fn load_with(paths: &Paths, start: &Path, chosen: Chosen<'_>) -> Result<LoadedProfile, ProfileError> {
        let found = find(start, &paths.home)?;
        let loader = Loader { paths };
        let config = loader.config()?;
        let driver = config.as_ref().and_then(|config| config.layer.driver);
        let (mut top, mut carried) = (Vec::new(), Vec::new());
        if let Some(file) = found.file {
            top.push(loader.file(Source::Untrusted(file))?);
        } else {
            let files = devcontainer::find::all(&found.project)?;
            let is_one =
                |name: &String| files.iter().any(|file| devcontainer::find::name_of(&found.project, file) == *name);
            let last = match (chosen.name, &files[..]) {
                (None, [_, _, ..]) => devcontainer::find::remembered(&paths.data, &found.project).filter(is_one),
                _ => None,
            };
            let name = chosen.name.or(last.as_deref());
            if let Some(file) = devcontainer::find::choose(&found.project, &files, name)? {
                let file = loader.devcontainer(&found.project, file)?;
                if let Some((label, text)) = chosen.metadata {
                    carried = loader.metadata(&found.project, &file.layer, label, text)?;
                }
                top.push(file);
            }
        }
        let local = found.project.join(LOCAL_FILE);
        if exists(&local)? {
            top.push(loader.file(Source::Untrusted(local))?);
        }

        let own_chain = config.as_ref().map(|config| loader.chain(config)).transpose()?.unwrap_or_default();
        // What the user's own files say on their own: the measure of what the project's files want beyond it.
        let own: Vec<LoadedFile> = own_chain.into_iter().chain(config.clone()).collect();
        let (mut baseline, _) = merge(own.iter().map(|file| &file.layer).enumerate());
        // A box could have made the local file: it must not loosen what the project's profile says without it.
        if let [shared, _local] = &top[..] {
            let chain = loader.chain(shared)?;
            let (stated, _) = merge(chain.iter().chain([shared]).map(|file| &file.layer).enumerate());
            trust::restrict(&mut baseline, &stated);
        }
        let own_limits = Limits { values: baseline.limits.clone(), require: baseline.require_limits.unwrap_or(false) };
        let below = match top.iter().rev().find(|file| file.layer.extends.is_some()) {
            Some(file) => config.into_iter().chain(loader.chain(file)?).collect(),
            None => own,
        };

        let name = top.iter().rev().find_map(|file| file.layer.name.clone());
        let files: Vec<LoadedFile> = below.into_iter().chain(carried).chain(top).collect();
        let (merged, origins) = merge(files.iter().map(|file| &file.layer).enumerate());
        // Read only where they count: every start comes past here.
        let registries = match merged.base {
            Some(BaseChoice::Image(_) | BaseChoice::Build(_)) => registries::load(paths)?,
            _ => Settings::default(),
        };
        let mut devcontainer = merged.devcontainer.as_deref().cloned();
        let mut profile = complete(merged, name, &found.project, &files, &origins, &registries)?;
        if let Some(devcontainer) = devcontainer.as_mut().filter(|devcontainer| !devcontainer.features.is_empty()) {
            let with_features = BaseSpec::Image(built_image(&found.project, "-features")?);
            devcontainer.below = Some(std::mem::replace(&mut profile.base, with_features));
        }
        profile.limits.lower_to(&own_limits);
        let wants = trust::wishes(&found.project, &profile, &baseline, &files);
        let digest = trust::digest(&found.project, &files, &wants);
        let sources = files.into_iter().map(|file| file.source).collect();
        let asked_base = profile.base.clone();
        Ok(LoadedProfile {
            project: found.project,
            profile,
            asked_base,
            lock: None,
            devcontainer,
            registries,
            driver,
            sources,
            wants,
            digest,
            origins,
        })
    }

    /// Checks one file and what it extends, wherever it lies.
    pub fn check(paths: &Paths, file: &Path) -> Result<(), ProfileError> {
        let path = std::path::absolute(file).map_err(|source| ProfileError::Read { path: file.to_owned(), source })?;
        let loader = Loader { paths };
        let loaded = loader.file(Source::Untrusted(path))?;
        loader.chain(&loaded).map(|_| ())
    }
}

/// A profile that `extends` can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What `extends` calls it.
    pub name: String,
    /// The first line of the file if that is a comment. Untrusted text only as far as the user's own files are.
    pub summary: String,
    /// Whose it is.
    pub source: Source,
}

/// The profiles that `extends` can name, by name; the user's hide shipped ones. Files that cannot be read have no
/// summary.
pub fn list(paths: &Paths) -> Vec<Listed> {
    let mut all: Vec<Listed> = user_profiles(paths)
        .into_iter()
        .map(|name| {
            let path = user_profile_path(paths, &name);
            let text = read(&path).map(|file| file.text).unwrap_or_default();
            let first = text.lines().next().unwrap_or_default();
            let summary = first.strip_prefix('#').unwrap_or_default().trim().to_owned();
            Listed { name, summary, source: Source::User(path) }
        })
        .collect();
    for shipped in SHIPPED {
        if !all.iter().any(|listed| listed.name == shipped.name) {
            let (name, summary) = (shipped.name.to_owned(), shipped.summary().to_owned());
            all.push(Listed { name, summary, source: Source::Shipped(shipped.name) });
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

fn user_profile_path(paths: &Paths, name: &str) -> PathBuf {
    paths.config.join("profiles").join(format!("{name}.toml"))
}

/// A directory that is not there or cannot be read has no profiles.
fn user_profiles(paths: &Paths) -> BTreeSet<String> {
    let Ok(entries) = std::fs::read_dir(paths.config.join("profiles")) else { return BTreeSet::new() };
    entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = path.file_stem()?.to_str()?.to_owned();
            (path.extension() == Some(OsStr::new("toml")) && name_fault(&name).is_none()).then_some(name)
        })
        .collect()
}

pub(super) struct Loader<'a> {
    pub(super) paths: &'a Paths,
}

impl Loader<'_> {
    pub(super) fn config(&self) -> Result<Option<LoadedFile>, ProfileError> {
        let path = self.paths.config.join("config.toml");
        if !exists(&path)? {
            return Ok(None);
        }
        let Text { text, owner } = read(&path)?;
        let layer =
            parse_config(&Origin { file: &path, text: &text, folder: &self.paths.config, home: &self.paths.home })?;
        Ok(Some(LoadedFile { source: Source::User(path), text, owner: Some(owner), layer }))
    }

    fn file(&self, source: Source) -> Result<LoadedFile, ProfileError> {
        let path = source.label();
        let Text { text, owner } = read(&path)?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        let layer = parse_profile(&Origin { file: &path, text: &text, folder, home: &self.paths.home })?;
        Ok(LoadedFile { source, text, owner: Some(owner), layer })
    }

    fn devcontainer(&self, project: &Path, file: &Path) -> Result<LoadedFile, ProfileError> {
        let Text { text, owner } = read(file)?;
        let host = |name: &str| paths::variable(name).map(|value| value.to_string_lossy().into_owned());
        let place = devcontainer::read::Place { file, text: &text, project, home: &self.paths.home, host: &host };
        let layer = devcontainer::read::read(&place)?;
        Ok(LoadedFile { source: Source::Untrusted(file.to_owned()), text, owner: Some(owner), layer })
    }

    /// What an image carries along for the devcontainer file whose layer is `top`.
    fn metadata(&self, project: &Path, top: &Layer, label: &Path, text: &str) -> Result<Vec<LoadedFile>, ProfileError> {
        let host = |name: &str| paths::variable(name).map(|value| value.to_string_lossy().into_owned());
        let place = devcontainer::read::Place { file: label, text, project, home: &self.paths.home, host: &host };
        let own = top.devcontainer.as_deref();
        let folder = match (own.and_then(|own| own.folder.as_ref()), &top.project_path) {
            (Some(folder), _) | (None, Some(ProjectPath::Absolute(folder))) => folder,
            _ => project,
        };
        let layers =
            devcontainer::read::metadata(&place, &folder.to_string_lossy(), own.map_or("", |own| own.id.as_str()))?;
        let file =
            |layer| LoadedFile { source: Source::Carried(label.to_owned()), text: text.to_owned(), owner: None, layer };
        Ok(layers.into_iter().map(file).collect())
    }

    fn shipped(&self, shipped: &Shipped) -> Result<LoadedFile, ProfileError> {
        let source = Source::Shipped(shipped.name);
        let file = source.label();
        let folder = Path::new("/");
        let layer = parse_profile(&Origin { file: &file, text: shipped.text, folder, home: &self.paths.home })?;
        Ok(LoadedFile { source, text: shipped.text.to_owned(), owner: None, layer })
    }

    /// What `file` extends, the lowest first.
    fn chain(&self, file: &LoadedFile) -> Result<Vec<LoadedFile>, ProfileError> {
        let mut chain: Vec<LoadedFile> = Vec::new();
        let mut seen = vec![identity(&file.source)];
        loop {
            let child = chain.last().unwrap_or(file);
            let Some(extends) = &child.layer.extends else { break };
            let next = self.extended(child, extends)?;
            let id = identity(&next.source);
            if seen.contains(&id) {
                let message = format!("`extends` leads in a circle: back to `{}`", next.source.label().display());
                return Err(mistake(child, extends, message).into());
            }
            if chain.len() == DEPTH_MAX {
                let message = format!("more than {DEPTH_MAX} profiles below each other");
                return Err(mistake(child, extends, message).into());
            }
            seen.push(id);
            chain.push(next);
        }
        chain.reverse();
        Ok(chain)
    }

    fn extended(&self, child: &LoadedFile, extends: &At<Extends>) -> Result<LoadedFile, ProfileError> {
        let name = match &extends.value {
            Extends::Path(path) => {
                if !exists(path)? {
                    return Err(mistake(child, extends, format!("`{}` does not exist", path.display())).into());
                }
                return self.file(match &child.source {
                    Source::Untrusted(_) => Source::Untrusted(path.clone()),
                    _ => Source::User(path.clone()),
                });
            }
            Extends::Name(name) => name,
        };
        // The user's `rust.toml` may extend the shipped `rust`.
        let own = user_profile_path(self.paths, name);
        if child.source.file() != Some(own.as_path()) && exists(&own)? {
            return self.file(Source::User(own));
        }
        if let Some(shipped) = find_shipped(name) {
            return self.shipped(shipped);
        }
        let known: Vec<String> = list(self.paths).into_iter().map(|listed| listed.name).collect();
        let wrong = mistake(child, extends, format!("there is no profile `{name}`"));
        Err(match closest(name, known.iter().map(String::as_str)) {
            Some(meant) => Box::new(wrong.label(format!("did you mean `{meant}`?"))),
            None => Box::new(wrong.help(format!("there are {}; a path ends with `.toml`", known.join(", ")))),
        }
        .into())
    }
}

impl From<Diagnostic> for ProfileError {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::Invalid { diagnostic: Box::new(diagnostic) }
    }
}

fn mistake<T>(file: &LoadedFile, at: &At<T>, message: String) -> Diagnostic {
    Diagnostic::new(file.source.label(), &file.text, at.span.clone(), message)
}

/// The same for the same file under two names.
fn identity(source: &Source) -> PathBuf {
    source.file().map_or_else(|| source.label(), resolve_links)
}

/// Gives every key its value.
pub(super) fn complete(
    merged: Layer,
    name: Option<String>,
    project: &Path,
    files: &[LoadedFile],
    origins: &Origins,
    registries: &Settings,
) -> Result<Profile, ProfileError> {
    let project_path = match merged.project_path {
        Some(ProjectPath::Absolute(path)) => path,
        Some(ProjectPath::Same) | None if is_kernel_path(project) => {
            return Err(ProfileError::ImpossibleProject { path: project.to_owned() });
        }
        Some(ProjectPath::Same) | None => project.to_owned(),
    };
    if let Some(mount) = merged.mounts.iter().find(|mount| mount.target == project_path) {
        let key = format!("mounts.{}", mount.target.display());
        if let Some(file) = origins.get(&key).and_then(|index| files.get(*index)) {
            let span = mount.target_span.clone();
            return Err(Diagnostic::new(file.source.label(), &file.text, span, "this mount would hide the project")
                .label("the project is mounted here")
                .into());
        }
    }
    let mut pass: Vec<String> = DEFAULT_PASS.iter().map(|name| (*name).to_owned()).collect();
    pass.extend(merged.pass.into_iter().filter(|name| !DEFAULT_PASS.contains(&name.as_str())));
    let mut hooks = Hooks {
        create: merged.create,
        start: merged.start,
        enter: merged.enter,
        review: merged.review.unwrap_or(false),
    };
    if let Some(devcontainer) = &merged.devcontainer {
        devcontainer::hooks::arrange(&mut hooks, devcontainer.wait_for.as_deref());
    }
    let profile = Profile {
        name: name.unwrap_or_else(|| default_name(project)),
        build: match &merged.base {
            Some(BaseChoice::Build(build)) => Some(build.clone()),
            _ => None,
        },
        base: base_spec(merged.base, project, registries)?,
        packages: merged.packages,
        versions: BTreeMap::new(),
        shell: merged.shell,
        user: merged.user.unwrap_or_else(|| "root".to_owned()),
        lifetime: merged.lifetime.unwrap_or_default(),
        terminal_integration: merged.terminal_integration.unwrap_or_default(),
        project: Project {
            path: project_path,
            mask: merged.mask,
            protect: merged.protect,
            read_only: merged.read_only.unwrap_or(false),
            folder: merged.devcontainer.as_ref().and_then(|devcontainer| devcontainer.folder.clone()),
            is_mounted: true,
        },
        root: Root::default(),
        volumes: merged.volumes,
        env: Env { set: merged.env, pass, session: merged.session_env },
        mounts: merged
            .mounts
            .into_iter()
            .map(|mount| Mount {
                source: resolve_links(&mount.source),
                target: mount.target,
                read_only: mount.read_only,
            })
            .collect(),
        share: Share { grants: share::granted(&merged.grants), dbus: merged.dbus, home_cache: merged.home_cache },
        network: Network {
            mode: merged.network_mode.unwrap_or_default(),
            ports: merged.network.ports,
            forward: merged.network.forward.unwrap_or_default(),
            host_ports: merged.network.host_ports,
            bandwidth: merged.network.bandwidth.unwrap_or_default(),
            join: merged.network.join,
            egress: merged.network.egress,
        },
        security: Security::from(merged.security),
        limits: Limits { values: merged.limits, require: merged.require_limits.unwrap_or(false) },
        tasks: merged.tasks,
        hooks,
    };
    profile.require_walls()?;
    Ok(profile)
}

/// The repository of the images that projects build; the tag is made from the project's path.
pub const BUILT_IMAGES: &str = "localhost/devbox-build";

/// The name of the image that a project builds: it is made anew when it changes.
fn built_image(project: &Path, end: &str) -> Result<Reference, ProfileError> {
    let digest = crate::image::digest::of_bytes(project.as_os_str().as_encoded_bytes());
    let name = format!("{BUILT_IMAGES}:{}{end}", &digest[..16]);
    name.parse().map_err(|source| ProfileError::Image { name, source })
}

/// What is at the path decides whether it is an archive; of what is not there, its name.
fn base_spec(choice: Option<BaseChoice>, project: &Path, registries: &Settings) -> Result<BaseSpec, ProfileError> {
    Ok(match choice {
        Some(BaseChoice::Build(_)) => BaseSpec::Image(built_image(project, "")?),
        None | Some(BaseChoice::Host) => BaseSpec::Host,
        Some(BaseChoice::Distro(distro)) => BaseSpec::Distro(distro),
        Some(BaseChoice::Image(name)) => {
            BaseSpec::Image(registries.reference(&name).map_err(|source| ProfileError::Image { name, source })?)
        }
        Some(BaseChoice::Rootfs(path)) => {
            let path = resolve_links(&path);
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let named_archive = [".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst"].iter().any(|end| name.ends_with(end));
            let archive = path.metadata().map_or(named_archive, |meta| !meta.is_dir());
            if archive { BaseSpec::Archive(path) } else { BaseSpec::Directory(path) }
        }
    })
}

#[cfg(test)]
pub(super) mod tests;
