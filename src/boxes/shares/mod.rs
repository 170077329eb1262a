//! What a box gets of the host: the profile's own files, mounts and shares.
//!
//! A share is found when the box starts, by the environment of who starts it, and checked to be the user's own. What is
//! missing is said and left out; nothing else takes its place. Sockets are mounted as they are at that moment: a program
//! that makes its socket anew is out of reach until the box starts again.

mod gpu;
pub mod host;
mod x11;

use std::path::{Path, PathBuf};

use self::host::{Host, Kind, Lack};
use super::directory::BoxDir;
use super::error::{BoxesResult, IoContext};
use crate::paths::{self, Paths};
use crate::profile::{Cache, Grant, LoadedProfile, Mount, Profile, Tmpfs};
use crate::sandbox::bus::BusProxy;
use crate::sandbox::spec::MountOp;
use crate::userns::idmap::IdMode;

/// Where sockets appear in a box.
const PLACE: &str = "/run/devbox";
/// The file in a box's runtime directory with the variables of its shares.
const VARIABLES_FILE: &str = "shares.json";

/// The box must not loosen its own profile, which takes effect at the next start without a question: its files can be
/// read in the box, not changed or replaced.
pub(super) fn own_profile(loaded: &LoadedProfile) -> impl Iterator<Item = MountOp> {
    let lock = crate::profile::lock::path(&loaded.project);
    let files = loaded.sources.iter().filter_map(|source| source.file().map(Path::to_owned));
    files.chain([lock]).filter(|_| loaded.profile.project.is_mounted).filter_map(|file| {
        let below = file.strip_prefix(&loaded.project).ok()?;
        let target = loaded.profile.project.path.join(below);
        Some(MountOp::Bind { source: file, target, read_only: true, optional: true })
    })
}

/// What the profile mounts.
pub(super) fn mounts(profile: &Profile) -> impl Iterator<Item = MountOp> {
    let binds = profile.mounts.iter().map(|mount| {
        let Mount { source, target, read_only } = mount.clone();
        (mount.target.components().count(), MountOp::Bind { source, target, read_only, optional: false })
    });
    let memory = profile.root.tmpfs.iter().map(|tmpfs| {
        let Tmpfs { target, mode, size_bytes } = tmpfs.clone();
        (tmpfs.target.components().count(), MountOp::Tmpfs { target, mode, size_bytes })
    });
    let mut all: Vec<_> = binds.chain(memory).collect();
    // Each may lie in another: what is further up comes first, or it would hide what is below it.
    all.sort_by_key(|(depth, _)| *depth);
    all.into_iter().map(|(_, operation)| operation)
}

/// The box's volumes.
pub(super) fn volumes(profile: &Profile, directory: &BoxDir) -> impl Iterator<Item = MountOp> {
    let volumes = directory.volumes();
    profile.volumes.iter().map(move |volume| MountOp::Bind {
        source: volumes.join(&volume.name),
        target: volume.target.clone(),
        read_only: volume.read_only,
        optional: false,
    })
}

/// What shares come to.
#[derive(Debug, Default)]
pub struct Given {
    /// What is mounted.
    pub mounts: Vec<MountOp>,
    /// Variables that lead there.
    pub variables: Vec<(String, String)>,
    /// The way to the session bus.
    pub bus: Option<BusProxy>,
    /// What is missing.
    pub lacks: Vec<Lack>,
}

impl Given {
    fn bind(&mut self, source: PathBuf, target: impl Into<PathBuf>, read_only: bool) {
        self.mounts.push(MountOp::Bind { source, target: target.into(), read_only, optional: true });
    }

    /// A socket below [`PLACE`], which writing needs the mount to be writable for.
    fn socket(&mut self, source: PathBuf, name: &str) -> String {
        let target = format!("{PLACE}/{name}");
        self.bind(source, &target, false);
        target
    }

    fn variable(&mut self, name: &str, value: impl Into<String>) {
        self.variables.push((name.to_owned(), value.into()));
    }

