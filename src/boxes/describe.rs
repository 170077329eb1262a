//! A start as text, for `--dry-run`. Pure.

use std::fmt::Write as _;

use crate::sandbox::channel::Command;
use crate::sandbox::guard::Protection;
use crate::sandbox::net::plan::{Driver, NetPlan};
use crate::sandbox::spec::{MountOp, SandboxSpec};
use crate::userns::idmap::IdExtent;

/// The plan, one thing a line.
#[must_use]
pub fn text(spec: &SandboxSpec, net: &NetPlan, command: &Command) -> String {
    let mut out = String::new();
    let mut line = |text: String| {
        writeln!(out, "{text}").unwrap_or_default();
    };
    line(format!("hostname   {}", spec.hostname));
    line(format!("ids        {} mode", spec.id_map.mode));
    for (what, extents) in [("uid", &spec.id_map.uids), ("gid", &spec.id_map.gids)] {
        for IdExtent { inside, outside, count } in extents {
            line(format!("  {what}      {inside}..{} in the box is {outside}.. on the host", inside + (count - 1)));
        }
    }
    let driver = match &net.driver {
        Driver::Pasta(path) | Driver::Slirp(path) => format!("private, through `{}`", path.display()),
        Driver::Host => "the host's".to_owned(),
        Driver::Loopback => "none".to_owned(),
        Driver::Joined => "that of another box".to_owned(),
    };
    line(format!("network    {driver}"));
    line(format!("writes to  {}", spec.root.upper.display()));
    for (key, value) in &spec.limits.limits.values {
        line(format!("limit      {key} {}", key.format(*value)));
    }
    for (what, changes) in [("capability", &spec.security.capabilities), ("call", &spec.security.seccomp)] {
        changes.more.iter().for_each(|name| line(format!("{what:<10} {name}")));
        changes.less.iter().for_each(|name| line(format!("{what:<10} no {name}")));
    }
    if spec.emulates_ids() {
        line("owners     are emulated, and the ids of processes".to_owned());
    }
    if spec.security.no_new_privileges {
        line("setuid     means nothing".to_owned());
    }
    for path in &spec.root.lower {
        line(format!("layer      {}", path.display()));
    }
    for path in &spec.root.data_only {
        line(format!("data       {}", path.display()));
    }
    for path in &spec.root.host_directories {
        line(format!("overlay    {}", path.display()));
    }
    for operation in &spec.mounts {
        line(match operation {
            MountOp::Proc { target } => format!("mount      proc on {}", target.display()),
            MountOp::Sys { target, .. } => format!("mount      sysfs on {}, read-only", target.display()),
            MountOp::Dev { target, .. } => format!("mount      devices on {}", target.display()),
            MountOp::Tmpfs { target, .. } => format!("mount      tmpfs on {}", target.display()),
            MountOp::Layers { target, .. } => format!("mount      layers on {}", target.display()),
            MountOp::Bind { source, target, read_only, .. } => {
                let mode = if *read_only { ", read-only" } else { "" };
                format!("mount      {} on {}{mode}", source.display(), target.display())
            }
            MountOp::Device { target, .. } => format!("device     {}", target.display()),
            MountOp::File { target, .. } | MountOp::Write { target, .. } => format!("file       {}", target.display()),
            MountOp::Guard { folder, guarded } => {
                let what = match guarded.protection {
                    Protection::Hidden => "hide",
                    Protection::ReadOnly => "read-only",
                };
                format!("{what:<10} {}", folder.join(&guarded.path).display())
            }
            MountOp::Mask { target } => format!("hide       {}", target.display()),
            MountOp::ReadOnlyRoot => "read-only  /".to_owned(),
            MountOp::ReadOnly { target } => format!("read-only  {}", target.display()),
        });
    }
    let words: Vec<_> = command.arguments.iter().map(|word| word.as_os_str().to_string_lossy()).collect();
    line(format!("run        {}", words.join(" ")));
    out
}
