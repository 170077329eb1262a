//! What the instructions that make no files do to an image's configuration. Pure.

use std::path::Path;
use std::time::Duration;

use super::copy::select::clean;
use super::language::{Command, Healthcheck};
use crate::image::config::{Healthcheck as ImageHealthcheck, RunConfig};

/// What runs shell forms if `SHELL` does not say.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// Sets a variable, in its old place if there is one.
pub fn set_variable(config: &mut RunConfig, name: &str, value: &str) {
    let text = format!("{name}={value}");
    match config.env.iter_mut().find(|known| known.split_once('=').map_or(known.as_str(), |(name, _)| name) == name) {
        Some(known) => *known = text,
        None => config.env.push(text),
    }
}

/// The variables as pairs.
pub fn variables(config: &RunConfig) -> impl Iterator<Item = (&str, &str)> {
    config.env.iter().map(|text| text.split_once('=').unwrap_or((text, "")))
}

/// The arguments that `command` stands for: a shell form is handed to the shell.
#[must_use]
pub fn arguments(config: &RunConfig, command: &Command) -> Vec<String> {
    match command {
        Command::Exec(arguments) => arguments.clone(),
        Command::Shell(text) => {
            let default = || SHELL.map(str::to_owned).to_vec();
            let mut arguments = config.shell.clone().filter(|shell| !shell.is_empty()).unwrap_or_else(default);
            arguments.push(text.clone());
            arguments
        }
    }
}

/// `ENTRYPOINT`. A `CMD` of the base was meant for the base's.
pub fn set_entrypoint(config: &mut RunConfig, command: &Command, has_own_command: bool) {
    config.entrypoint = Some(arguments(config, command));
    if !has_own_command {
        config.cmd = None;
    }
}

/// `path` as an absolute path without `.` and `..`; a relative one is below the working directory.
#[must_use]
pub fn absolute(config: &RunConfig, path: &str) -> std::path::PathBuf {
    let below = if path.starts_with('/') { "" } else { config.working_dir.as_str() };
    Path::new("/").join(clean(&format!("{below}/{path}")))
}

/// `HEALTHCHECK` as an image has it.
#[must_use]
pub fn healthcheck(check: &Healthcheck) -> ImageHealthcheck {
    let nanoseconds = |time: &Option<Duration>| time.and_then(|time| i64::try_from(time.as_nanos()).ok());
    match check {
        Healthcheck::None => ImageHealthcheck { test: vec!["NONE".to_owned()], ..ImageHealthcheck::default() },
        Healthcheck::Check { command, interval, timeout, start_period, start_interval, retries } => {
            let test = match command {
                Command::Shell(text) => vec!["CMD-SHELL".to_owned(), text.clone()],
                Command::Exec(arguments) => ["CMD".to_owned()].into_iter().chain(arguments.iter().cloned()).collect(),
            };
            ImageHealthcheck {
                test,
                interval: nanoseconds(interval),
                timeout: nanoseconds(timeout),
                start_period: nanoseconds(start_period),
                start_interval: nanoseconds(start_interval),
                retries: (*retries > 0).then_some(i64::from(*retries)),
                ..ImageHealthcheck::default()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_keep_their_place() {
        let mut config = RunConfig { env: vec!["A=1".into(), "B=2".into()], ..RunConfig::default() };
        set_variable(&mut config, "A", "3");
        set_variable(&mut config, "C", "x=y");
        assert_eq!(config.env, ["A=3", "B=2", "C=x=y"]);
        assert_eq!(variables(&config).last(), Some(("C", "x=y")));
    }

    #[test]
    fn an_entry_point_takes_the_command_of_the_base_away() {
        let mut config = RunConfig { cmd: Some(vec!["sh".into()]), ..RunConfig::default() };
        set_entrypoint(&mut config, &Command::Shell("serve".into()), true);
        assert_eq!(config.entrypoint.as_deref().unwrap(), ["/bin/sh", "-c", "serve"]);
        assert!(config.cmd.is_some());
        config.shell = Some(vec!["/bin/bash".into(), "-ec".into()]);
        set_entrypoint(&mut config, &Command::Shell("serve".into()), false);
        assert_eq!(config.entrypoint.as_deref().unwrap(), ["/bin/bash", "-ec", "serve"]);
        assert_eq!(config.cmd, None);
    }

    #[test]
    fn paths_are_below_the_working_directory() {
        let config = RunConfig { working_dir: "/srv/app".into(), ..RunConfig::default() };
        for (path, expected) in [("x", "/srv/app/x"), (".", "/srv/app"), ("../../../x", "/x"), ("/a//b/", "/a/b")] {
            assert_eq!(absolute(&config, path), Path::new(expected));
        }
        assert_eq!(absolute(&RunConfig::default(), "x"), Path::new("/x"));
    }
}
