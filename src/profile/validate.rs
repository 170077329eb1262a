//! One file's values, checked: a [`Layer`].
//!
//! Pure: paths are made absolute by their spelling alone, nothing is looked up. The first mistake is the error.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use self::names::distro_fault;
pub use self::names::{is_user_name, package_fault};
pub use self::network::NetworkLayer;
use super::diagnostic::Diagnostic;
use super::schema::{At, RawBuild, RawConfig, RawMount, RawProfile};
use super::security::{self, SecurityLayer};
use super::{
    Build, Cache, Devcontainer, Grant, Hook, Lifetime, NetworkMode, TerminalIntegration, Volume, limits, registries,
    share, user,
};
use crate::base::OverlayDriver;
use crate::image::reference::Reference;
use crate::limits::Key;
use crate::text::closest;

/// The longest name of a box, in bytes: it becomes a host name and a file name.
pub const NAME_MAX_BYTES: usize = 64;

/// What one file says, checked. `None` and empty lists: the file says nothing about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layer {
    /// `overlay.driver`, which only the user can choose.
    pub driver: Option<OverlayDriver>,
    /// The name of the box.
    pub name: Option<String>,
    /// The profile below this one.
    pub extends: Option<At<Extends>>,
    /// Which base.
    pub base: Option<BaseChoice>,
    /// Packages.
    pub packages: Vec<String>,
    /// The shell.
    pub shell: Option<PathBuf>,
    /// The user.
    pub user: Option<String>,
    /// When the box stops.
    pub lifetime: Option<Lifetime>,
    /// Whether shells speak with the terminal.
    pub terminal_integration: Option<TerminalIntegration>,
    /// Where the project is mounted.
    pub project_path: Option<ProjectPath>,
    /// What of the project is hidden.
    pub mask: Vec<PathBuf>,
    /// What of the project cannot be changed.
    pub protect: Vec<PathBuf>,
    /// Whether the project can be changed.
    pub read_only: Option<bool>,
    /// Variables that are set.
    pub env: BTreeMap<String, String>,
    /// Variables that are taken from the host.
    pub pass: Vec<String>,
    /// Mounts.
    pub mounts: Vec<LayerMount>,
    /// Shares that are on or off.
    pub grants: BTreeMap<Grant, bool>,
    /// Names of the session bus.
    pub dbus: Vec<String>,
    /// Caches of package managers.
    pub home_cache: Vec<Cache>,
    /// The network.
    pub network_mode: Option<NetworkMode>,
    /// The rest of the network.
    pub network: NetworkLayer,
    /// Limits, in the units of their keys.
    pub limits: BTreeMap<Key, u64>,
    /// Whether a limit that does not hold is an error.
    pub require_limits: Option<bool>,
    /// What processes may do.
    pub security: SecurityLayer,
    /// Tasks.
    pub tasks: BTreeMap<String, String>,
    /// Hooks that run once.
    pub create: Vec<Hook>,
    /// Hooks of each start of the box.
    pub start: Vec<Hook>,
    /// Hooks of each session.
    pub enter: Vec<Hook>,
    /// Whether what a session changes is looked at.
    pub review: Option<bool>,
    /// Variables that are set last; `None`: taken away.
    pub session_env: BTreeMap<String, Option<String>>,
    /// Volumes.
    pub volumes: Vec<Volume>,
    /// What only a devcontainer file says.
    pub devcontainer: Option<Box<Devcontainer>>,
}

/// What `extends` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extends {
    /// A profile of the user's or a shipped one.
    Name(String),
    /// A file, absolute.
    Path(PathBuf),
}

/// `base`, `image`, `distro` and `rootfs` as one choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseChoice {
    /// The host's own system.
    Host,
    /// The name of an image, or an alias of one.
    Image(String),
    /// `distribution:release`
    Distro(String),
    /// A directory or an archive, absolute.
    Rootfs(PathBuf),
    /// An image that is built.
    Build(Build),
}

/// `project.path`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProjectPath {
    /// The same path as on the host.
    Same,
    /// This one, absolute.
    Absolute(PathBuf),
}

/// One mount of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerMount {
    /// Absolute; symlinks are not resolved yet.
    pub source: PathBuf,
    /// Absolute, without `.` and `..`.
    pub target: PathBuf,
    /// Whether the box can change it.
    pub read_only: bool,
    /// Where `target` stands in the file.
    pub target_span: Range<usize>,
}

