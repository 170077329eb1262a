//! Whom we believe: the host's certificate authorities, and those that belong to one registry.
//!
//! ```text
//! SSL_CERT_FILE, or the host's bundle       every server
//! ~/.config/containers/certs.d/HOST:PORT/   one registry: *.crt authorities, *.cert with *.key who we are
//! /etc/containers/certs.d/HOST:PORT/
//! /etc/docker/certs.d/HOST:PORT/
//! ```

use std::ffi::OsStr;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use super::error::Fault;
use crate::paths::{Paths, variable};

/// Where distributions keep their bundle; the first that exists counts.
pub const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",                // Debian, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",                  // Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",                            // openSUSE
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // RHEL without the link
    "/etc/ssl/cert.pem",                                 // older Alpine
];

/// Finds certificates; reads the host's bundle once, when the first encrypted connection needs it.
#[derive(Debug)]
pub(super) struct Certificates {
    bundle: Option<PathBuf>,
    directories: Vec<PathBuf>,
    host: OnceLock<Arc<Vec<Certificate<'static>>>>,
}

impl Certificates {
    pub fn new(paths: &Paths) -> Self {
        let named = variable("SSL_CERT_FILE").map(PathBuf::from).filter(|path| !path.as_os_str().is_empty());
        let containers = paths.config.parent().unwrap_or(Path::new("/")).join("containers/certs.d");
        Self {
            bundle: named.or_else(|| BUNDLES.iter().map(PathBuf::from).find(|path| path.exists())),
            directories: vec![containers, "/etc/containers/certs.d".into(), "/etc/docker/certs.d".into()],
            host: OnceLock::new(),
        }
    }

    /// How to connect to `authority`. `is_insecure`: to anybody who answers there.
    pub fn tls(&self, authority: &str, is_insecure: bool) -> Result<TlsConfig, Fault> {
        let mut roots = self.host()?.as_ref().clone();
        let mut client = None;
        for directory in &self.directories {
            let directory = directory.join(authority);
            let Ok(entries) = std::fs::read_dir(&directory) else { continue };
            let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
            files.sort();
            for file in files {
                match file.extension().and_then(OsStr::to_str) {
                    Some("crt") => roots.extend(load(&file)?),
                    Some("cert") if client.is_none() => {
                        let key = load_key(&file.with_extension("key"))?;
                        client = Some(ClientCert::new_with_certs(&load(&file)?, key));
                    }
                    _ => {}
                }
            }
        }
        // Without any bundle the compiled-in authorities are better than none.
        let roots = if roots.is_empty() { RootCerts::WebPki } else { RootCerts::new_with_certs(&roots) };
        Ok(TlsConfig::builder().root_certs(roots).client_cert(client).disable_verification(is_insecure).build())
    }

    fn host(&self) -> Result<&Arc<Vec<Certificate<'static>>>, Fault> {
        if let Some(known) = self.host.get() {
            return Ok(known);
        }
        let loaded = match &self.bundle {
            Some(bundle) => load(bundle)?,
            None => Vec::new(),
        };
        Ok(self.host.get_or_init(|| Arc::new(loaded)))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    std::fs::read(path).map_err(|source| Fault::Certificate { path: path.to_owned(), source })
}

/// All certificates of a PEM file; there must be one.
fn load(path: &Path) -> Result<Vec<Certificate<'static>>, Fault> {
    let pem = read(path)?;
    let found: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if found.is_empty() {
        let source = Error::new(ErrorKind::InvalidData, "it has no certificate in PEM form");
        return Err(Fault::Certificate { path: path.to_owned(), source });
    }
    Ok(found)
}

fn load_key(path: &Path) -> Result<PrivateKey<'static>, Fault> {
    PrivateKey::from_pem(&read(path)?)
        .map_err(|error| Fault::Certificate { path: path.to_owned(), source: error.into_io() })
}
