//! Paths in JSON: text where they are UTF-8, else `{"bytes": "<hexadecimal>"}`. Nothing is lost.
//!
//! For `#[serde(with = "path_text")]`.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::id::hexadecimal;

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Form {
    Text(String),
    Bytes { bytes: String },
}

/// Writes a path.
pub fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    match path.to_str() {
        Some(text) => serializer.serialize_str(text),
        None => Form::Bytes { bytes: hexadecimal(path.as_os_str().as_bytes()) }.serialize(serializer),
    }
}

/// Reads a path.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    match Form::deserialize(deserializer)? {
        Form::Text(text) => Ok(PathBuf::from(text)),
        Form::Bytes { bytes } => parse_hexadecimal(&bytes)
            .map(|bytes| PathBuf::from(OsString::from_vec(bytes)))
            .ok_or_else(|| serde::de::Error::custom("`bytes` is not hexadecimal")),
    }
}

fn parse_hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(pair[0])? * 16 + digit(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Holder(#[serde(with = "super")] PathBuf);

    #[test]
    fn every_path_survives() {
        for (bytes, json) in [
            (&b"/home/me"[..], "\"/home/me\""),
            (b"/tmp/\xff\n", "{\"bytes\":\"2f746d702fff0a\"}"),
            ("/größe".as_bytes(), "\"/größe\""),
        ] {
            let holder = Holder(PathBuf::from(OsString::from_vec(bytes.to_vec())));
            assert_eq!(serde_json::to_string(&holder).unwrap(), json);
            assert_eq!(serde_json::from_str::<Holder>(json).unwrap(), holder);
        }
        for bad in ["{\"bytes\":\"2\"}", "{\"bytes\":\"zz\"}", "1"] {
            assert!(serde_json::from_str::<Holder>(bad).is_err(), "{bad}");
        }
    }
}