/// The file being checked.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// Its path, or a word for a text that is no file.
    pub file: &'a Path,
    /// Its text.
    pub text: &'a str,
    /// What relative paths start from, absolute.
    pub folder: &'a Path,
    /// What `~` means, absolute.
    pub home: &'a Path,
}

pub(super) type Checked<T> = Result<T, Box<Diagnostic>>;

/// Reads and checks the text of a profile.
pub fn parse_profile(origin: &Origin) -> Checked<Layer> {
    let raw = toml::from_str::<RawProfile>(origin.text)
        .map_err(|error| Diagnostic::from_toml(origin.file, origin.text, &error))?;
    origin.check(raw)
}

/// Reads and checks the text of the user's `config.toml`.
pub fn parse_config(origin: &Origin) -> Checked<Layer> {
    let raw = toml::from_str::<RawConfig>(origin.text)
        .map_err(|error| Diagnostic::from_toml(origin.file, origin.text, &error))?;
    if let Some(name) = &raw.profile.name {
        return Err(origin.wrong(name, "`name` cannot be a default: every project would have the same").into());
    }
    registries::check(origin.file, origin.text, raw.registries, raw.images)?;
    user::build_cache(origin.file, origin.text, raw.build_cache)?;
    let driver = raw.overlay.driver.into();
    Ok(Layer { driver, ..origin.check(raw.profile)? })
}