    fn extend(&mut self, more: Self) {
        self.mounts.extend(more.mounts);
        self.variables.extend(more.variables);
        self.bus = self.bus.take().or(more.bus);
        self.lacks.extend(more.lacks);
    }

    /// What lies below `home` in the box: directories that are mounted on, and files.
    pub(super) fn below(&self, home: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let binds = self.mounts.iter().filter_map(|mount| match mount {
            MountOp::Bind { source, target, .. } if target.starts_with(home) => Some((source.is_dir(), target.clone())),
            _ => None,
        });
        let (directories, files): (Vec<_>, Vec<_>) = binds.partition(|(is_directory, _)| *is_directory);
        let paths = |list: Vec<(bool, PathBuf)>| list.into_iter().map(|(_, path)| path).collect();
        (paths(directories), paths(files))
    }
}

/// The box that shares are for.
#[derive(Debug)]
pub(super) struct Inside<'a> {
    /// What is wanted.
    pub profile: &'a Profile,
    /// Variables of the base.
    pub environment: &'a [(String, String)],
    /// The ids of the box.
    pub mode: IdMode,
    /// A private directory of the host for what is made; absent: nothing is made, as for a dry run.
    pub scratch: Option<&'a Path>,
}

impl Inside<'_> {
    /// The home directory of the profile's user.
    pub fn home(&self) -> PathBuf {
        home(self.profile)
    }

    /// A variable that the box will have.
    fn variable(&self, name: &str) -> Option<&str> {
        let of_base = || self.environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        self.profile.env.set.get(name).map(String::as_str).or_else(of_base)
    }
}

/// The home directory of the profile's user, in the box.
pub(super) fn home(profile: &Profile) -> PathBuf {
    if profile.user == "root" { PathBuf::from("/root") } else { Path::new("/home").join(&profile.user) }
}

/// Everything that the profile shares.
pub(super) fn give(paths: &Paths, inside: &Inside<'_>) -> BoxesResult<Given> {
    let mut given = Given::default();
    let Some(host) = Host::of_this_process() else { return Ok(given) };
    let home = inside.home();
    for share in &inside.profile.share.grants {
        match grant(&host, *share, &home, inside.mode, inside.scratch) {
            Ok(more) => given.extend(more),
            Err(lack) => given.lacks.push(lack),
        }
    }
    let names = &inside.profile.share.dbus;
    if let (false, Some(scratch)) = (names.is_empty(), inside.scratch) {
        match bus(&host, names, &scratch.join("bus")) {
            Ok(more) => given.extend(more),
            Err(lack) => given.lacks.push(lack),
        }
    }
    for cache in &inside.profile.share.home_cache {
        for directory in cache.directories() {
            let source = paths.cache.join("packages").join(cache.name()).join(directory.replace('/', "-"));
            if inside.scratch.is_some() {
                paths::create_private(&source)?;
            }
            given.bind(source, place_of_cache(inside, *cache, directory), false);
        }
    }
    Ok(given)
}

/// Where a package manager of the box keeps `directory`, which is relative to the home directory.
fn place_of_cache(inside: &Inside<'_>, cache: Cache, directory: &str) -> PathBuf {
    let moved = match cache {
        Cache::Cargo => Some(("CARGO_HOME", ".cargo")),
        Cache::Go => Some(("GOPATH", "go")),
        _ => None,
    };
    moved
        .and_then(|(variable, usual)| {
            let below = Path::new(directory).strip_prefix(usual).ok()?;
            let place = Path::new(inside.variable(variable)?);
            place.is_absolute().then(|| place.join(below))
        })
        .unwrap_or_else(|| inside.home().join(directory))
}

