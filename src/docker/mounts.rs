//! `--mount`, `-v` and `--tmpfs`. Pure.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::container::check_name;
use super::error::{DockerError, DockerResult};
use crate::limits::amount::parse_size;
use crate::profile::Tmpfs;
use crate::profile::devcontainer::run_args::size;
use crate::profile::validate::{is_kernel_path, plain_path};
use crate::text::comma_fields;

/// A mount of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPoint {
    /// The named volume; absent: a path of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// On the host, absolute; of a volume nothing.
    pub source: PathBuf,
    /// In the container, absolute.
    pub target: PathBuf,
    /// Nothing can be written through it.
    pub read_only: bool,
}

/// What an option comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mounted {
    /// A mount.
    Point(MountPoint),
    /// Memory.
    Memory(Tmpfs),
}

fn wrong(option: &str, text: &str, reason: impl Into<String>) -> DockerError {
    DockerError::Option { option: format!("{option} {text}"), reason: reason.into() }
}

/// The value of `--mount`. Fields that say how something is kept in step mean nothing here.
pub fn mount(text: &str) -> DockerResult<Mounted> {
    let wrong = |reason: &str| wrong("--mount", text, reason);
    let (mut kind, mut source, mut target, mut read_only) = ("volume", None, None, false);
    let mut of_memory = Vec::new();
    let fields = comma_fields(text);
    for field in fields.iter().filter(|field| !field.is_empty()) {
        let (name, value) = field.split_once('=').unwrap_or((field, "true"));
        match name.trim() {
            "type" => kind = value,
            "source" | "src" => source = Some(value),
            "target" | "dst" | "destination" => target = Some(value),
            "readonly" | "ro" => read_only = !matches!(value, "false" | "0"),
            "tmpfs-size" => of_memory.push(("size", value)),
            "tmpfs-mode" => of_memory.push(("mode", value)),
            _ => {}
        }
    }
    let target = target.ok_or_else(|| wrong("there is no `target`"))?;
    let source = source.filter(|source| !source.is_empty());
    match (kind, source) {
        ("tmpfs", _) => tmpfs("--mount", text, target, of_memory.into_iter()).map(Mounted::Memory),
        ("bind", None) => Err(wrong("there is no `source`")),
        ("volume", None) => Err(wrong("a volume needs a name here: `source=NAME`")),
        ("bind", Some(path)) => point("--mount", text, None, path, target, read_only),
        ("volume", Some(name)) => point("--mount", text, Some(name), "", target, read_only),
        (other, _) => Err(wrong(&format!("mounts of the type `{other}` are not supported"))),
    }
}

/// The value of `--tmpfs`: `TARGET[:OPTIONS]`.
pub fn memory(text: &str) -> DockerResult<Tmpfs> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let options = options.split(',').filter(|option| !option.is_empty());
    tmpfs("--tmpfs", text, target, options.map(|option| option.split_once('=').unwrap_or((option, ""))))
}

fn tmpfs<'a>(
    option: &str,
    text: &str,
    target: &str,
    options: impl Iterator<Item = (&'a str, &'a str)>,
) -> DockerResult<Tmpfs> {
    let wrong = |reason: String| wrong(option, text, reason);
    let path = plain_path(Path::new(target)).filter(|path| path.is_absolute() && !is_kernel_path(path));
    let path = path.ok_or_else(|| wrong(format!("memory cannot be mounted on `{target}`")))?;
    let mut tmpfs = Tmpfs { target: path, mode: 0o1777, size_bytes: None };
    for (name, value) in options {
        match name {
            "size" => {
                let bytes = parse_size(&size(value)).ok_or_else(|| wrong(format!("`{value}` is no size")))?;
                tmpfs.size_bytes = Some(bytes);
            }
            "mode" => {
                let mode = u32::from_str_radix(value, 8).ok().filter(|mode| *mode <= 0o7777);
                tmpfs.mode = mode.ok_or_else(|| wrong(format!("`{value}` is no mode")))?;
            }
            // No box has devices or programs of a rank there, and what is executed is its own affair.
            "rw" | "exec" | "noexec" | "nosuid" | "nodev" => {}
            other => return Err(wrong(format!("`{other}` of a `tmpfs` is not supported"))),
        }
    }
    Ok(tmpfs)
}

/// The value of `-v`: `SOURCE:TARGET[:OPTIONS]`; a relative path begins with a dot, and lies below `folder`.
pub fn volume(text: &str, folder: &Path) -> DockerResult<Mounted> {
    let mut parts = text.splitn(3, ':');
    let (Some(source), Some(target)) = (parts.next(), parts.next()) else {
        return Err(wrong("-v", text, "a volume needs a name here: `NAME:TARGET`"));
    };
    let read_only = parts.next().is_some_and(|options| options.split(',').any(|option| option == "ro"));
    if source.starts_with('/') {
        point("-v", text, None, source, target, read_only)
    } else if source.starts_with('.') {
        point("-v", text, None, &folder.join(source).to_string_lossy(), target, read_only)
    } else {
        point("-v", text, Some(source), "", target, read_only)
    }
}

