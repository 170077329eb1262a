//! The host's extra CA certificates in the box, so that programs work behind a proxy that inspects TLS.
//!
//! Three places, because each is read by somebody: the base's bundle (curl, git, cargo, go and whatever uses OpenSSL or
//! GnuTLS), the folder of local certificates (so that `update-ca-certificates` and its kin, also those of Java, keep
//! them when they rewrite the bundle), and environment variables (for programs that bring a bundle of their own).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Base, Generated, resolve};
pub use crate::registry::certificates::BUNDLES;

/// Folders of certificates that an administrator added, on hosts and in bases. The first is also the default.
pub const ANCHORS: [&str; 4] = [
    "/usr/local/share/ca-certificates",
    "/etc/pki/ca-trust/source/anchors",
    "/etc/ca-certificates/trust-source/anchors",
    "/etc/pki/trust/anchors",
];

/// Bases whose tool reads another folder than the default, told by the folder (its parent, where it starts empty).
const ANCHOR_OWNERS: [(&str, &str); 3] = [
    ("/etc/pki/ca-trust/source", ANCHORS[1]),
    ("/etc/ca-certificates/trust-source", ANCHORS[2]),
    ("/etc/pki/trust/anchors", ANCHORS[3]),
];

/// Variables that name a bundle. Each replaces what the program brings, so they point to the box's whole bundle.
///
/// curl, git and cargo look at the bundle by themselves and need none. Those here do not:
/// - `SSL_CERT_FILE`: OpenSSL built elsewhere (conda, pyenv, Homebrew), uv, rustls
/// - `PIP_CERT`: pip before 24.2 and pip on Python before 3.10 use their own certifi
/// - `REQUESTS_CA_BUNDLE`: Python's requests uses certifi
/// - `NODE_EXTRA_CA_CERTS`: node, npm and yarn have compiled-in roots; adds to them
const VARIABLES: [&str; 4] = ["SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"];

/// What the host trusts, as PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostTrust {
    /// The content of the first of [`BUNDLES`].
    pub bundle: Vec<u8>,
    /// The files of [`ANCHORS`], one after the other, each ended by a newline.
    pub anchors: Vec<u8>,
}

/// What a box gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// Files of the generated layer.
    pub files: Vec<Generated>,
    /// Variables of every session.
    pub environment: Vec<(String, String)>,
}

/// Compares the host with the base. Never drops a certificate of the base's own.
#[must_use]
pub fn trust(host: &HostTrust, base: &dyn Base) -> Trust {
    let anchors = certificates(&host.anchors);
    let mut all = certificates(&host.bundle);
    all.extend(anchors.iter().cloned());
    if all.is_empty() {
        return Trust::default();
    }
    let own = BUNDLES.iter().find_map(|path| {
        let resolved = resolve(base, Path::new(path))?;
        let untrusted_content = base.read(&resolved)?;
        Some((*path, resolved, untrusted_content))
    });
    let has_bundle = own.is_some();
    let Some((path, resolved, mut bundle)) =
        own.or_else(|| Some((BUNDLES[0], resolve(base, Path::new(BUNDLES[0]))?, Vec::new())))
    else {
        return Trust::default();
    };
    let extras = missing(&all, &certificates(&bundle));
    // Without a bundle (a minimal Debian) nobody can tell which of the host's are extra: the bundle becomes the host's,
    // and only what an administrator added is kept as local, for when `ca-certificates` is installed later.
    let local = if has_bundle { extras.clone() } else { missing(&anchors, &[]) };

    let mut trust = Trust::default();
    if !extras.is_empty() {
        for certificate in &extras {
            if !bundle.is_empty() && !bundle.ends_with(b"\n") {
                bundle.push(b'\n');
            }
            bundle.extend_from_slice(certificate.as_bytes());
        }
        trust.files.push(Generated::file(resolved, bundle));
    }
    trust.files.extend(local_files(&local, base));
    // On the host base nothing is missing, but programs with a bundle of their own still need to be told.
    if !extras.is_empty() || !anchors.is_empty() {
        trust.environment = VARIABLES.iter().map(|name| ((*name).to_owned(), path.to_owned())).collect();
    }
    trust
}

/// The base's bundle and what the host has besides, for somebody who can be told where it lies. `None` where the host
/// has nothing that the base lacks.
#[must_use]
pub fn bundle(host: &HostTrust, base: &dyn Base) -> Option<Vec<u8>> {
    let mut all = certificates(&host.bundle);
    all.extend(certificates(&host.anchors));
    let read = |path: &&str| base.read(&resolve(base, Path::new(path))?);
    let mut bundle = BUNDLES.iter().find_map(read).unwrap_or_default();
    let extras = missing(&all, &certificates(&bundle));
    if !bundle.is_empty() && !bundle.ends_with(b"\n") {
        bundle.push(b'\n');
    }
    bundle.extend_from_slice(extras.concat().as_bytes());
    (!extras.is_empty()).then_some(bundle)
}

/// One file for each: that is what `update-ca-certificates` asks for.
fn local_files(certificates: &[String], base: &dyn Base) -> Vec<Generated> {
    let folder =
        ANCHOR_OWNERS.iter().find(|(owner, _)| base.exists(Path::new(owner))).map_or(ANCHORS[0], |(_, folder)| folder);
    let Some(folder) = resolve(base, Path::new(folder)) else { return Vec::new() };
    let name = |index: usize| -> PathBuf { folder.join(format!("devbox-host-{}.crt", index + 1)) };
    certificates.iter().enumerate().map(|(index, text)| Generated::file(name(index), text.as_str())).collect()
}

