//! Numbers of bytes as docker prints them, so that programs which read them find the unit. Pure.

/// Of what lies on a disk: `158MB`, in thousands.
#[must_use]
pub fn on_disk(bytes: u64) -> String {
    shown(bytes, 1000.0, 3, &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

/// Of memory: `1.953MiB`, in 1024s.
#[must_use]
pub fn in_memory(bytes: u64) -> String {
    shown(bytes, 1024.0, 4, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

/// In the first unit that leaves less than `base`, with so many digits and no zeros at the end.
fn shown(bytes: u64, base: f64, digits: usize, units: &[&str]) -> String {
    let (mut number, mut unit) = (bytes as f64, 0);
    while rounded(number, digits) >= base && unit + 1 < units.len() {
        number /= base;
        unit += 1;
    }
    format!("{}{}", rounded(number, digits), units[unit])
}

/// With so many digits before and behind the point together.
fn rounded(number: f64, digits: usize) -> f64 {
    let whole = format!("{number:.0}").len();
    let scale = 10_f64.powi(i32::try_from(digits.saturating_sub(whole)).unwrap_or(0));
    (number * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_dockers() {
        for (bytes, disk, memory) in [
            (0, "0B", "0B"),
            (999, "999B", "999B"),
            (1_000, "1kB", "1000B"),
            (1_024, "1.02kB", "1KiB"),
            (157_863_116, "158MB", "150.5MiB"),
            (77_800_000, "77.8MB", "74.2MiB"),
            (999_999_999, "1GB", "953.7MiB"),
            (1_500_000_000, "1.5GB", "1.397GiB"),
            (u64::MAX, "18.4EB", "16EiB"),
        ] {
            assert_eq!((on_disk(bytes).as_str(), in_memory(bytes).as_str()), (disk, memory), "{bytes}");
        }
    }
}
