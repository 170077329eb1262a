//! Programs that keep logins: `docker-credential-NAME get|store|erase`, with the server or the login on standard input.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::credentials::Login;
use super::error::{CredentialError, clean};
use crate::paths::variable;
use crate::process::Program;

/// Bytes of an answer.
const MAX_ANSWER_BYTES: u64 = 64 << 10;
/// What helpers need of the environment: their own files, the desktop's key ring, the agent of `pass`.
const VARIABLES: [&str; 14] = [
    "HOME",
    "PATH",
    "USER",
    "LOGNAME",
    "LANG",
    "TERM",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "DBUS_SESSION_BUS_ADDRESS",
    "GNUPGHOME",
    "PASSWORD_STORE_DIR",
];

/// What a helper gives and takes.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(rename = "ServerURL", default)]
    server: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// The login that the helper has for `server`, if it has one. `file` names the helper.
pub(super) fn get(file: &Path, name: &str, server: &str) -> Result<Option<Login>, CredentialError> {
    let program = find(file, name)?;
    let output = match call(&program, name, "get", server.as_bytes()) {
        Ok(output) => output,
        // "credentials not found in native keychain": the protocol has no other sign.
        Err(CredentialError::Helper { said, .. }) if said.contains("credentials not found") => return Ok(None),
        Err(error) => return Err(error),
    };
    let entry: Entry = serde_json::from_slice(&output)
        .map_err(|source| CredentialError::HelperAnswer { program: program_name(name), source })?;
    if entry.secret.is_empty() {
        return Ok(None);
    }
    let is_identity_token = entry.username == "<token>";
    let from = format!("the credential helper `{name}`");
    Ok(Some(Login { user: entry.username, secret: entry.secret, is_identity_token, from }))
}

/// Gives the helper a login to keep.
pub(super) fn store(file: &Path, name: &str, server: &str, user: &str, secret: &str) -> Result<(), CredentialError> {
    let program = find(file, name)?;
    let entry = Entry { server: server.to_owned(), username: user.to_owned(), secret: secret.to_owned() };
    let input = serde_json::to_vec(&entry)
        .map_err(|source| CredentialError::HelperInput { program: program_name(name), source: source.into() })?;
    call(&program, name, "store", &input).map(drop)
}

/// Tells the helper to forget.
pub(super) fn erase(file: &Path, name: &str, server: &str) -> Result<(), CredentialError> {
    call(&find(file, name)?, name, "erase", server.as_bytes()).map(drop)
}

fn program_name(name: &str) -> String {
    format!("docker-credential-{name}")
}

fn find(file: &Path, name: &str) -> Result<PathBuf, CredentialError> {
    let program = program_name(name);
    which::which(&program).map_err(|_| CredentialError::HelperMissing { path: file.to_owned(), program })
}

fn call(program: &Path, name: &str, verb: &str, input: &[u8]) -> Result<Vec<u8>, CredentialError> {
    let failed = |source| CredentialError::HelperInput { program: program_name(name), source };
    // A pipe has room for 64 KiB, so that nobody waits; logins and answers are far shorter.
    let (read, mut write) = std::io::pipe().map_err(failed)?;
    if input.len() > 32 << 10 {
        return Err(failed(std::io::Error::other("the login is too long")));
    }
    write.write_all(input).map_err(failed)?;
    drop(write);
    let (answer, answer_in) = std::io::pipe().map_err(failed)?;
    let mut helper = Program::new(program).arg(verb).stdin(read).stdout(answer_in);
    for name in VARIABLES {
        if let Some(value) = variable(name) {
            helper = helper.env(name, value);
        }
    }
    let result = helper.run();
    let mut output = Vec::new();
    answer.take(MAX_ANSWER_BYTES).read_to_end(&mut output).map_err(failed)?;
    match result {
        Ok(()) => Ok(output),
        Err(source) => Err(CredentialError::Helper { said: clean(&String::from_utf8_lossy(&output)), source }),
    }
}
