//! What names a step, and everything that was done before it. Pure.

use serde::{Deserialize, Serialize};

use crate::build::copy::digest::field;
use crate::image::digest::Hasher;

/// Changes when a step with the same inputs would make something else than an earlier devbox made.
const VERSION: &str = "2";

/// Hexadecimal; two steps with one key make the same files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key(String);

impl Key {
    /// The key of a root that is named by `fields`: the layers of an image, or nothing.
    pub fn root(fields: &[&str]) -> Self {
        Self::of("root", fields)
    }

    /// The key of what follows this: an instruction and its inputs.
    pub fn then(&self, keyword: &str, fields: &[&str]) -> Self {
        Self::of(keyword, &[&[self.as_str()], fields].concat())
    }

    /// Its hexadecimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it can be one, wherever it came from: keys name files.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        self.0.len() == 64 && self.0.bytes().all(|byte| byte.is_ascii_hexdigit())
    }

    fn of(keyword: &str, fields: &[&str]) -> Self {
        let mut hasher = Hasher::default();
        for part in [VERSION, keyword].iter().chain(fields) {
            field(&mut hasher, part.as_bytes());
        }
        Self(hasher.hexadecimal())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_counts() {
        let root = Key::root(&["a"]);
        assert_eq!(root, Key::root(&["a"]));
        let keys = [
            root.clone(),
            Key::root(&["b"]),
            root.then("RUN", &["x", "y"]),
            root.then("RUN", &["xy"]),
            root.then("COPY", &["x", "y"]),
            root.then("RUN", &["x"]).then("RUN", &["y"]),
        ];
        let distinct: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
    }
}