/// One share. `home` is the home directory in the box.
fn grant(host: &Host<'_>, share: Grant, home: &Path, mode: IdMode, scratch: Option<&Path>) -> Result<Given, Lack> {
    let mut given = Given::default();
    let name = share.name();
    match share {
        Grant::SshAgent => {
            let remedy = "`eval $(ssh-agent)` starts an agent, `ssh-add` gives it keys";
            let path = host.variable("SSH_AUTH_SOCK");
            let path = path.ok_or_else(|| Lack::new(name, "`$SSH_AUTH_SOCK` is not set", remedy))?;
            let socket = host.own(Path::new(&path), Kind::Socket).map_err(|reason| Lack::new(name, reason, remedy))?;
            let place = given.socket(socket, "ssh-agent");
            given.variable("SSH_AUTH_SOCK", place);
        }
        Grant::GpgAgent => {
            let socket = host.gpg_socket().map_err(|(reason, remedy)| Lack::new(name, reason, remedy))?;
            given.bind(socket, home.join(".gnupg/S.gpg-agent"), false);
            if let Ok(keys) = host.own(&host.gnupg().join("pubring.kbx"), Kind::File) {
                given.bind(keys, home.join(".gnupg/pubring.kbx"), true);
            }
        }
        // Without a configuration there is nothing to miss.
        Grant::GitConfig => {
            for name in [".gitconfig", ".config/git"] {
                if let Ok(source) = host.home.join(name).canonicalize() {
                    given.bind(source, home.join(name), true);
                }
            }
        }
        Grant::DockerConfig => {
            let directory = host.variable("DOCKER_CONFIG").map_or_else(|| host.home.join(".docker"), PathBuf::from);
            let file = host.own(&directory.join("config.json"), Kind::File);
            let file = file.map_err(|reason| Lack::new(name, reason, "`devbox image login` writes it"))?;
            given.bind(file, home.join(".docker/config.json"), true);
        }
        Grant::Wayland => {
            let lack = |reason: String| Lack::new(name, reason, "start devbox in a Wayland session");
            let display = host.variable("WAYLAND_DISPLAY");
            let display = display.ok_or_else(|| lack("`$WAYLAND_DISPLAY` is not set".to_owned()))?;
            let path = host.in_runtime_directory(display);
            let path = path.ok_or_else(|| lack("`$XDG_RUNTIME_DIR` is not set".to_owned()))?;
            let socket = host.own(&path, Kind::Socket).map_err(lack)?;
            let place = given.socket(socket, "wayland");
            given.variable("WAYLAND_DISPLAY", place);
        }
        Grant::X11 => x_display(host, &mut given, scratch)?,
        Grant::Audio => audio(host, &mut given)?,
        Grant::Gpu => return gpu::give(host, mode),
        // A matter of the generated layer.
        Grant::CaCertificates => {}
    }
    Ok(given)
}

fn x_display(host: &Host<'_>, given: &mut Given, scratch: Option<&Path>) -> Result<(), Lack> {
    let display = x11::display(host)?;
    if let Some((content, untrusted)) = scratch.and_then(|scratch| x11::cookie(host, &display, scratch)) {
        let target = format!("{PLACE}/xauthority");
        given.variable("XAUTHORITY", &target);
        // What is shared is shared with everybody in the box.
        given.mounts.push(MountOp::Write { target: target.into(), content, mode: 0o644 });
        if !untrusted {
            given.lacks.push(Lack::new(
                "untrusted X cookie",
                "`xauth` or the server cannot make one",
                "programs in the box can watch and control every other program of this display",
            ));
        }
    }
    given.variable("DISPLAY", format!(":{}", display.number));
    let target = display.socket.clone();
    given.bind(display.socket, target, false);
    Ok(())
}