impl Origin<'_> {
    pub(super) fn wrong<T>(&self, at: &At<T>, message: impl AsRef<str>) -> Diagnostic {
        Diagnostic::new(self.file, self.text, at.span.clone(), message)
    }

    pub(super) fn check(&self, raw: RawProfile) -> Checked<Layer> {
        let base = self.base(raw.base, raw.image, raw.distro, raw.rootfs, raw.build)?;
        let mut env = BTreeMap::new();
        for (name, value) in raw.env.set {
            self.variable_name(&name)?;
            self.no_nul(&value)?;
            env.insert(name.value, value.value);
        }
        let mut tasks = BTreeMap::new();
        for (name, command) in raw.tasks {
            self.task_name(&name)?;
            tasks.insert(name.value, self.command(command)?);
        }
        Ok(Layer {
            name: raw.name.map(|name| self.name(name)).transpose()?,
            extends: raw.extends.map(|extends| self.extends(extends)).transpose()?,
            base,
            packages: self.each(raw.packages, Self::package)?,
            shell: raw.shell.map(|shell| self.shell(shell)).transpose()?,
            user: raw.user.map(|user| self.user(user)).transpose()?,
            lifetime: raw.lifetime.map(|lifetime| lifetime.value),
            terminal_integration: raw.terminal_integration.map(|integration| integration.value),
            project_path: raw.project.path.map(|path| self.project_path(path)).transpose()?,
            mask: self.each(raw.project.mask, |origin, path| origin.guarded(&path, "a mask"))?,
            protect: self.each(raw.project.protect, |origin, path| origin.guarded(&path, "what is protected"))?,
            read_only: raw.project.read_only.map(|on| on.value),
            env,
            pass: self.each(raw.env.pass, |origin, name| origin.variable_name(&name).map(|()| name.value))?,
            mounts: self.mounts(raw.mounts)?,
            grants: share::grants(&raw.share),
            dbus: self.each(raw.share.dbus, share::bus_name)?,
            home_cache: raw.share.home_cache.into_iter().map(|cache| cache.value).collect(),
            network_mode: raw.network.mode.as_ref().map(|mode| mode.value),
            network: self.network(raw.network)?,
            require_limits: raw.limits.require.as_ref().map(|on| on.value),
            limits: limits::check(self, raw.limits)?,
            security: security::check(self, raw.security)?,
            tasks,
            create: self.hooks("create hook", raw.hooks.create)?,
            start: self.hooks("start hook", raw.hooks.start)?,
            enter: self.hooks("enter hook", raw.hooks.enter)?,
            review: raw.hooks.review.map(|on| on.value),
            ..Layer::default()
        })
    }

    fn each<T>(&self, list: Vec<At<String>>, check: impl Fn(&Self, At<String>) -> Checked<T>) -> Checked<Vec<T>> {
        list.into_iter().map(|entry| check(self, entry)).collect()
    }

    fn hooks(&self, name: &str, commands: Vec<At<String>>) -> Checked<Vec<Hook>> {
        let hook = |command| Hook { name: name.to_owned(), command, background: false };
        Ok(self.each(commands, Self::command)?.into_iter().map(hook).collect())
    }

    fn name(&self, name: At<String>) -> Checked<String> {
        match name_fault(&name.value) {
            None => Ok(name.value),
            Some(fault) => Err(self.wrong(&name, "this cannot be the name of a box").label(fault).into()),
        }
    }

    fn extends(&self, extends: At<String>) -> Checked<At<Extends>> {
        let value = if extends.value.ends_with(".toml") || extends.value.contains('/') {
            Extends::Path(self.host_path(&extends)?)
        } else if let Some(fault) = name_fault(&extends.value) {
            return Err(self.wrong(&extends, "this is neither the name of a profile nor a path").label(fault).into());
        } else {
            Extends::Name(extends.value)
        };
        Ok(At { value, span: extends.span })
    }

    fn base(
        &self,
        base: Option<At<String>>,
        image: Option<At<String>>,
        distro: Option<At<String>>,
        rootfs: Option<At<String>>,
        build: Option<At<RawBuild>>,
    ) -> Checked<Option<BaseChoice>> {
        let build_span = build.as_ref().map(|build| build.span.clone());
        let span = |at: &Option<At<String>>| at.as_ref().map(|at| at.span.clone());
        let mut named: Vec<_> = [
            ("base", span(&base)),
            ("image", span(&image)),
            ("distro", span(&distro)),
            ("rootfs", span(&rootfs)),
            ("[build]", build_span),
        ]
        .into_iter()
        .filter_map(|(key, span)| span.map(|span| At { value: key, span }))
        .collect();
        named.sort_by_key(|at| at.span.start);
        if let [first, second, ..] = &named[..] {
            return Err(self
                .wrong(second, format!("`{}` and `{}` exclude each other", first.value, second.value))
                .label("a second base")
                .help("a box has one base: keep one of `base`, `image`, `distro`, `rootfs` and `[build]`")
                .into());
        }
        if let Some(build) = build {
            return self.build(build.value).map(|build| Some(BaseChoice::Build(build)));
        }
        if let Some(base) = base {
            if base.value == "host" {
                return Ok(Some(BaseChoice::Host));
            }
            let wrong = self.wrong(&base, format!("unknown base `{}`", base.value));
            return Err(if distro_fault(&base.value).is_none() {
                wrong.help(format!("for a distribution write `distro = \"{}\"`", base.value))
            } else if closest(&base.value, ["host"]).is_some() {
                wrong.label("did you mean `host`?")
            } else {
                wrong.help("the one value is `host`; other bases are named by `image`, `distro` and `rootfs`")
            }
            .into());
        }
        if let Some(image) = image {
            return match image.value.parse::<Reference>() {
                Ok(_) => Ok(Some(BaseChoice::Image(image.value))),
                Err(error) => Err(self
                    .wrong(&image, "this is not the name of an image")
                    .label(error.to_string())
                    .help("write it like `image = \"docker.io/library/debian:bookworm\"`")
                    .into()),
            };
        }
        if let Some(distro) = distro {
            return match distro_fault(&distro.value) {
                None => Ok(Some(BaseChoice::Distro(distro.value))),
                Some(fault) => Err(self
                    .wrong(&distro, "this is not a distribution and its release")
                    .label(fault)
                    .help("write it like `distro = \"debian:bookworm\"`")
                    .into()),
            };
        }
        rootfs.map(|rootfs| self.host_path(&rootfs).map(BaseChoice::Rootfs)).transpose()
    }

    fn build(&self, build: RawBuild) -> Checked<Build> {
        let mut args = BTreeMap::new();
        for (name, value) in build.args {
            self.variable_name(&name)?;
            self.no_nul(&value)?;
            args.insert(name.value, value.value);
        }
        let place =
            |path: Option<At<String>>| path.map(|path| self.in_project(&path, "a path of `[build]`")).transpose();
        Ok(Build {
            containerfile: place(build.containerfile)?,
            context: place(build.context)?.unwrap_or_default(),
            target: build.target.map(|target| target.value),
            args,
        })
    }

    /// A path of the project; empty for the project itself.
    fn in_project(&self, path: &At<String>, what: &str) -> Checked<PathBuf> {
        self.no_nul(path)?;
        let mut clean = PathBuf::new();
        for component in Path::new(&path.value).components() {
            match component {
                Component::Normal(name) => clean.push(name),
                Component::CurDir => {}
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                    return Err(self
                        .wrong(path, format!("{what} must be a path in the project"))
                        .label("relative to the project, without `..`")
                        .into());
                }
            }
        }
        Ok(clean)
    }

    fn package(&self, package: At<String>) -> Checked<String> {
        let Some(fault) = package_fault(&package.value) else { return Ok(package.value) };
        Err(self.wrong(&package, "this is not the name of a package").label(fault).into())
    }

    fn shell(&self, shell: At<String>) -> Checked<PathBuf> {
        self.no_nul(&shell)?;
        if !shell.value.starts_with('/') {
            return Err(self
                .wrong(&shell, "the shell must be an absolute path in the box")
                .help(format!("for example `shell = \"/bin/{}\"`", shell.value.rsplit('/').next().unwrap_or("bash")))
                .into());
        }
        Ok(PathBuf::from(shell.value))
    }

    fn user(&self, user: At<String>) -> Checked<String> {
        if is_user_name(&user.value) {
            return Ok(user.value);
        }
        Err(self
            .wrong(&user, "this cannot be the name of a user")
            .label("a letter or `_`, then letters, digits, `_`, `-`, `.`; at most 32")
            .into())
    }

    fn project_path(&self, path: At<String>) -> Checked<ProjectPath> {
        if path.value == "same" {
            return Ok(ProjectPath::Same);
        }
        self.box_path(&path, "the mount point of the project").map(ProjectPath::Absolute)
    }

    /// An entry of `mask` or `protect`. A `/` at its end stays: it says what to make where nothing is yet.
    fn guarded(&self, path: &At<String>, what: &str) -> Checked<PathBuf> {
        let clean = self.in_project(path, what)?;
        if clean.as_os_str().is_empty() {
            return Err(self.wrong(path, format!("{what} cannot be the whole project")).into());
        }
        // What a pattern will match some day cannot be guarded before it is there.
        if path.value.contains(['*', '?']) {
            return Err(self
                .wrong(path, format!("{what} is a path, and no pattern"))
                .label("`*` and `?` stand for nothing else here")
                .help("name each file, such as `\".env\", \".env.local\"`")
                .into());
        }
        Ok(if path.value.ends_with('/') { clean.join("") } else { clean })
    }

    fn mounts(&self, raw: Vec<At<RawMount>>) -> Checked<Vec<LayerMount>> {
        let mut mounts: Vec<LayerMount> = Vec::with_capacity(raw.len());
        for mount in raw {
            let RawMount { source, target, read_only } = mount.value;
            let path = self.box_path(&target, "the target of a mount")?;
            if mounts.iter().any(|other| other.target == path) {
                return Err(self
                    .wrong(&target, format!("two mounts have the target `{}`", path.display()))
                    .label("the second of them")
                    .into());
            }
            mounts.push(LayerMount {
                source: self.host_path(&source)?,
                target: path,
                read_only: read_only.is_some_and(|on| on.value),
                target_span: target.span,
            });
        }
        Ok(mounts)
    }

    /// A path in the box that something is mounted on.
    pub(super) fn box_path(&self, at: &At<String>, what: &str) -> Checked<PathBuf> {
        self.no_nul(at)?;
        if !at.value.starts_with('/') {
            let wrong = self.wrong(at, format!("{what} must be an absolute path in the box"));
            return Err(match at.value.strip_prefix("~/") {
                Some(rest) => wrong.help(format!("the home of the box's root is `/root`: write `/root/{rest}`")),
                None => wrong,
            }
            .into());
        }
        let Some(path) = plain_path(Path::new(&at.value)) else {
            return Err(self.wrong(at, format!("{what} cannot contain `..`")).into());
        };
        if is_kernel_path(&path) {
            return Err(self
                .wrong(at, format!("{what} cannot be `{}`", path.display()))
                .label("`/`, `/proc`, `/sys` and `/dev` are made by devbox")
                .into());
        }
        Ok(path)
    }

    /// A path on the host, made absolute.
    fn host_path(&self, at: &At<String>) -> Checked<PathBuf> {
        self.no_nul(at)?;
        let path = at.value.as_str();
        if path.is_empty() {
            return Err(self.wrong(at, "an empty path").into());
        }
        if path == "~" {
            return Ok(self.home.to_owned());
        }
        if let Some(rest) = path.strip_prefix("~/") {
            return Ok(self.home.join(rest.trim_start_matches('/')));
        }
        if path.starts_with('~') {
            return Err(self
                .wrong(at, "the home of another user cannot be named by `~`")
                .help("write the absolute path, or `./~...` for a file of that name")
                .into());
        }
        // `..` stays: what it leads to depends on symlinks.
        Ok(self.folder.join(path).components().collect())
    }

    fn variable_name(&self, name: &At<String>) -> Checked<()> {
        let fault = if name.value.is_empty() {
            "it is empty"
        } else if name.value.contains('=') {
            "it contains `=`"
        } else if name.value.chars().any(char::is_control) {
            "it contains a control character"
        } else {
            return Ok(());
        };
        Err(self.wrong(name, "this cannot be the name of a variable").label(fault).into())
    }

    fn task_name(&self, name: &At<String>) -> Checked<()> {
        let good = name.value.starts_with(|c: char| c.is_alphanumeric() || c == '_')
            && name.value.chars().all(|c| c.is_alphanumeric() || "_-.:".contains(c))
            && name.value.len() <= NAME_MAX_BYTES;
        if good {
            return Ok(());
        }
        Err(self
            .wrong(name, "this cannot be the name of a task")
            .label("letters, digits, `_`, `-`, `.`, `:`; no `-` first; at most 64 bytes")
            .into())
    }

    fn command(&self, command: At<String>) -> Checked<String> {
        self.no_nul(&command)?;
        if command.value.trim().is_empty() {
            return Err(self.wrong(&command, "an empty command").into());
        }
        Ok(command.value)
    }

    /// The kernel ends paths, arguments and variables at a NUL.
    fn no_nul(&self, at: &At<String>) -> Checked<()> {
        if at.value.contains('\0') {
            return Err(self.wrong(at, "this cannot contain a NUL character").into());
        }
        Ok(())
    }
}

