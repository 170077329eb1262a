//! The key of the server and that of its clients: Ed25519, made once, in OpenSSH's own file format.
//!
//! Server and client are processes of the same user on both ends of a pipe, so neither proves anything that was not known.
//! They are there because clients want them.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair};

use super::SshError;
use crate::paths::{self, Paths};
use crate::wire::{Reader, Writer};

/// The name of the only algorithm.
pub const ALGORITHM: &str = "ssh-ed25519";

const MAGIC: &[u8] = b"openssh-key-v1\0";
const BEGIN: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
const END: &str = "-----END OPENSSH PRIVATE KEY-----";
const SEED_BYTES: usize = 32;

/// A private key.
#[derive(Debug)]
pub struct Key(Ed25519KeyPair);

impl Key {
    fn from_seed(seed: &[u8]) -> Option<Self> {
        Ed25519KeyPair::from_seed_unchecked(seed).ok().map(Self)
    }

    /// The public key as it goes over the wire.
    #[must_use]
    pub fn public(&self) -> Vec<u8> {
        Writer::default().string(ALGORITHM).string(self.0.public_key()).into_bytes()
    }

    /// The public key as a line of `known_hosts` has it.
    #[must_use]
    pub fn public_text(&self) -> String {
        format!("{ALGORITHM} {}", STANDARD.encode(self.public()))
    }

    /// The signature of `data` as it goes over the wire.
    #[must_use]
    pub fn sign(&self, data: &[u8]) -> Vec<u8> {
        Writer::default().string(ALGORITHM).string(self.0.sign(data)).into_bytes()
    }

    /// Whether `untrusted_signature` is this key's for `data`.
    #[must_use]
    pub fn verifies(&self, data: &[u8], untrusted_signature: &[u8]) -> bool {
        let mut reader = Reader::new(untrusted_signature);
        let (Ok(algorithm), Ok(signature)) = (reader.string(), reader.string()) else { return false };
        let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, self.0.public_key());
        algorithm == ALGORITHM.as_bytes() && key.verify(data, signature).is_ok()
    }
}

/// Where the keys lie.
#[derive(Debug, Clone)]
pub struct KeyFiles(PathBuf);

impl KeyFiles {
    /// Below the data directory.
    #[must_use]
    pub fn new(paths: &Paths) -> Self {
        Self(paths.data.join("ssh"))
    }

    /// The private key of the server.
    #[must_use]
    pub fn host(&self) -> PathBuf {
        self.0.join("host_ed25519")
    }

    /// The private key of clients.
    #[must_use]
    pub fn user(&self) -> PathBuf {
        self.0.join("id_ed25519")
    }

    /// What clients compare the server's key with.
    #[must_use]
    pub fn known_hosts(&self) -> PathBuf {
        self.0.join("known_hosts")
    }

    /// What `~/.ssh/config` includes.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.0.join("config")
    }

    /// Reads the keys of server and clients; makes what is missing.
    pub fn load(&self) -> Result<(Key, Key), SshError> {
        paths::create_private(&self.0)?;
        let host = load(&self.host())?;
        let user = load(&self.user())?;
        let public = self.0.join("id_ed25519.pub");
        write_if_changed(&public, &format!("{} devbox\n", user.public_text()), 0o644)?;
        write_if_changed(&self.known_hosts(), &format!("box.devbox {}\n", host.public_text()), 0o644)?;
        Ok((host, user))
    }
}

fn load(path: &Path) -> Result<Key, SshError> {
    let io = |operation: &'static str| {
        let path = path.to_owned();
        move |source| SshError::File { operation, path, source }
    };
    loop {
        match std::fs::read_to_string(path) {
            Ok(text) => return parse(&text).ok_or_else(|| SshError::Key { path: path.to_owned() }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(io("read")(error)),
        }
        let mut seed = [0; SEED_BYTES];
        SystemRandom::new().fill(&mut seed).map_err(|_| SshError::Random)?;
        let text = format(&seed).ok_or(SshError::Random)?;
        let directory = path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(directory).map_err(io("write"))?;
        file.write_all(text.as_bytes()).map_err(io("write"))?;
        file.as_file().sync_all().map_err(io("write"))?;
        // Somebody else may have made one meanwhile: then that is the key.
        match file.persist_noclobber(path) {
            Err(error) if error.error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(io("write")(error.error));
            }
            _ => {}
        }
    }
}

