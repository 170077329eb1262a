//! Why a registry did not do what was asked of it.

use std::path::PathBuf;

use crate::image::digest::Digest;
use crate::process::ProcessError;

/// What was to be done, to what, and why it was not.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} `{subject}`")]
pub struct RegistryError {
    /// "fetch the manifest of", "log in to".
    pub operation: &'static str,
    /// The image or the registry.
    pub subject: String,
    /// Why.
    #[source]
    pub fault: Box<Fault>,
}

impl RegistryError {
    /// Whether the registry says that there is no such thing.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(*self.fault, Fault::Status { status: 404, .. })
    }
}

/// What went wrong. Texts of servers are free of control characters and short.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The server answered that it will not or cannot.
    #[error("`{host}` answered {status}{}", brackets(.reason))]
    Status {
        /// Who answered.
        host: String,
        /// The HTTP status.
        status: u16,
        /// In the server's words, or nothing.
        reason: String,
    },
    /// The server wants to know who asks.
    #[error("`{host}` wants a login{}", brackets(.reason))]
    LoginMissing {
        /// Who answered.
        host: String,
        /// In the server's words, or nothing.
        reason: String,
    },
    /// The server does not accept what it was told, or that user may not do this.
    #[error("`{host}` refuses the login of `{user}` from {from}{}", brackets(.reason))]
    LoginRefused {
        /// Who answered.
        host: String,
        /// The user; `<token>` for an identity token.
        user: String,
        /// Where the login was found.
        from: String,
        /// In the server's words, or nothing.
        reason: String,
    },
    /// There is no such host, or it does not accept connections.
    #[error("cannot reach `{host}`")]
    Unreachable {
        /// Whom.
        host: String,
        /// What the kernel or the resolver said.
        source: std::io::Error,
    },
    /// The connection ended too early.
    #[error("the connection to `{host}` broke")]
    Broken {
        /// Whose.
        host: String,
        /// How.
        source: std::io::Error,
    },
    /// Nothing came for too long.
    #[error("`{host}` did not answer in time ({phase})")]
    TimedOut {
        /// Who.
        host: String,
        /// What was waited for.
        phase: String,
    },
    /// No encrypted connection could be made.
    #[error("cannot trust the connection to `{host}`: {reason}")]
    Tls {
        /// With whom.
        host: String,
        /// Why.
        reason: String,
    },
    /// Certificates or keys of a registry that cannot be read.
    #[error("cannot read the certificate `{}`", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The server sends us to a place where we do not go.
    #[error("`{host}` redirects to `{to}`: {reason}")]
    Redirect {
        /// Who.
        host: String,
        /// Where to, without the path.
        to: String,
        /// Why not.
        reason: &'static str,
    },
    /// The server's answer is not what the protocol says.
    #[error("`{host}` gave an answer that makes no sense: {reason}")]
    Answer {
        /// Who.
        host: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What came is not what was asked for.
    #[error("what `{host}` gave has the digest {found} and not {expected}")]
    Digest {
        /// Who.
        host: String,
        /// What it has.
        found: Digest,
        /// What was asked for.
        expected: Digest,
    },
    /// What was to be uploaded could not be read.
    #[error("cannot read what is to be uploaded")]
    Source {
        /// Why.
        source: std::io::Error,
    },
    /// The `http_proxy` variables name no proxy.
    #[error("`{variable}` names no proxy that can be used")]
    Proxy {
        /// The variable.
        variable: &'static str,
    },
    /// The stored logins could not be used.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
}

/// Stored logins that could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The file could not be read or written.
    #[error("cannot {operation} `{}`", path.display())]
    File {
        /// "read", "write".
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The file is not what docker and podman write.
    #[error("`{}` is no file of logins", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The file has a login that cannot be decoded.
    #[error("the login for `{key}` in `{}` is not `user:password` in base64", path.display())]
    Login {
        /// The file.
        path: PathBuf,
        /// Whose.
        key: String,
    },
    /// The name of a credential helper is no part of a program's name.
    #[error("`{}` names the credential helper `{}`, which cannot be a program", path.display(), name.escape_debug())]
    HelperName {
        /// The file.
        path: PathBuf,
        /// As it stands there.
        name: String,
    },
    /// The credential helper is not installed.
    #[error("the credential helper `{program}`, which `{}` names, is not installed", path.display())]
    HelperMissing {
        /// The file.
        path: PathBuf,
        /// The program.
        program: String,
    },
    /// The credential helper failed.
    #[error("the credential helper failed{}", brackets(.said))]
    Helper {
        /// What it says on standard output, where helpers say it.
        said: String,
        /// How.
        source: ProcessError,
    },
    /// The credential helper could not be told what to do.
    #[error("cannot talk to the credential helper `{program}`")]
    HelperInput {
        /// The program.
        program: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The credential helper does not speak its protocol.
    #[error("the credential helper `{program}` did not answer in JSON")]
    HelperAnswer {
        /// The program.
        program: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A user name with a colon, or control characters.
    #[error("a user name cannot have a colon or control characters")]
    User,
}

/// ": text", or nothing.
fn brackets(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

/// A server's text, without what steers terminals, and of a length that can be read.
pub(super) fn clean(text: &str) -> String {
    const LONGEST: usize = 300;
    let clean = crate::text::sanitize(text.trim());
    match clean.char_indices().nth(LONGEST) {
        None => clean.into_owned(),
        Some((end, _)) => format!("{}...", &clean[..end]),
    }
}