fn point(
    option: &str,
    text: &str,
    volume: Option<&str>,
    source: &str,
    target: &str,
    read_only: bool,
) -> DockerResult<Mounted> {
    if !target.starts_with('/') {
        return Err(wrong(option, text, format!("`{target}` is not an absolute path")));
    }
    match volume {
        Some(name) => check_name(name)?,
        None if !source.starts_with('/') => {
            return Err(wrong(option, text, format!("`{source}` is not an absolute path")));
        }
        None => {}
    }
    let target = if target == "/" { target } else { target.trim_end_matches('/') };
    Ok(Mounted::Point(MountPoint {
        volume: volume.map(str::to_owned),
        source: source.into(),
        target: target.into(),
        read_only,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(mounted: DockerResult<Mounted>) -> String {
        match mounted {
            Ok(Mounted::Memory(tmpfs)) => {
                format!("memory on {}, {:o}, {:?}", tmpfs.target.display(), tmpfs.mode, tmpfs.size_bytes)
            }
            Ok(Mounted::Point(MountPoint { volume, source, target, read_only })) => format!(
                "{} -> {}{}",
                volume.unwrap_or_else(|| source.display().to_string()),
                target.display(),
                if read_only { " ro" } else { "" }
            ),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn mounts_of_devcontainers() {
        for (text, expected) in [
            ("type=bind,source=/home/me/shop,target=/workspaces/shop", "/home/me/shop -> /workspaces/shop"),
            ("source=/a,target=/b,type=bind,consistency=cached", "/a -> /b"),
            ("type=bind,src=/a,dst=/b/,readonly", "/a -> /b ro"),
            ("type=bind,src=/a,destination=/b,ro=true", "/a -> /b ro"),
            ("type=bind,src=/a,destination=/b,readonly=false", "/a -> /b"),
            ("type=volume,source=vscode,target=/vscode,external=true", "vscode -> /vscode"),
            ("source=data,target=/d", "data -> /d"),
            ("type=tmpfs,target=/t", "memory on /t, 1777, None"),
            ("type=tmpfs,dst=/t/,tmpfs-size=1048576,tmpfs-mode=700", "memory on /t, 700, Some(1048576)"),
            ("type=tmpfs,target=t", "`--mount type=tmpfs,target=t`: memory cannot be mounted on `t`"),
            ("type=bind,source=/a", "`--mount type=bind,source=/a`: there is no `target`"),
            ("type=bind,target=/a", "`--mount type=bind,target=/a`: there is no `source`"),
            ("type=bind,source=a,target=/a", "`--mount type=bind,source=a,target=/a`: `a` is not an absolute path"),
            (
                "source=../x,target=/a",
                "`../x` cannot be a name: a letter or digit, then letters, digits, `_`, `.` and `-`, at most 63",
            ),
            (
                "type=npipe,source=x,target=/a",
                "`--mount type=npipe,source=x,target=/a`: mounts of the type `npipe` are not supported",
            ),
        ] {
            assert_eq!(shown(mount(text)), expected);
        }
    }

    #[test]
    fn memory_is_mounted() {
        for (text, expected) in [
            ("/t", "memory on /t, 1777, None"),
            ("/run/app:rw,noexec,nosuid,size=64m,mode=755", "memory on /run/app, 755, Some(67108864)"),
            ("/proc/x", "`--tmpfs /proc/x`: memory cannot be mounted on `/proc/x`"),
            ("/a/../..", "`--tmpfs /a/../..`: memory cannot be mounted on `/a/../..`"),
            ("/", "`--tmpfs /`: memory cannot be mounted on `/`"),
            ("/t:size=big", "`--tmpfs /t:size=big`: `big` is no size"),
            ("/t:mode=9", "`--tmpfs /t:mode=9`: `9` is no mode"),
            ("/t:uid=1", "`--tmpfs /t:uid=1`: `uid` of a `tmpfs` is not supported"),
        ] {
            assert_eq!(shown(memory(text).map(Mounted::Memory)), expected);
        }
    }

    #[test]
    fn short_mounts() {
        for (text, expected) in [
            ("/a:/b", "/a -> /b"),
            ("/a:/b:ro,z", "/a -> /b ro"),
            (".:/src", "/work/. -> /src"),
            ("data:/d", "data -> /d"),
            ("/a", "`-v /a`: a volume needs a name here: `NAME:TARGET`"),
            ("data:d", "`-v data:d`: `d` is not an absolute path"),
        ] {
            assert_eq!(shown(volume(text, Path::new("/work"))), expected);
        }
    }
}
