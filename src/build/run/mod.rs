//! A `RUN` step: a command in the sandbox that boxes have, above the layers of its stage, without a project.
//!
//! What the sandbox mounts on, and the image does not have, comes from a lowest layer that is not kept: a step leaves no
//! empty `/proc` or `/etc/hosts` behind. Files that exist only while the command runs (the host's certificates) lie on
//! its `/dev`, which is a file system of its own.

mod cache;
mod mounts;
mod secrets;

use std::path::{Path, PathBuf};

pub use mounts::{Mount, MountKind, Sharing};

use super::error::{At, BuildError};
use super::layer::StepLayer;
use crate::base::driver::find_fuse_overlayfs;
use crate::base::{OverlayDriver, RootLayers};
use crate::boxes::generated::host_trust;
use crate::boxes::view::View;
use crate::boxes::{network, transient};
use crate::limits::Plan;
use crate::paths::{self, Paths};
use crate::profile::{Security, egress};
use crate::progress::Progress;
use crate::sandbox::attach::Purpose;
use crate::sandbox::channel::{Bytes, Command};
use crate::sandbox::etc::{ca, hosts, proxy::proxy_environment, resolv, resolve};
use crate::sandbox::net::plan::{Mode, NetPlan};
use crate::sandbox::plan::{MASKED, READ_ONLY};
use crate::sandbox::spec::{Lifetime, MountOp, Network, Rlimits, RootSpec, SandboxSpec};
use crate::sys::process::Ended;
use crate::userns::idmap::{IdMap, IdMode};

/// The host name in a `RUN`.
const HOSTNAME: &str = "build";
/// Where programs are looked for if the image does not say.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The bundle of certificates, with those of the host.
const BUNDLE: &str = "/dev/devbox-ca.crt";
/// What apt reads besides the image's configuration.
const APT: &str = "/dev/devbox-apt.conf";
/// Variables that name a bundle, besides those that boxes have: nothing in the image is written over, so that curl and
/// git must be told as well.
const BUNDLE_VARIABLES: [&str; 6] =
    ["SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO"];

/// A command and what it needs; everything is expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The program and its arguments.
    pub arguments: Vec<String>,
    /// The variables of the image and the build arguments.
    pub environment: Vec<(String, String)>,
    /// Further variables, where neither has them.
    pub proxies: Vec<(String, String)>,
    /// Where it starts.
    pub directory: PathBuf,
    /// Who runs it: empty for root, or `user`, `user:group`.
    pub user: String,
    /// What is mounted.
    pub mounts: Vec<Mount>,
    /// Its network.
    pub network: Reach,
    /// A script of its own: where it appears, and what it holds.
    pub script: Option<(PathBuf, String)>,
}

/// What a command reaches of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// Which network it is in.
    pub mode: Mode,
    /// What it reaches there; `None`: everything.
    pub egress: Option<Vec<egress::Rule>>,
}

/// Runs the command; its output goes to this process' standard output and error. The caller must be single-threaded.
pub fn run(
    paths: &Paths,
    map: &IdMap,
    layer: &StepLayer,
    run: &Run,
    progress: &dyn Progress,
) -> Result<Ended, BuildError> {
    let net = network::of_a_build(run.network.mode, run.network.egress.clone())?;
    let view = View::new(layer.lower(), &RootLayers::default());
    paths::create_private(&paths.runtime).map_err(crate::boxes::BoxesError::from)?;
    let fuse_overlayfs = match layer.driver() {
        OverlayDriver::Kernel => None,
        OverlayDriver::Fuse => Some(find_fuse_overlayfs()?),
    };
    let secrets = secrets::Secrets::prepare(paths, map, &run.mounts)?;

    let mut mounts = vec![
        MountOp::Proc { target: "/proc".into() },
        MountOp::Sys { target: "/sys".into(), own_network: net.own_namespace() },
        MountOp::Dev { target: "/dev".into(), tty_group: map.gid_outside(5).is_some(), shm_bytes: None },
    ];
    mounts.extend(names(layer.scratch(), &net)?);
    let mut variables = trust(layer.scratch(), &view, map, &mut mounts)?;
    // Locks of caches are held until the command has ended.
    let mut locks = Vec::new();
    for (number, mount) in run.mounts.iter().enumerate() {
        let prepared = mounts::prepare(paths, map, layer, mount, number, &secrets)?;
        mounts.extend(prepared.operation);
        variables.extend(prepared.variables);
        locks.extend(prepared.lock);
    }
    if let Some((target, content)) = &run.script {
        let source = layer.scratch().join("script");
        write_file(&source, content.as_bytes(), 0o755)?;
        mounts.push(MountOp::Bind { source, target: target.clone(), read_only: true, optional: false });
    }
    stubs(&layer.stubs(), &view, &mounts)?;
    mounts.extend(READ_ONLY.iter().map(|path| MountOp::ReadOnly { target: Path::new(path).into() }));
    mounts.extend(MASKED.iter().map(|path| MountOp::Mask { target: Path::new(path).into() }));

    let spec = |runtime: &Path| SandboxSpec {
        hostname: HOSTNAME.to_owned(),
        id_map: map.clone(),
        root: RootSpec {
            lower: layer.lower().iter().cloned().chain([layer.stubs()]).collect(),
            data_only: Vec::new(),
            host_directories: Vec::new(),
            read_only_binds: Vec::new(),
            fuse_overlayfs,
            upper: layer.upper(),
            work: layer.scratch().join("work"),
            is_volatile: true,
            staging: runtime.join("root"),
        },
        mounts,
        guards: None,
        network: if net.own_namespace() { Network::Own } else { Network::Host },
        lifetime: Lifetime::Session,
        rlimits: Rlimits::default(),
        security: Security::default(),
        limits: Plan::default(),
        bus: None,
    };
    let purpose = Purpose::Run(Box::new(command(run, variables)));
    let ended = transient::run(paths, layer.scratch(), spec, &net, purpose, None, progress)?;
    drop(locks);
    Ok(ended)
}