fn audio(host: &Host<'_>, given: &mut Given) -> Result<(), Lack> {
    let lack = |reason: String| Lack::new("audio", reason, "start `pipewire` and `pipewire-pulse`, or `pulseaudio`");
    let name = host.text("PIPEWIRE_REMOTE").unwrap_or_else(|| "pipewire-0".to_owned());
    let directory = host.variable("PIPEWIRE_RUNTIME_DIR").map(PathBuf::from);
    let pipewire = directory.map(|path| path.join(&name)).or_else(|| host.in_runtime_directory(&name));
    let server = host.text("PULSE_SERVER");
    let pulse = match server.as_deref().map(|server| server.strip_prefix("unix:").unwrap_or(server)) {
        Some(path) => Path::new(path).is_absolute().then(|| PathBuf::from(path)),
        None => host.in_runtime_directory("pulse/native"),
    };
    let mut reason = "`$XDG_RUNTIME_DIR` is not set".to_owned();
    let mut own = |path: Option<PathBuf>| match host.own(&path?, Kind::Socket) {
        Ok(socket) => Some(socket),
        Err(said) => {
            reason = said;
            None
        }
    };
    let (pipewire, pulse) = (own(pipewire), own(pulse));
    if pipewire.is_none() && pulse.is_none() {
        return Err(lack(reason));
    }
    if let Some(socket) = pipewire {
        given.socket(socket, "pipewire-0");
        given.variable("PIPEWIRE_RUNTIME_DIR", PLACE);
    }
    if let Some(socket) = pulse {
        let place = given.socket(socket, "pulse");
        given.variable("PULSE_SERVER", format!("unix:{place}"));
    }
    Ok(())
}

/// The session bus, through a proxy that listens at `socket`.
fn bus(host: &Host<'_>, names: &[String], socket: &Path) -> Result<Given, Lack> {
    let (program, address) = bus_proxy(host)?;
    let mut given = Given::default();
    let place = given.socket(socket.to_owned(), "bus");
    given.variable("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={place}"));
    given.bus = Some(BusProxy { program, address, socket: socket.to_owned(), names: names.to_vec() });
    Ok(given)
}

/// The proxy's program and the address of the bus.
fn bus_proxy(host: &Host<'_>) -> Result<(PathBuf, String), Lack> {
    let find = |path| which::which_in("xdg-dbus-proxy", Some(path), "/").ok();
    let program = host.variable("PATH").and_then(find).ok_or_else(|| {
        Lack::new("dbus", "`xdg-dbus-proxy` is not installed", "install the package `xdg-dbus-proxy`")
    })?;
    let lack =
        |reason: String| Lack::new("dbus", reason, "start devbox in a session with a bus, or with `dbus-run-session`");
    if let Some(address) = host.text("DBUS_SESSION_BUS_ADDRESS") {
        let (kind, place) = address
            .split_once(':')
            .ok_or_else(|| lack("`$DBUS_SESSION_BUS_ADDRESS` is no address of a bus".to_owned()))?;
        // Of several the proxy takes the first that answers, and what is escaped only it can read.
        let path = place.strip_prefix("path=").filter(|_| kind == "unix" && !address.contains([';', '%']));
        if let Some(path) = path.and_then(|path| path.split(',').next()) {
            host.own(Path::new(path), Kind::Socket).map_err(lack)?;
        }
        return Ok((program, address));
    }
    let path = host.in_runtime_directory("bus");
    let path =
        path.ok_or_else(|| lack("neither `$DBUS_SESSION_BUS_ADDRESS` nor `$XDG_RUNTIME_DIR` is set".to_owned()))?;
    let socket = host.own(&path, Kind::Socket).map_err(lack)?;
    Ok((program, format!("unix:path={}", socket.display())))
}

/// What this machine has to share, and what it lacks: for `doctor`.
#[must_use]
pub fn survey(mode: IdMode) -> Vec<(&'static str, Result<(), Lack>)> {
    let Some(host) = Host::of_this_process() else { return Vec::new() };
    let asked = Grant::ALL.into_iter().filter(|grant| !matches!(grant, Grant::GitConfig | Grant::CaCertificates));
    asked
        .map(|share| (share.name(), grant(&host, share, Path::new("/root"), mode, None).map(drop)))
        .chain([("dbus", bus_proxy(&host).map(drop))])
        .collect()
}

/// Leaves the variables for sessions that join the box.
pub(super) fn save_variables(runtime: &Path, given: &Given) -> BoxesResult<()> {
    let path = runtime.join(VARIABLES_FILE);
    let text = serde_json::to_vec(&given.variables).unwrap_or_default();
    std::fs::write(&path, text).at("write", &path)
}

/// The variables of a running box's shares; none where it is just stopping.
pub(super) fn load_variables(runtime: &Path) -> Vec<(String, String)> {
    let text = std::fs::read(runtime.join(VARIABLES_FILE)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}
