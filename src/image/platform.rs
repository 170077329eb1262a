//! What an image runs on: `linux/arm64/v8`; and which entry of an index that is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::descriptor::null_is_default;

/// A text is no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {
    /// It has not one to three parts of letters and digits.
    #[error("`{}` is no platform (`linux/amd64`, `linux/arm64/v8`)", text.escape_debug())]
    Form {
        /// As it was given.
        text: String,
    },
    /// Boxes run programs of the kernel they are on.
    #[error("`{os}` is no operating system that runs here: only `linux` does")]
    Os {
        /// As it was given.
        os: String,
    },
}

/// An operating system and a processor, in the words of the image specification, which are Go's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// `amd64`, `arm64` ...
    #[serde(default)]
    pub architecture: String,
    /// `linux`.
    #[serde(default)]
    pub os: String,
    /// Of Windows.
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Of Windows.
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// `v8` of arm64, `v2` of amd64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// Linux on `architecture`, in any of its usual spellings.
    #[must_use]
    pub fn linux(architecture: &str, variant: Option<&str>) -> Self {
        let (architecture, variant) = normalize(architecture, variant.unwrap_or_default());
        Self {
            architecture,
            os: "linux".to_owned(),
            os_version: None,
            os_features: Vec::new(),
            variant: (!variant.is_empty()).then_some(variant),
        }
    }

    /// This machine.
    #[must_use]
    pub fn host() -> Self {
        match std::env::consts::ARCH {
            "arm" => Self::linux("arm", Some("v7")),
            "powerpc64" if cfg!(target_endian = "little") => Self::linux("ppc64le", None),
            architecture => Self::linux(architecture, None),
        }
    }

    /// In one spelling, so that equal platforms are equal values.
    #[must_use]
    pub fn normalized(&self) -> Self {
        let (architecture, variant) = normalize(&self.architecture, self.variant.as_deref().unwrap_or_default());
        Self {
            architecture,
            os: self.os.to_lowercase(),
            variant: (!variant.is_empty()).then_some(variant),
            ..self.clone()
        }
    }

    /// What runs on this platform, the best first: itself, its older variants, and the 32-bit processor that the 64-bit
    /// one contains.
    fn accepted(&self) -> Vec<(String, String)> {
        let own = self.normalized();
        let (architecture, variant) = (own.architecture, own.variant.unwrap_or_default());
        let named = |architecture: &str, variant: String| (architecture.to_owned(), variant);
        let number = |default: u32| {
            variant.trim_start_matches('v').split('.').next().and_then(|v| v.parse().ok()).unwrap_or(default)
        };
        let mut accepted = vec![(architecture.clone(), variant.clone())];
        match architecture.as_str() {
            "amd64" => {
                let older = (2..number(1).min(9)).rev().map(|v| named("amd64", format!("v{v}")));
                accepted.extend(older);
                accepted.push(named("amd64", String::new()));
                accepted.push(named("386", String::new()));
            }
            "arm64" => {
                if number(8) > 8 {
                    accepted.push(named("arm64", String::new()));
                }
                accepted.extend((5..=8).rev().map(|v| named("arm", format!("v{v}"))));
            }
            "arm" => accepted.extend((5..number(7).min(9)).rev().map(|v| named("arm", format!("v{v}")))),
            _ => accepted.push(named(&architecture, String::new())),
        }
        accepted
    }

    /// How well an image for `other` runs here: 0 is best, `None` not at all.
    #[must_use]
    pub fn rank(&self, other: &Self) -> Option<usize> {
        let other = other.normalized();
        let wanted = (other.architecture, other.variant.unwrap_or_default());
        (other.os == self.os.to_lowercase()).then(|| self.accepted().iter().position(|one| *one == wanted)).flatten()
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown = |text: &str| if text.is_empty() { "unknown".to_owned() } else { text.escape_debug().to_string() };
        write!(f, "{}/{}", unknown(&self.os), unknown(&self.architecture))?;
        match &self.variant {
            Some(variant) => write!(f, "/{}", variant.escape_debug()),
            None => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    /// Reads `linux/arm64/v8`, `linux/arm64`, `arm64/v8`, `arm64` or `linux`, for Linux only.
    fn from_str(text: &str) -> Result<Self, PlatformError> {
        // The `v` of a variant may be left out, and does not count.
        let length = |part: &str| part.strip_prefix('v').unwrap_or(part).len();
        let is_part = |part: &&str| {
            (1..=32).contains(&length(part)) && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        };
        let lower = text.to_ascii_lowercase();
        let parts: Vec<&str> = lower.split('/').collect();
        let form = || PlatformError::Form { text: text.chars().take(80).collect() };
        if !parts.iter().all(is_part) {
            return Err(form());
        }
        match parts.as_slice() {
            ["linux"] => Ok(Self { os: "linux".to_owned(), ..Self::host() }),
            ["linux", architecture] => Ok(Self::linux(architecture, None)),
            ["linux", architecture, variant] => Ok(Self::linux(architecture, Some(variant))),
            [os, ..] if KNOWN_OTHERS.contains(os) => Err(PlatformError::Os { os: (*os).to_owned() }),
            [architecture] => Ok(Self::linux(architecture, None)),
            [architecture, variant] if variant.starts_with('v') => Ok(Self::linux(architecture, Some(variant))),
            [os, _, _] => Err(PlatformError::Os { os: (*os).to_owned() }),
            _ => Err(form()),
        }
    }
}

/// Operating systems of images that are not Linux.
const KNOWN_OTHERS: [&str; 10] =
    ["windows", "darwin", "macos", "freebsd", "netbsd", "openbsd", "solaris", "aix", "android", "wasip1"];

/// The architecture and variant in Go's words; the variant that every processor of the kind has is left out.
fn normalize(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = (architecture.to_lowercase(), variant.to_lowercase());
    let variant = if variant.starts_with(|c: char| c.is_ascii_digit()) { format!("v{variant}") } else { variant };
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("x86_64" | "x86-64" | "amd64", "v1" | "") => ("amd64", ""),
        ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
        ("i386" | "i486" | "i586" | "i686" | "x86" | "386", _) => ("386", ""),
        ("aarch64" | "arm64", "v8" | "v8.0" | "") => ("arm64", ""),
        ("aarch64" | "arm64", variant) => ("arm64", variant),
        ("armhf", _) => ("arm", "v7"),
        ("armel", _) => ("arm", "v6"),
        ("arm", "") => ("arm", "v7"),
        ("powerpc64le", variant) => ("ppc64le", variant),
        ("loongarch64", variant) => ("loong64", variant),
        (architecture, variant) => (architecture, variant),
    };
    (architecture.to_owned(), variant.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        for (text, expected) in [
            ("linux/amd64", Ok("linux/amd64")),
            ("Linux/X86_64", Ok("linux/amd64")),
            ("amd64/v1", Ok("linux/amd64")),
            ("linux/amd64/v3", Ok("linux/amd64/v3")),
            ("aarch64", Ok("linux/arm64")),
            ("linux/arm64/v8", Ok("linux/arm64")),
            ("linux/arm64/v9", Ok("linux/arm64/v9")),
            ("linux/arm", Ok("linux/arm/v7")),
            ("armhf", Ok("linux/arm/v7")),
            ("linux/arm/6", Ok("linux/arm/v6")),
            ("linux/riscv64", Ok("linux/riscv64")),
            ("i686", Ok("linux/386")),
            ("arm64/v8.0", Ok("linux/arm64")),
            ("windows/amd64", Err("`windows` is no operating system that runs here: only `linux` does")),
            ("", Err("`` is no platform (`linux/amd64`, `linux/arm64/v8`)")),
            ("linux/", Err("`linux/` is no platform (`linux/amd64`, `linux/arm64/v8`)")),
            ("linux/a/b/c", Err("`linux/a/b/c` is no platform (`linux/amd64`, `linux/arm64/v8`)")),
            ("linux/\u{1b}", Err("`linux/\\u{1b}` is no platform (`linux/amd64`, `linux/arm64/v8`)")),
        ] {
            let read = text.parse::<Platform>();
            assert_eq!(
                read.map(|p| p.to_string()).map_err(|e| e.to_string()),
                expected.map(str::to_owned).map_err(str::to_owned)
            );
        }
    }

    #[test]
    fn what_was_read_is_read_again() {
        for text in [format!("linux/arm64/{}", "9".repeat(32)), format!("linux/arm64/9{}7", "-".repeat(30))] {
            let read: Platform = text.parse().unwrap();
            assert_eq!(read.to_string().parse(), Ok(read));
        }
        assert!(format!("linux/{}", "9".repeat(33)).parse::<Platform>().is_err());
    }

    #[test]
    fn the_better_fit_comes_first() {
        for (here, candidates) in [
            ("linux/amd64", &["linux/amd64", "linux/386"][..]),
            ("linux/amd64/v3", &["linux/amd64/v3", "linux/amd64/v2", "linux/amd64", "linux/386"]),
            ("linux/arm64", &["linux/arm64", "linux/arm/v8", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5"]),
            ("linux/arm64/v9", &["linux/arm64/v9", "linux/arm64", "linux/arm/v8"]),
            ("linux/arm/v7", &["linux/arm/v7", "linux/arm/v6", "linux/arm/v5"]),
            ("linux/s390x", &["linux/s390x"]),
        ] {
            let here: Platform = here.parse().unwrap();
            let ranks: Vec<_> = candidates.iter().map(|other| here.rank(&other.parse().unwrap()).unwrap()).collect();
            assert!(ranks.is_sorted(), "{here}: {ranks:?}");
        }
        let here: Platform = "linux/amd64".parse().unwrap();
        for other in ["linux/arm64", "linux/amd64/v2", "linux/s390x"] {
            assert_eq!(here.rank(&other.parse().unwrap()), None, "{other}");
        }
        let unknown: Platform = serde_json::from_str(r#"{"architecture":"unknown","os":"unknown"}"#).unwrap();
        assert_eq!(here.rank(&unknown), None);
        let windows = Platform { os: "windows".to_owned(), ..here.clone() };
        assert_eq!(here.rank(&windows), None);
    }
}
