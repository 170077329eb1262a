//! Digests as images write them: `sha256:<64 hexadecimal digits>`, and `sha512:` with 128.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// There is no colon.
    #[error("a digest has the form `sha256:<64 hexadecimal digits>`")]
    Form,
    /// It names another algorithm than the two of the specification.
    #[error("`{}` is no digest algorithm that is known here: `sha256` and `sha512` are", algorithm.escape_debug())]
    Algorithm {
        /// What stands before the colon, shortened.
        algorithm: String,
    },
    /// What follows the colon is too short, too long, or has other characters than `0-9a-f`.
    #[error("a {algorithm} digest has {expected} digits of `0-9a-f`")]
    Digits {
        /// The algorithm.
        algorithm: Algorithm,
        /// How many there should be.
        expected: usize,
    },
}

/// The algorithms that the image specification registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// `sha256`, which practically every image uses.
    Sha256,
    /// `sha512`.
    Sha512,
}

impl Algorithm {
    /// The name before the colon.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// How many hexadecimal digits follow the colon.
    fn digits(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A digest that was checked: a known algorithm, a colon, and as many lower-case digits as it has.
///
/// Its text is therefore safe in paths, in URLs and on terminals.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest {
    algorithm: Algorithm,
    hexadecimal: String,
}

impl Digest {
    /// The SHA-256 of `bytes`.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        hasher.digest()
    }

    /// What it was computed with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The digits alone.
    #[must_use]
    pub fn hexadecimal(&self) -> &str {
        &self.hexadecimal
    }

    /// The first twelve digits, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.hexadecimal[..12]
    }

    /// A file name: `sha256-<digits>`.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}-{}", self.algorithm, self.hexadecimal)
    }

    /// Computes a digest that can be compared with this one.
    #[must_use]
    pub fn hasher(&self) -> Hasher {
        Hasher::new(self.algorithm)
    }

    /// Whether `bytes` have this digest.
    #[must_use]
    pub fn matches(&self, bytes: &[u8]) -> bool {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        hasher.digest() == *self
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm, self.hexadecimal)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (algorithm, digits) = text.split_once(':').ok_or(DigestError::Form)?;
        let algorithm = match algorithm {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            other => return Err(DigestError::Algorithm { algorithm: other.chars().take(40).collect() }),
        };
        let expected = algorithm.digits();
        if digits.len() != expected || !digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(DigestError::Digits { algorithm, expected });
        }
        Ok(Self { algorithm, hexadecimal: digits.to_owned() })
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// A digest being computed; SHA-256 unless told otherwise.
#[derive(Clone)]
pub struct Hasher {
    algorithm: Algorithm,
    context: ring::digest::Context,
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new(Algorithm::Sha256)
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hasher({})", self.algorithm)
    }
}

impl Hasher {
    /// Begins.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        let implementation = match algorithm {
            Algorithm::Sha256 => &ring::digest::SHA256,
            Algorithm::Sha512 => &ring::digest::SHA512,
        };
        Self { algorithm, context: ring::digest::Context::new(implementation) }
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    /// The hexadecimal digits alone.
    #[must_use]
    pub fn hexadecimal(self) -> String {
        let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
        self.context.finish().as_ref().iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }

    /// The whole digest.
    #[must_use]
    pub fn digest(self) -> Digest {
        Digest { algorithm: self.algorithm, hexadecimal: self.hexadecimal() }
    }
}

/// The hexadecimal digits for `bytes`.
#[must_use]
pub fn of_bytes(bytes: &[u8]) -> String {
    let mut digest = Hasher::default();
    digest.update(bytes);
    digest.hexadecimal()
}

/// The hexadecimal digits for all that `reader` gives; `advance` is told how many bytes that were so far.
pub fn of_reader(mut reader: impl Read, mut advance: impl FnMut(u64)) -> io::Result<String> {
    let mut digest = Hasher::default();
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

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn known_answer() {
        assert_eq!(of_bytes(b""), EMPTY);
        let mut last = 0;
        assert_eq!(of_reader(&b"abc"[..], |total| last = total).unwrap(), of_bytes(b"abc"));
        assert_eq!(last, 3);
        assert_eq!(Hasher::default().digest().to_string(), format!("sha256:{EMPTY}"));
        let long = Hasher::new(Algorithm::Sha512).digest();
        assert!(long.to_string().starts_with("sha512:cf83e1357eefb8bdf1542850d66d8007"));
        assert_eq!(long.to_string().parse(), Ok(long.clone()));
        assert!(long.matches(b"") && !long.matches(b"x"));
    }

    #[test]
    fn only_digests_are_digests() {
        let digits = |expected, algorithm| DigestError::Digits { algorithm, expected };
        for (text, error) in [
            (EMPTY.to_owned(), DigestError::Form),
            (String::new(), DigestError::Form),
            (format!("md5:{EMPTY}"), DigestError::Algorithm { algorithm: "md5".to_owned() }),
            (format!("SHA256:{EMPTY}"), DigestError::Algorithm { algorithm: "SHA256".to_owned() }),
            (format!("sha256:{}", EMPTY.to_uppercase()), digits(64, Algorithm::Sha256)),
            (format!("sha256:{EMPTY}0"), digits(64, Algorithm::Sha256)),
            (format!("sha256:../{}", &EMPTY[3..]), digits(64, Algorithm::Sha256)),
            (format!("sha256:é{}", &EMPTY[2..]), digits(64, Algorithm::Sha256)),
            (format!("sha512:{EMPTY}"), digits(128, Algorithm::Sha512)),
            ("sha256:".to_owned(), digits(64, Algorithm::Sha256)),
        ] {
            assert_eq!(text.parse::<Digest>(), Err(error), "{text}");
        }
        let digest: Digest = serde_json::from_str(&format!("\"sha256:{EMPTY}\"")).unwrap();
        assert_eq!((digest.short(), digest.file_name()), ("e3b0c44298fc", format!("sha256-{EMPTY}")));
        assert!(serde_json::from_str::<Digest>("\"sha256:00\"").is_err());
    }
}