/// Replaces the file at `path` in one step, if it says something else.
pub(super) fn write_if_changed(path: &Path, text: &str, mode: u32) -> Result<(), SshError> {
    if std::fs::read(path).is_ok_and(|now| now == text.as_bytes()) {
        return Ok(());
    }
    let io = |source| SshError::File { operation: "write", path: path.to_owned(), source };
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new("."))).map_err(io)?;
    file.write_all(text.as_bytes()).map_err(io)?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(mode)).map_err(io)?;
    file.as_file().sync_all().map_err(io)?;
    file.persist(path).map(drop).map_err(|error| io(error.error))
}

/// The text of a private key file, as `ssh-keygen` writes it without a passphrase.
fn format(seed: &[u8; SEED_BYTES]) -> Option<String> {
    let key = Key::from_seed(seed)?;
    let public = key.0.public_key().as_ref().to_vec();
    let mut private = Writer::default()
        // Twice the same number: that is how a wrong passphrase would be noticed.
        .u32(0)
        .u32(0)
        .string(ALGORITHM)
        .string(&public)
        .string([&seed[..], &public[..]].concat())
        .string("devbox")
        .into_bytes();
    private.extend((1..=8).take((8 - private.len() % 8) % 8));
    let file = Writer::default()
        .raw(MAGIC)
        .string("none")
        .string("none")
        .string("")
        .u32(1)
        .string(key.public())
        .string(private)
        .into_bytes();
    let encoded = STANDARD.encode(file);
    let lines: Vec<&str> = (0..encoded.len()).step_by(70).map(|at| &encoded[at..encoded.len().min(at + 70)]).collect();
    Some(format!("{BEGIN}\n{}\n{END}\n", lines.join("\n")))
}

/// Reads what [`format`] wrote.
fn parse(text: &str) -> Option<Key> {
    let body = text.trim().strip_prefix(BEGIN)?.strip_suffix(END)?;
    let file = STANDARD.decode(body.split_whitespace().collect::<String>()).ok()?;
    let mut reader = Reader::new(file.strip_prefix(MAGIC)?);
    let protected = reader.string().ok()? != b"none";
    reader.string().ok()?;
    reader.string().ok()?;
    if protected || reader.u32().ok()? != 1 {
        return None;
    }
    reader.string().ok()?;
    let mut private = Reader::new(reader.string().ok()?);
    private.u64().ok()?;
    if private.string().ok()? != ALGORITHM.as_bytes() {
        return None;
    }
    private.string().ok()?;
    Key::from_seed(private.string().ok()?.get(..SEED_BYTES)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_from_its_file() {
        let text = format(&[7; SEED_BYTES]).unwrap();
        let key = parse(&text).unwrap();
        assert_eq!(key.public(), Key::from_seed(&[7; SEED_BYTES]).unwrap().public());
        assert!(text.lines().all(|line| line.len() <= 70));
        for broken in ["", BEGIN, &text[..200], &text.replace('\n', "")[40..]] {
            assert!(parse(broken).is_none(), "{broken}");
        }
    }

    #[test]
    fn keys_are_made_once_and_for_their_owner_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let files = KeyFiles(scratch.path().join("ssh"));
        let (host, user) = files.load().unwrap();
        let (again, _) = files.load().unwrap();
        assert_eq!(host.public(), again.public());
        assert_ne!(host.public(), user.public());
        for file in [files.host(), files.user()] {
            assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
        }
        let known = std::fs::read_to_string(files.known_hosts()).unwrap();
        assert_eq!(known, format!("box.devbox {}\n", host.public_text()));
        std::fs::write(files.host(), "nonsense").unwrap();
        assert!(matches!(files.load(), Err(SshError::Key { .. })));
    }

    #[test]
    fn signatures_are_checked() {
        let key = Key::from_seed(&[1; SEED_BYTES]).unwrap();
        let signature = key.sign(b"data");
        assert!(key.verifies(b"data", &signature));
        assert!(!key.verifies(b"other", &signature));
        assert!(!Key::from_seed(&[2; SEED_BYTES]).unwrap().verifies(b"data", &signature));
        assert!(!key.verifies(b"data", &signature[..20]));
    }
}