/// Why `name` cannot name a box or a profile.
pub fn name_fault(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("it is empty")
    } else if name.len() > NAME_MAX_BYTES {
        Some("it is longer than 64 bytes")
    } else if name.contains('/') {
        Some("it contains a slash")
    } else if name.chars().any(char::is_control) {
        Some("it contains a control character")
    } else if !name.starts_with(char::is_alphanumeric) {
        Some("it must begin with a letter or a digit")
    } else if !name.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c)) {
        Some("letters, digits, `-`, `_` and `.` only")
    } else {
        None
    }
}

/// A name for the box of the project folder `project`, whatever the folder is called.
pub fn default_name(project: &Path) -> String {
    let folder = project.file_name().unwrap_or(OsStr::new("root"));
    let mut name = String::new();
    for c in String::from_utf8_lossy(folder.as_bytes()).chars() {
        let c = if c.is_alphanumeric() || "-_.".contains(c) { c } else { '-' };
        if name.len() + c.len_utf8() > NAME_MAX_BYTES {
            break;
        }
        // `.config` is `config`, and what is no letter does not begin a name.
        if !name.is_empty() || c.is_alphanumeric() {
            name.push(c);
        }
    }
    let end = name.trim_end_matches(['-', '.']).len();
    name.truncate(end);
    if name.is_empty() { "box".to_owned() } else { name }
}

/// `path` without `.` and doubled slashes; `None` when it has `..` in it.
pub fn plain_path(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => return None,
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    Some(plain)
}

/// Whether the sandbox itself makes what is at `path` (absolute, plain), so that nothing else can be there.
pub fn is_kernel_path(path: &Path) -> bool {
    path == Path::new("/") || ["/proc", "/sys", "/dev"].iter().any(|kernel| path.starts_with(kernel))
}

mod names;
mod network;
#[cfg(test)]
mod tests;
