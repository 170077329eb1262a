//! Graphics cards: the render nodes of the kernel's own drivers, and what the CDI files of NVIDIA list.
//!
//! Render nodes compute and draw; the nodes that set up screens are left out. Of a CDI file devices, mounts (read-only)
//! and variables are taken, its hooks are not run.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Given;
use super::host::{Host, Kind, Lack};
use crate::sandbox::spec::MountOp;
use crate::userns::idmap::IdMode;

/// Where the container device interface has its files.
const CDI: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];
const RENDER: &str = "/dev/dri";
const NODE: &str =
    "NVIDIA's container toolkit makes them: `nvidia-ctk cdi generate --format=json --output=/etc/cdi/nvidia.json`";

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct CdiFile {
    kind: String,
    devices: Vec<CdiDevice>,
    container_edits: Edits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct CdiDevice {
    name: String,
    container_edits: Edits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Edits {
    env: Vec<String>,
    device_nodes: Vec<CdiNode>,
    mounts: Vec<CdiMount>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct CdiNode {
    path: PathBuf,
    host_path: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct CdiMount {
    host_path: PathBuf,
    container_path: PathBuf,
}

/// Everything that there is.
pub(super) fn give(host: &Host<'_>, mode: IdMode) -> Result<Given, Lack> {
    let mut given = Given::default();
    let mut refused = None;
    for node in names(Path::new(RENDER)).into_iter().filter(|path| is_render_node(path)) {
        match usable(&node, mode) {
            Ok(()) => given.mounts.push(MountOp::Device { source: node.clone(), target: node }),
            Err(lack) => refused = Some(lack),
        }
    }
    let mut unread = None;
    for path in CDI.iter().flat_map(|folder| names(Path::new(folder))) {
        match path.extension().and_then(|end| end.to_str()) {
            Some("json") => match host.own(&path, Kind::File).and_then(|path| read(&path)) {
                Ok(file) => add(&mut given, file),
                Err(reason) => unread = Some(Lack::new("gpu", reason, NODE)),
            },
            Some("yaml" | "yml") => {
                let reason = format!("`{}` is not JSON, which alone is read", path.display());
                unread = Some(Lack::new("gpu", reason, NODE));
            }
            _ => {}
        }
    }
    if !given.mounts.is_empty() {
        return Ok(given);
    }
    let none = || Lack::new("gpu", format!("`{RENDER}` has no render node"), "load the driver of the graphics card");
    Err(refused.or(unread).unwrap_or_else(none))
}

/// Sorted, so that two starts of a box are alike.
fn names(folder: &Path) -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> =
        std::fs::read_dir(folder).map(|all| all.flatten().map(|entry| entry.path()).collect()).unwrap_or_default();
    names.sort();
    names
}

fn is_render_node(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("renderD"))
}

/// Whether a box can open what the user can.
fn usable(node: &Path, mode: IdMode) -> Result<(), Lack> {
    let shown = node.display();
    File::options().read(true).write(true).open(node).map_err(|error| {
        Lack::new("gpu", format!("`{shown}`: {error}"), "`sudo usermod -aG render $USER` and a new login allow it")
    })?;
    let by_group = || -> Option<bool> {
        let meta = node.metadata().ok()?;
        let own = [(meta.uid() == rustix::process::getuid().as_raw(), 0o600), (true, 0o006)];
        let primary = (meta.gid() == rustix::process::getgid().as_raw(), 0o060);
        let open = own.into_iter().chain([primary]).any(|(is, bits)| is && meta.mode() & bits == bits);
        let acl =
            rustix::fs::getxattr(node, "system.posix_acl_access", &mut [0_u8; 512][..]).is_ok_and(|size| size > 0);
        Some(!open && !acl)
    };
    if mode == IdMode::Range && by_group().unwrap_or(false) {
        let reason =
            format!("`{shown}` is open to one of your groups, and a box with subordinate ids has none of them");
        return Err(Lack::new("gpu", reason, format!("`sudo setfacl -m u:$USER:rw {shown}` opens it to you")));
    }
    Ok(())
}

fn read(path: &Path) -> Result<CdiFile, String> {
    let text = std::fs::read(path).map_err(|error| format!("`{}`: {error}", path.display()))?;
    serde_json::from_slice(&text).map_err(|error| format!("`{}`: {error}", path.display()))
}

/// The device that stands for all, or each of them.
fn add(given: &mut Given, file: CdiFile) {
    if !file.kind.ends_with("/gpu") {
        return;
    }
    let whole = file.devices.iter().any(|device| device.name == "all");
    let devices = file.devices.into_iter().filter(|device| !whole || device.name == "all");
    for edits in [file.container_edits].into_iter().chain(devices.map(|device| device.container_edits)) {
        for node in edits.device_nodes {
            let source = node.host_path.unwrap_or_else(|| node.path.clone());
            let op = MountOp::Device { source, target: node.path };
            if !given.mounts.contains(&op) {
                given.mounts.push(op);
            }
        }
        given.mounts.extend(edits.mounts.into_iter().map(|mount| MountOp::Bind {
            source: mount.host_path,
            target: mount.container_path,
            read_only: true,
            optional: true,
        }));
        let pair = |text: String| text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        given.variables.extend(edits.env.into_iter().filter_map(pair));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cdi_files() {
        let text = r#"{"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu",
            "devices": [{"name": "0", "containerEdits": {"deviceNodes": [{"path": "/dev/nvidia0"}]}},
                {"name": "all", "containerEdits": {"deviceNodes": [{"path": "/dev/nvidia0"}, {"path": "/dev/n1", "hostPath": "/dev/h1"}]}}],
            "containerEdits": {"env": ["NVIDIA_VISIBLE_DEVICES=void"], "deviceNodes": [{"path": "/dev/nvidia0"}],
                "mounts": [{"hostPath": "/lib/a.so", "containerPath": "/lib/b.so", "options": ["rw"]}],
                "hooks": [{"hookName": "createContainer", "path": "/bin/evil"}]}}"#;
        let mut given = Given::default();
        add(&mut given, serde_json::from_str(text).unwrap());
        let device = |source: &str, target: &str| MountOp::Device { source: source.into(), target: target.into() };
        let library =
            MountOp::Bind { source: "/lib/a.so".into(), target: "/lib/b.so".into(), read_only: true, optional: true };
        assert_eq!(given.mounts, [device("/dev/nvidia0", "/dev/nvidia0"), library, device("/dev/h1", "/dev/n1")]);
        assert_eq!(given.variables, [("NVIDIA_VISIBLE_DEVICES".to_owned(), "void".to_owned())]);
        let mut nothing = Given::default();
        add(&mut nothing, serde_json::from_str(&text.replace("nvidia.com/gpu", "example.com/net")).unwrap());
        assert!(nothing.mounts.is_empty());
    }
}
