//! How layers are compressed, as it is typed: `gzip`, `zstd`, `zstd:19`.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::source::Compression;

/// From here on twice the time saves but some per cent.
const GZIP_LEVEL: i32 = 4;
/// What everybody takes.
const ZSTD_LEVEL: i32 = 3;

/// A compression, and how hard it tries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Method {
    /// Which.
    pub compression: Compression,
    /// The higher the smaller and slower, if one was chosen: 1 to 9 for gzip, 1 to 22 for zstd.
    pub level: Option<i32>,
}

/// What is no method.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MethodError {
    /// Another name.
    #[error("not a compression: write `gzip`, `zstd`, or with a level `zstd:19`")]
    Name,
    /// Another level.
    #[error("the level of {} is a number from {} to {}", compression, levels.start(), levels.end())]
    Level {
        /// Of what.
        compression: Compression,
        /// What it may be.
        levels: RangeInclusive<i32>,
    },
}

impl Method {
    /// The level that was chosen, or the usual one.
    pub(super) fn level(self) -> i32 {
        self.level.unwrap_or(match self.compression {
            Compression::None => 0,
            Compression::Gzip => GZIP_LEVEL,
            Compression::Zstd => ZSTD_LEVEL,
        })
    }
}

impl From<Compression> for Method {
    fn from(compression: Compression) -> Self {
        Self { compression, level: None }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            None => self.compression.fmt(f),
            Some(level) => write!(f, "{}:{level}", self.compression),
        }
    }
}

impl FromStr for Method {
    type Err = MethodError;

    fn from_str(text: &str) -> Result<Self, MethodError> {
        let (name, level) = text.split_once(':').map_or((text, None), |(name, level)| (name, Some(level)));
        let (compression, levels) = match name {
            "gzip" => (Compression::Gzip, 1..=9),
            "zstd" => (Compression::Zstd, 1..=22),
            _ => return Err(MethodError::Name),
        };
        let Some(level) = level else { return Ok(compression.into()) };
        match level.parse() {
            Ok(level) if levels.contains(&level) => Ok(Self { compression, level: Some(level) }),
            _ => Err(MethodError::Level { compression, levels }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods() {
        for (text, compression, level) in [
            ("gzip", Compression::Gzip, GZIP_LEVEL),
            ("gzip:9", Compression::Gzip, 9),
            ("zstd", Compression::Zstd, ZSTD_LEVEL),
            ("zstd:22", Compression::Zstd, 22),
        ] {
            let method: Method = text.parse().unwrap();
            assert_eq!((method.compression, method.level(), method.to_string()), (compression, level, text.to_owned()));
        }
        for text in ["", "xz", "none", "GZIP", ":3", "zstd3"] {
            assert_eq!(text.parse::<Method>(), Err(MethodError::Name), "{text}");
        }
        for text in ["gzip:", "gzip:0", "gzip:10", "zstd:-1", "zstd:23", "zstd:3:4"] {
            assert!(matches!(text.parse::<Method>(), Err(MethodError::Level { .. })), "{text}");
        }
        let error = "gzip:10".parse::<Method>().unwrap_err();
        assert_eq!(error.to_string(), "the level of gzip is a number from 1 to 9");
    }
}
