//! What an archive may become: decompression bombs end here.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};

/// An archive is never refused for its ratio before it has become this large.
const HARMLESS_BYTES: u64 = 1 << 30;

/// How large archives may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnpackLimits {
    /// Bytes of one layer's archive, decompressed.
    pub size_bytes: u64,
    /// How many times its compressed size that may be, beyond the first GiB.
    pub ratio: u64,
}

impl Default for UnpackLimits {
    /// 256 GiB, and 200: what programs write seldom shrinks to a tenth.
    fn default() -> Self {
        Self { size_bytes: 256 << 30, ratio: 200 }
    }
}

/// An archive became too large.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// More bytes than allowed.
    #[error("it has more than {limit} bytes (`images.max_layer_gib` in `config.toml`)")]
    Size {
        /// How many are allowed.
        limit: u64,
    },
    /// Hardly anything became very much.
    #[error("it becomes more than {limit} times as large when decompressed (`images.max_ratio` in `config.toml`)")]
    Ratio {
        /// How many times are allowed.
        limit: u64,
    },
}

impl UnpackLimits {
    /// Whether `unpacked` bytes may have come from `packed` ones.
    pub fn check(self, packed: u64, unpacked: u64) -> Result<(), LimitError> {
        if unpacked > self.size_bytes {
            return Err(LimitError::Size { limit: self.size_bytes });
        }
        if unpacked > HARMLESS_BYTES && unpacked > packed.saturating_mul(self.ratio) {
            return Err(LimitError::Ratio { limit: self.ratio });
        }
        Ok(())
    }
}

/// Reads what a decompressor makes, as long as it keeps to the limits.
pub(super) struct Limited<'a, R> {
    pub reader: R,
    pub limits: UnpackLimits,
    /// What the decompressor has read.
    pub packed: &'a AtomicU64,
    /// What it has made.
    pub unpacked: u64,
}

impl<R: Read> Read for Limited<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.unpacked += count as u64;
        self.limits.check(self.packed.load(Ordering::Relaxed), self.unpacked).map_err(io::Error::other)?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed() {
        let limits = UnpackLimits { size_bytes: 4 << 30, ratio: 100 };
        let ratio = Err(LimitError::Ratio { limit: 100 });
        let size = Err(LimitError::Size { limit: 4 << 30 });
        for (packed, unpacked, expected) in [
            (0, 0, Ok(())),
            (1, 1 << 30, Ok(())),
            (1, (1 << 30) + 1, ratio.clone()),
            (20 << 20, 2000 << 20, Ok(())),
            (20 << 20, (2000 << 20) + 1, ratio),
            (4 << 30, 4 << 30, Ok(())),
            (5 << 30, (4 << 30) + 1, size.clone()),
            (u64::MAX, u64::MAX, size),
        ] {
            assert_eq!(limits.check(packed, unpacked), expected, "{packed} {unpacked}");
        }
    }
}