fn command(run: &Run, variables: Vec<(String, String)>) -> Command {
    let mut environment = run.environment.clone();
    let has = |environment: &[(String, String)], name: &str| environment.iter().any(|(known, _)| known == name);
    let get = |name: &str| paths::variable(name).and_then(|value| value.into_string().ok());
    let default_path = ("PATH".to_owned(), DEFAULT_PATH.to_owned());
    for (name, value) in
        run.proxies.iter().cloned().chain(proxy_environment(get)).chain(variables).chain([default_path])
    {
        if !has(&environment, &name) {
            environment.push((name, value));
        }
    }
    let environment = environment.iter().map(|(name, value)| (Bytes::from(name), Bytes::from(value))).collect();
    Command {
        directories: vec![Bytes::from(&run.directory)],
        user: (!run.user.is_empty()).then(|| run.user.clone()),
        ..Command::new(run.arguments.iter().map(Bytes::from).collect(), environment, "build")
    }
}

/// `/etc/hosts` and `/etc/resolv.conf`.
fn names(scratch: &Path, net: &NetPlan) -> Result<Vec<MountOp>, BuildError> {
    let read = |path: &str| std::fs::read_to_string(path).ok().filter(|_| !net.own_namespace());
    let files = [
        hosts::hosts_file(HOSTNAME, read("/etc/hosts").as_deref()),
        resolv::resolv_conf(net, read("/etc/resolv.conf").as_deref()),
    ];
    let mut mounts = Vec::new();
    for file in files {
        let source = scratch.join(file.path.file_name().unwrap_or_default());
        write_file(&source, &file.content, 0o644)?;
        mounts.push(MountOp::Bind { source, target: file.path, read_only: false, optional: false });
    }
    Ok(mounts)
}

/// The host's certificates, where it has some that the image lacks; variables that lead to them. In single mode apt is
/// told not to change its user, which it cannot.
fn trust(
    scratch: &Path,
    view: &View,
    map: &IdMap,
    mounts: &mut Vec<MountOp>,
) -> Result<Vec<(String, String)>, BuildError> {
    let mut variables = Vec::new();
    // Mounted one by one: a `/dev` holds a few kilobytes.
    let mut write = |target: &str, content: Vec<u8>| {
        let target = PathBuf::from(target);
        let source = scratch.join(target.file_name().unwrap_or_default());
        write_file(&source, &content, 0o644)?;
        mounts.push(MountOp::Bind { source, target, read_only: true, optional: false });
        Ok::<(), BuildError>(())
    };
    let mut apt = String::new();
    if let Some(bundle) = ca::bundle(&host_trust(), view) {
        write(BUNDLE, bundle)?;
        variables.extend(BUNDLE_VARIABLES.map(|name| (name.to_owned(), BUNDLE.to_owned())));
        apt.push_str(&format!("Acquire::https::CAInfo \"{BUNDLE}\";\n"));
    }
    if map.mode == IdMode::Single {
        apt.push_str("APT::Sandbox::User \"root\";\n");
    }
    if !apt.is_empty() {
        write(APT, apt.into_bytes())?;
        variables.push(("APT_CONFIG".to_owned(), APT.to_owned()));
    }
    Ok(variables)
}

/// Makes what `mounts` are mounted on in the layer `stubs`, where symlinks of the image lead.
fn stubs(stubs: &Path, view: &View, mounts: &[MountOp]) -> Result<(), BuildError> {
    for mount in mounts {
        let (target, is_file) = match mount {
            MountOp::Proc { target }
            | MountOp::Sys { target, .. }
            | MountOp::Dev { target, .. }
            | MountOp::Tmpfs { target, .. } => (target, false),
            MountOp::Bind { source, target, .. } => (target, !source.is_dir()),
            MountOp::Layers { lower, source, target, .. } => {
                let tree = View::new(lower, &RootLayers::default());
                (target, resolve(&tree, source).is_some_and(|path| tree.is_file(&path)))
            }
            _ => continue,
        };
        let Some(real) = resolve(view, target) else { continue };
        // Below another mount there is nothing to prepare.
        if ["/proc", "/sys", "/dev"].iter().any(|above| real != Path::new(above) && real.starts_with(above)) {
            continue;
        }
        let path = stubs.join(real.strip_prefix("/").unwrap_or(&real));
        if is_file {
            let parent = path.parent().unwrap_or(stubs);
            std::fs::create_dir_all(parent).at("create", parent)?;
            write_file(&path, b"", 0o644)?;
        } else {
            std::fs::create_dir_all(&path).at("create", &path)?;
        }
    }
    Ok(())
}

fn write_file(path: &Path, content: &[u8], mode: u32) -> Result<(), BuildError> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, content).at("write", path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).at("change the mode of", path)
}
