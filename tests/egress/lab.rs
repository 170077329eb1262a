//! The host of its own that these tests run on: see `tests/fixtures/egress/lab.sh`.

use std::path::PathBuf;
use std::process::Stdio;

use crate::support::background::Background;
use crate::support::devbox::Devbox;
use crate::support::{environment, fixture};

/// A project on that host, whose servers have not been asked anything. One test at a time has it.
pub struct Lab {
    pub test: Devbox,
    pub folder: PathBuf,
}

impl Lab {
    /// With these lines in the profile's section `[network]`.
    pub fn new(network: &str) -> Self {
        Devbox::host();
        let test = Devbox::shared(&format!("base = \"host\"\n[network]\nmode = \"private\"\n{network}"));
        test.file("probe.py", std::fs::read(fixture("egress/probe.py")).expect("a fixture"));
        let folder = PathBuf::from(environment("DEVBOX_TEST_LAB").expect("the requirement `Lab`"));
        std::fs::remove_file(folder.join("asked")).unwrap_or_default();
        Self { test, folder }.with_resolv_conf("nameserver 127.0.0.1\n")
    }

    /// On a host with this `resolv.conf`.
    pub fn with_resolv_conf(self, content: &str) -> Self {
        std::fs::write(self.folder.join("resolv.conf"), content).expect("write a file");
        self
    }

    /// What the box prints; both streams.
    pub fn run(&self, script: &str) -> String {
        self.devbox(["run", "--", "sh", "-c", script])
    }

    /// What `devbox` prints; both streams.
    pub fn devbox<const N: usize>(&self, arguments: [&str; N]) -> String {
        let output = self.test.command(arguments).stdin(Stdio::null()).output().expect("run the binary");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// A script that goes on in the box while the host changes.
    pub fn background(&self, script: &str) -> Background {
        Background::start(self.test.command(["run", "--", "sh", "-c", script]))
    }

    /// Tries each from the box; what came of it, in the same order.
    pub fn probe(&self, probes: &[&str]) -> Vec<String> {
        let output = self.run(&format!("python3 probe.py {}", probes.join(" ")));
        let results = output.lines().filter_map(|line| Some(line.split_once(' ')?.1.to_owned()));
        let results: Vec<String> = results.collect();
        assert_eq!(results.len(), probes.len(), "{output}");
        results
    }

    /// Which names the host's name server was asked.
    pub fn asked(&self) -> String {
        std::fs::read_to_string(self.folder.join("asked")).unwrap_or_default()
    }

    /// The lines of `devbox net log`, without their times.
    pub fn log(&self) -> String {
        let output = self.test.args(["net", "log"]).any_stdout().run().stdout;
        output.lines().filter_map(|line| Some(line.split_once("  ")?.1.to_owned() + "\n")).collect()
    }
}
