//! Amounts as people write them: `4GiB`, `512M`, `100MB/s`. Pure.

/// The longest suffix first, so that `MiB` is not read as `B`.
const UNITS: [(&str, u64); 14] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("K", 1 << 10),
    ("M", 1 << 20),
    ("G", 1 << 30),
    ("T", 1 << 40),
    ("B", 1),
];

/// Bytes: a number (also with a fraction) and a unit. `KiB` and `K` are 1024, `KB` is 1000; a bare number is no size,
/// because nobody remembers of what. `None`: it is no size, or too large.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = UNITS.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)))?;
    let number = number.trim_end_matches(' ');
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 6 || number.ends_with('.') {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let part = fraction.parse::<u128>().unwrap_or(0) * u128::from(unit) / scale;
    whole.checked_add(u64::try_from(part).ok()?)
}

/// Bytes a second: a size and `/s`.
#[must_use]
pub fn parse_rate(text: &str) -> Option<u64> {
    parse_size(text.strip_suffix("/s")?)
}

/// `text` is a number with at most three places: in thousandths.
#[must_use]
pub fn parse_thousandths(text: &str) -> Option<u64> {
    let number: f64 = text.parse().ok()?;
    thousandths(number)
}

/// A number of processors in thousandths; `None` below a hundredth, and for what no machine has.
#[must_use]
pub fn thousandths(number: f64) -> Option<u64> {
    // In range: the cast loses only what is below a thousandth.
    (0.01..=65_536.0).contains(&number).then(|| (number * 1000.0).round() as u64)
}

/// The size in the largest unit that gives a whole number, so that it reads back as the same.
#[must_use]
pub fn format_size(bytes: u64) -> String {
    for (unit, size) in [("TiB", 1_u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= size && bytes.is_multiple_of(size) {
            return format!("{}{unit}", bytes / size);
        }
    }
    for (unit, size) in [("TB", 1_000_000_000_000_u64), ("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1_000)] {
        if bytes >= size && bytes.is_multiple_of(size) {
            return format!("{}{unit}", bytes / size);
        }
    }
    format!("{bytes}B")
}

/// Thousandths as a number: `500` is `0.5`.
#[must_use]
pub fn format_thousandths(thousandths: u64) -> String {
    let text = format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("4GiB", Some(4 << 30)),
            ("512M", Some(512 << 20)),
            ("512 MiB", Some(512 << 20)),
            ("1.5G", Some(3 << 29)),
            ("100MB", Some(100_000_000)),
            ("0B", Some(0)),
            ("7B", Some(7)),
            ("64k", None),
            ("512", None),
            ("", None),
            ("GiB", None),
            ("-1G", None),
            ("1.G", None),
            (".5G", None),
            ("1e3M", None),
            ("99999999T", None),
            ("1GiBB", None),
        ] {
            assert_eq!(parse_size(text), bytes, "{text}");
        }
        assert_eq!(parse_rate("100MB/s"), Some(100_000_000));
        assert_eq!(parse_rate("100MB"), None);
    }

    #[test]
    fn what_is_printed_reads_back() {
        for bytes in [0, 1, 1024, 1536, 4 << 30, 100_000_000, 5_000_000_000_001, u64::MAX] {
            assert_eq!(parse_size(&format_size(bytes)), Some(bytes), "{}", format_size(bytes));
        }
        for (text, value, shown) in [("0.5", 500, "0.5"), ("2", 2000, "2"), ("2.0", 2000, "2"), ("0.01", 10, "0.01")] {
            assert_eq!(parse_thousandths(text), Some(value));
            assert_eq!(format_thousandths(value), shown);
        }
        for text in ["0", "-1", "nan", "inf", "0.001", "100000", "two"] {
            assert_eq!(parse_thousandths(text), None, "{text}");
        }
    }
}
