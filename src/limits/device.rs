//! The disks behind directories: what `io.max` wants to know.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A whole disk, as the kernel numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Device {
    /// The driver.
    pub major: u32,
    /// The disk.
    pub minor: u32,
}

impl std::fmt::Display for Device {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}:{}", self.major, self.minor)
    }
}

/// The disks below `paths`, each once. Empty when none of them lies on a block device (tmpfs, NFS, a pool of ZFS).
#[must_use]
pub fn behind(paths: &[&Path]) -> Vec<Device> {
    let mut devices: Vec<Device> = paths.iter().filter_map(|path| device(path)).collect();
    devices.sort_unstable();
    devices.dedup();
    devices
}

fn device(path: &Path) -> Option<Device> {
    let number = std::fs::metadata(path).ok()?.dev();
    let found = Device { major: rustix::fs::major(number), minor: rustix::fs::minor(number) };
    if found.major != 0 {
        return whole(found);
    }
    // btrfs and its kin have a number of their own for each volume: the mount table names the disk.
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let source = source_of(&mounts, found)?;
    let number = std::fs::metadata(source).ok()?.rdev();
    whole(Device { major: rustix::fs::major(number), minor: rustix::fs::minor(number) })
}

/// Limits are set for whole disks; a partition's directory lies in its disk's.
fn whole(device: Device) -> Option<Device> {
    let link = std::fs::canonicalize(format!("/sys/dev/block/{device}")).ok()?;
    if !link.join("partition").exists() {
        return Some(device);
    }
    parse_device(std::fs::read_to_string(link.parent()?.join("dev")).ok()?.trim())
}

fn parse_device(text: &str) -> Option<Device> {
    let (major, minor) = text.split_once(':')?;
    Some(Device { major: major.parse().ok()?, minor: minor.parse().ok()? })
}

/// `36 35 0:32 / /mnt rw - btrfs /dev/sda2 rw`: the source of the mount whose device is `device`.
fn source_of(mountinfo: &str, device: Device) -> Option<PathBuf> {
    let wanted = device.to_string();
    let line = mountinfo.lines().find(|line| line.split(' ').nth(2) == Some(&wanted))?;
    let source = line.split_once(" - ")?.1.split(' ').nth(1)?;
    source.starts_with("/dev/").then(|| source.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_table_is_read() {
        let table = "22 1 254:0 / / rw - ext4 /dev/root rw\n36 35 0:32 / /mnt rw shared:1 - btrfs /dev/sda2 rw\n\
                     40 1 0:50 / /tmp rw - tmpfs tmpfs rw\n";
        let source = |minor| source_of(table, Device { major: 0, minor });
        assert_eq!(source(32), Some("/dev/sda2".into()));
        assert_eq!(source(50), None);
        assert_eq!(source(51), None);
        assert_eq!(parse_device("254:0"), Some(Device { major: 254, minor: 0 }));
    }

    #[test]
    fn what_lies_in_memory_has_no_disk() {
        assert_eq!(behind(&[Path::new("/proc"), Path::new("/nowhere")]), []);
    }
}
