//! SHA-256 as images write it: `sha256:<64 hexadecimal digits>`.

use std::fmt;
use std::io::{self, Read};

/// A digest being computed.
#[derive(Clone)]
pub struct Sha256(ring::digest::Context);

impl Default for Sha256 {
    fn default() -> Self {
        Self(ring::digest::Context::new(&ring::digest::SHA256))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sha256")
    }
}

impl Sha256 {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The 64 hexadecimal digits.
    #[must_use]
    pub fn hexadecimal(self) -> String {
        let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
        self.0.finish().as_ref().iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }

    /// `sha256:<hex>`.
    #[must_use]
    pub fn digest(self) -> String {
        format!("sha256:{}", self.hexadecimal())
    }
}

/// The hexadecimal digits for `bytes`.
#[must_use]
pub fn of_bytes(bytes: &[u8]) -> String {
    let mut digest = Sha256::default();
    digest.update(bytes);
    digest.hexadecimal()
}

/// The hexadecimal digits for all that `reader` gives; `advance` is told how many bytes that were so far.
pub fn of_reader(mut reader: impl Read, mut advance: impl FnMut(u64)) -> io::Result<String> {
    let mut digest = Sha256::default();
    let mut buffer = vec![0; 1 << 18];
    let mut total = 0;
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(digest.hexadecimal()),
            Ok(count) => {
                digest.update(&buffer[..count]);
                total += count as u64;
                advance(total);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answer() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(of_bytes(b""), empty);
        let mut last = 0;
        assert_eq!(of_reader(&b"abc"[..], |total| last = total).unwrap(), of_bytes(b"abc"));
        assert_eq!(last, 3);
        assert_eq!(Sha256::default().digest(), format!("sha256:{empty}"));
    }
}
