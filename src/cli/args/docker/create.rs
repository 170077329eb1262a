//! What can be typed of `docker run` and `docker create`.

use std::path::PathBuf;

use clap::{ArgAction, Args};

/// `run` and `create`.
#[derive(Debug, Args)]
#[command(disable_help_flag = true, override_usage = "devbox docker run [OPTIONS] IMAGE [COMMAND] [ARGUMENT]...")]
pub struct Run {
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    /// Print the id, and do not wait
    #[arg(short, long)]
    pub detach: bool,
    /// Show only this stream: stdin, stdout or stderr
    #[arg(short, long, value_name = "STREAM")]
    pub attach: Vec<String>,
    /// Pass standard input on; the container ends with this command
    #[arg(short, long)]
    pub interactive: bool,
    /// With a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Whether signals to this command go to the container
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = true)]
    pub sig_proxy: bool,
    /// Remove the container when it ends
    #[arg(long)]
    pub rm: bool,
    /// Its name
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// A bind mount or a named volume: `type=bind,source=..,target=..`
    #[arg(long, value_name = "MOUNT")]
    pub mount: Vec<String>,
    /// The same in short: SOURCE:TARGET[:ro]
    #[arg(short, long, value_name = "MOUNT")]
    pub volume: Vec<String>,
    /// Memory that is mounted: TARGET[:size=SIZE,mode=MODE]
    #[arg(long, value_name = "TARGET")]
    pub tmpfs: Vec<String>,
    /// Nothing can be written but to mounts, /tmp and /run
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false)]
    pub read_only: bool,
    /// A port that is reachable on the host's loopback: HOST:CONTAINER
    #[arg(short, long, value_name = "PORT")]
    pub publish: Vec<String>,
    /// A label
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub label: Vec<String>,
    /// A variable
    #[arg(short, long = "env", value_name = "NAME=VALUE")]
    pub environment: Vec<String>,
    /// The variables of a file
    #[arg(long = "env-file", value_name = "FILE")]
    pub environment_files: Vec<PathBuf>,
    /// Who runs the command
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,
    /// Where it starts
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// What stands before the command
    #[arg(long, value_name = "PROGRAM")]
    pub entrypoint: Option<String>,
    /// `bridge`, `host` or `none`
    #[arg(long, visible_alias = "net", value_name = "NETWORK")]
    pub network: Option<String>,
    /// A capability besides those that every box has
    #[arg(long, value_name = "CAPABILITY")]
    pub cap_add: Vec<String>,
    /// A capability less
    #[arg(long, value_name = "CAPABILITY")]
    pub cap_drop: Vec<String>,
    /// `no-new-privileges`; others have no meaning here
    #[arg(long, value_name = "OPTION")]
    pub security_opt: Vec<String>,
    /// Gives nothing
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false)]
    pub privileged: bool,
    /// Memory
    #[arg(short, long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// Processors
    #[arg(long, value_name = "NUMBER")]
    pub cpus: Option<String>,
    /// Processes
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub pids_limit: Option<i64>,
    /// The size of /dev/shm
    #[arg(long, value_name = "SIZE")]
    pub shm_size: Option<String>,
    /// `nofile=N`
    #[arg(long, value_name = "LIMIT")]
    pub ulimit: Vec<String>,
    /// The graphics cards
    #[arg(long, value_name = "CARDS")]
    pub gpus: Option<String>,
    /// A signal that asks it to end
    #[arg(long, value_name = "SIGNAL")]
    pub stop_signal: Option<String>,
    /// When to ask the registry: missing, always, never
    #[arg(long, value_name = "WHEN", default_value = "missing", value_parser = ["missing", "always", "never"])]
    pub pull: String,
    /// Write the id into this file
    #[arg(long, value_name = "FILE")]
    pub cidfile: Option<PathBuf>,
    /// What means nothing here
    #[command(flatten)]
    pub other: Other,
    /// The image, and the command with its arguments
    #[arg(value_name = "IMAGE", required = true, num_args = 1.., trailing_var_arg = true)]
    pub words: Vec<String>,
}

