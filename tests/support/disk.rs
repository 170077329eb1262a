//! A small disk that can be filled. For root alone, who may mount it.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use super::devbox::Devbox;

/// A small file system of its own for the data directory.
pub struct Disk<'a> {
    test: &'a Devbox,
}

impl<'a> Disk<'a> {
    /// Of so many MiB.
    pub fn mount(test: &'a Devbox, size_mib: u32) -> Self {
        let disk = test.home().join(".local/share");
        fs::create_dir_all(&disk).expect("the file system works");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size_mib}m,mode=700"), "none"])
            .arg(&disk)
            .status()
            .expect("the file system works");
        assert!(mounted.success());
        Self { test }
    }

    /// An ext4 of so many MiB that keeps quotas of projects.
    pub fn with_quotas(test: &'a Devbox, size_mib: u64) -> Self {
        let disk = test.home().join(".local/share");
        fs::create_dir_all(&disk).expect("the file system works");
        let image = test.home().join("disk.img");
        File::create(&image).and_then(|file| file.set_len(size_mib << 20)).expect("the file system works");
        let run = |program: &str, arguments: &[&str]| {
            let done = Command::new(program).args(arguments).arg(&image).output().expect("the program is there");
            assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
        };
        run("mkfs.ext4", &["-q", "-O", "quota,project", "-E", "quotatype=prjquota"]);
        let target = format!("--target={}", disk.display());
        run("mount", &["-o", "loop,prjquota", &target, "--source"]);
        Self { test }
    }

    /// A path on it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.test.home().join(".local/share").join(name)
    }

    /// Leaves this much room.
    pub fn fill(&self, room_bytes: u64) {
        let mut file = File::create(self.path("fill")).expect("the file system works");
        while file.write_all(&[0; 4096]).is_ok() {}
        let size = file.metadata().expect("the file system works").len();
        file.set_len(size.saturating_sub(room_bytes)).expect("the file system works");
    }

    /// Leaves it as it was before it was filled.
    pub fn empty(&self) {
        fs::remove_file(self.path("fill")).expect("the file system works");
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(self.path("")).status().expect("the file system works");
    }
}