/// The certificates of a PEM text in one normal form (lines of 64, a final newline), so that equal ones are equal texts.
/// Comments, keys and broken blocks are left out.
fn certificates(pem: &[u8]) -> Vec<String> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let text = String::from_utf8_lossy(pem);
    let mut found = Vec::new();
    for block in text.split(BEGIN).skip(1) {
        let Some((body, _)) = block.split_once(END) else { continue };
        let body: String = body.split_whitespace().collect();
        let base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
        if body.is_empty() || !body.bytes().all(base64) {
            continue;
        }
        let mut certificate = format!("{BEGIN}\n");
        let mut rest = body.as_str();
        while !rest.is_empty() {
            let (line, next) = rest.split_at(rest.len().min(64));
            certificate.push_str(line);
            certificate.push('\n');
            rest = next;
        }
        certificate.push_str(END);
        certificate.push('\n');
        found.push(certificate);
    }
    found
}

/// Those of `wanted` that `present` lacks, each once.
fn missing(wanted: &[String], present: &[String]) -> Vec<String> {
    let mut seen: BTreeSet<&String> = present.iter().collect();
    wanted.iter().filter(|certificate| seen.insert(certificate)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::Fake;
    use super::*;

    fn pem(body: &str) -> String {
        format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
    }

    fn host(bundle: &[&str], anchors: &[&str]) -> HostTrust {
        let text = |bodies: &[&str]| bodies.iter().map(|body| pem(body)).collect::<String>().into_bytes();
        HostTrust { bundle: text(bundle), anchors: text(anchors) }
    }

    fn paths(trust: &Trust) -> Vec<&str> {
        trust.files.iter().map(|file| file.path.to_str().unwrap()).collect()
    }

    #[test]
    fn extras_are_appended_to_the_base_and_kept_as_local() {
        let own = format!("# Root A\n{}", pem("AAAA").trim_end());
        let base = Fake::new(&[(BUNDLES[0], &own)]);
        let trust = trust(&host(&["AAAA", "CCCC"], &["CCCC"]), &base);
        assert_eq!(paths(&trust), [BUNDLES[0], "/usr/local/share/ca-certificates/devbox-host-1.crt"]);
        assert_eq!(trust.files[0].content, format!("{own}\n{}", pem("CCCC")).into_bytes());
        assert_eq!(trust.files[1].content, pem("CCCC").into_bytes());
        assert!(trust.environment.contains(&("NODE_EXTRA_CA_CERTS".to_owned(), BUNDLES[0].to_owned())));
    }

    #[test]
    fn nothing_without_extras() {
        let base = Fake::new(&[(BUNDLES[0], &(pem("AAAA") + &pem("BBBB")))]);
        assert_eq!(trust(&host(&["AAAA"], &[]), &base), Trust::default());
        assert_eq!(trust(&host(&[], &[]), &base), Trust::default());
        assert_eq!(trust(&host(&[], &[]), &Fake::default()), Trust::default());
        let same = trust(&host(&["AAAA"], &["BBBB"]), &base);
        assert!(same.files.is_empty() && same.environment.len() == VARIABLES.len());
    }

    #[test]
    fn a_linked_bundle_is_written_where_it_lies() {
        let extracted = "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem";
        let base = Fake::new(&[
            ("/etc/pki/tls/certs/ca-bundle.crt", &format!("->{extracted}")),
            (extracted, &pem("AAAA")),
            ("/etc/pki/ca-trust/source/README", ""),
        ]);
        let trust = trust(&host(&["CCCC"], &[]), &base);
        assert_eq!(paths(&trust), [extracted, "/etc/pki/ca-trust/source/anchors/devbox-host-1.crt"]);
        assert_eq!(trust.environment[0].1, "/etc/pki/tls/certs/ca-bundle.crt");
    }

    #[test]
    fn a_base_without_a_bundle_gets_the_hosts() {
        let trust = trust(&host(&["AAAA", "CCCC"], &["CCCC"]), &Fake::default());
        assert_eq!(paths(&trust), [BUNDLES[0], "/usr/local/share/ca-certificates/devbox-host-1.crt"]);
        assert_eq!(trust.files[0].content, (pem("AAAA") + &pem("CCCC")).into_bytes());
        assert_eq!(trust.files[1].content, pem("CCCC").into_bytes());
    }

    #[test]
    fn hostile_pem() {
        let table = [
            ("", 0),
            ("-----BEGIN CERTIFICATE-----\nAAAA", 0),
            ("-----BEGIN CERTIFICATE-----\n$(rm)\n-----END CERTIFICATE-----", 0),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", 0),
            ("-----BEGIN CERTIFICATE-----\r\nAA\r\nAA\r\n-----END CERTIFICATE-----", 1),
        ];
        for (text, count) in table {
            assert_eq!(certificates(text.as_bytes()).len(), count, "{text}");
        }
        assert_eq!(certificates(b"-----BEGIN CERTIFICATE-----AAAA-----END CERTIFICATE-----"), [pem("AAAA")]);
    }
}