/// Options that are taken for their own sake.
#[derive(Debug, Args)]
pub struct Other {
    #[arg(long, hide = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    init: Option<bool>,
    #[arg(short = 'P', long, hide = true)]
    publish_all: bool,
    #[arg(short, long, hide = true)]
    quiet: bool,
    #[arg(short = 'h', long, hide = true)]
    hostname: Option<String>,
    #[arg(long, hide = true)]
    restart: Option<String>,
    #[arg(long, hide = true)]
    pid: Option<String>,
    #[arg(long, hide = true)]
    ipc: Option<String>,
    #[arg(long, hide = true)]
    uts: Option<String>,
    #[arg(long, hide = true)]
    userns: Option<String>,
    #[arg(long, hide = true)]
    cgroupns: Option<String>,
    #[arg(long, hide = true)]
    device: Vec<String>,
    #[arg(long, hide = true)]
    device_cgroup_rule: Vec<String>,
    #[arg(long, hide = true)]
    add_host: Vec<String>,
    #[arg(long, hide = true)]
    dns: Vec<String>,
    #[arg(long, hide = true)]
    dns_search: Vec<String>,
    #[arg(long, hide = true)]
    dns_option: Vec<String>,
    #[arg(long, hide = true)]
    group_add: Vec<String>,
    #[arg(long, hide = true)]
    sysctl: Vec<String>,
    #[arg(long, hide = true)]
    annotation: Vec<String>,
    #[arg(long, hide = true)]
    expose: Vec<String>,
    #[arg(long, hide = true)]
    log_driver: Option<String>,
    #[arg(long, hide = true)]
    log_opt: Vec<String>,
    #[arg(long, hide = true)]
    pub platform: Option<String>,
    #[arg(long, hide = true)]
    runtime: Option<String>,
    #[arg(long, hide = true)]
    isolation: Option<String>,
    #[arg(long, hide = true)]
    mac_address: Option<String>,
    #[arg(long, hide = true)]
    network_alias: Vec<String>,
    #[arg(long, hide = true, allow_negative_numbers = true)]
    memory_swap: Option<String>,
    #[arg(long, hide = true)]
    memory_reservation: Option<String>,
    #[arg(long, hide = true)]
    cpu_shares: Option<String>,
    #[arg(long, hide = true)]
    cpuset_cpus: Option<String>,
    #[arg(long, hide = true)]
    oom_score_adj: Option<String>,
    #[arg(long, hide = true)]
    stop_timeout: Option<String>,
    #[arg(long, hide = true)]
    detach_keys: Option<String>,
    #[arg(long, hide = true)]
    cgroup_parent: Option<String>,
}

impl Other {
    /// Those that would share something of the host's, with their values.
    pub fn namespaces(&self) -> Vec<(&'static str, String)> {
        let all = [
            ("pid", &self.pid),
            ("ipc", &self.ipc),
            ("uts", &self.uts),
            ("userns", &self.userns),
            ("cgroupns", &self.cgroupns),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
    }

    /// The names of those that were given and have no effect that anybody would miss without being told.
    pub fn meaningless(&self) -> Vec<&'static str> {
        let all = [
            ("publish-all", self.publish_all),
            ("restart", self.restart.as_deref().is_some_and(|value| value != "no")),
            ("device", !self.device.is_empty()),
            ("device-cgroup-rule", !self.device_cgroup_rule.is_empty()),
            ("add-host", !self.add_host.is_empty()),
            ("dns", !self.dns.is_empty()),
            ("dns-search", !self.dns_search.is_empty()),
            ("dns-option", !self.dns_option.is_empty()),
            ("group-add", !self.group_add.is_empty()),
            ("sysctl", !self.sysctl.is_empty()),
            ("hostname", self.hostname.is_some()),
            ("mac-address", self.mac_address.is_some()),
            ("network-alias", !self.network_alias.is_empty()),
            ("memory-swap", self.memory_swap.is_some()),
            ("cpu-shares", self.cpu_shares.is_some()),
            ("cpuset-cpus", self.cpuset_cpus.is_some()),
            ("runtime", self.runtime.is_some()),
            ("cgroup-parent", self.cgroup_parent.is_some()),
        ];
        all.into_iter().filter_map(|(name, given)| given.then_some(name)).collect()
    }
}
