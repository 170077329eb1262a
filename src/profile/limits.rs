//! `[limits]`, checked.

use std::collections::BTreeMap;

use super::schema::{At, RawLimits};
use super::validate::{Checked, Origin};
use crate::limits::{Key, LimitError, amount};

/// The values in the units of their keys.
pub(super) fn check(origin: &Origin<'_>, raw: RawLimits) -> Checked<BTreeMap<Key, u64>> {
    let mut limits = BTreeMap::new();
    if let Some(cpus) = raw.cpus {
        let value = Key::Cpus.check(amount::thousandths(cpus.value), || cpus.value.to_string());
        limits.insert(Key::Cpus, placed(origin, &cpus, Key::Cpus, value)?);
    }
    for (key, count) in [(Key::CpuWeight, raw.cpu_weight), (Key::Pids, raw.pids), (Key::Files, raw.files)] {
        let Some(count) = count else { continue };
        let value = key.check(Some(count.value), || count.value.to_string());
        limits.insert(key, placed(origin, &count, key, value)?);
    }
    for (key, text) in [
        (Key::Memory, raw.memory),
        (Key::MemoryHigh, raw.memory_high),
        (Key::Swap, raw.swap),
        (Key::IoRead, raw.io_read),
        (Key::IoWrite, raw.io_write),
        (Key::Shm, raw.shm),
        (Key::Disk, raw.disk),
    ] {
        let Some(text) = text else { continue };
        let value = key.parse_value(&text.value);
        limits.insert(key, placed(origin, &text, key, value)?);
    }
    Ok(limits)
}

/// The value, or its line in the file.
fn placed<T>(origin: &Origin<'_>, at: &At<T>, key: Key, value: Result<u64, LimitError>) -> Checked<u64> {
    value.map_err(|_| origin.wrong(at, format!("this is no value for `{key}`")).label(key.expected()).into())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::validate::parse_profile;
    use super::*;

    fn limits(text: &str) -> Result<BTreeMap<Key, u64>, String> {
        let (file, folder) = (Path::new("/p/devbox.toml"), Path::new("/p"));
        let text = format!("[limits]\n{text}\n");
        let parsed = parse_profile(&Origin { file, text: &text, folder, home: folder });
        parsed.map(|layer| layer.limits).map_err(|diagnostic| diagnostic.to_string())
    }

    #[test]
    fn every_key_is_read() {
        let text = "cpus = 2\ncpu_weight = 50\nmemory = \"4GiB\"\nmemory_high = \"3G\"\nswap = \"0B\"\npids = 512\n\
                    io_read = \"100MB/s\"\nio_write = \"1MiB/s\"\nfiles = 4096\nshm = \"64M\"\ndisk = \"10GiB\"";
        let limits = limits(text).unwrap();
        assert_eq!(limits.keys().copied().collect::<Vec<_>>(), Key::ALL);
        assert_eq!((limits[&Key::Cpus], limits[&Key::Memory], limits[&Key::IoRead]), (2000, 4 << 30, 100_000_000));
    }

    #[test]
    fn mistakes_have_a_place() {
        for (text, expected) in [
            ("memory = \"4\"", "/p/devbox.toml:2:10: this is no value for `memory`"),
            ("memory = 4", "/p/devbox.toml:2:10: "),
            ("cpus = 0", "/p/devbox.toml:2:8: this is no value for `cpus`"),
            ("cpus = nan", "/p/devbox.toml:2:8: this is no value for `cpus`"),
            ("pids = -1", "/p/devbox.toml:2:8: "),
            ("pids = 3", "/p/devbox.toml:2:8: this is no value for `pids`"),
            ("io_read = \"100MB\"", "/p/devbox.toml:2:11: this is no value for `io_read`"),
            ("memroy = \"4G\"", "/p/devbox.toml:2:1: unknown key `memroy` (did you mean `memory`?)"),
        ] {
            let error = limits(text).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }
}
