//! A file from any server, for `ADD URL`: with the certificates, proxies and patience that registries have.

use std::fs::File;
use std::io;

use ureq::http::Method;

use super::client::{Client, expect, failed};
use super::error::{Fault, RegistryError};
use super::transport::Request;
use super::url::Url;

/// What a server says about a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Downloaded {
    /// `Last-Modified`, as it came.
    pub untrusted_modified: Option<String>,
    /// Bytes of the file.
    pub size_bytes: u64,
}

impl Client {
    /// Fetches what `url` (`http` or `https`) names into `file`. No login is sent.
    pub fn download(&self, url: &str, file: &mut File) -> Result<Downloaded, RegistryError> {
        let mut fetch = || {
            let parsed =
                Url::parse(url).map_err(|reason| Fault::Answer { host: url.to_owned(), reason: reason.into() })?;
            let host = parsed.authority.clone();
            let mut response = expect(self.transport.send(&mut Request::new(Method::GET, parsed))?, &[200])?;
            let untrusted_modified = response.header("last-modified").map(str::to_owned);
            let size_bytes =
                io::copy(&mut response.body.as_reader(), file).map_err(|source| Fault::Broken { host, source })?;
            Ok(Downloaded { untrusted_modified, size_bytes })
        };
        fetch().map_err(failed("download", url))
    }
}
