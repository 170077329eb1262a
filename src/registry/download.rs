//! A file from any server, for `ADD URL`: with the certificates, proxies and patience that registries have.

use std::fs::File;
use std::io;

use serde::{Deserialize, Serialize};
use ureq::http::Method;

use super::client::{Client, expect, failed};
use super::error::{Fault, RegistryError};
use super::transport::{Request, Response};
use super::url::Url;

/// Longer names of a state are not remembered.
const MAX_LENGTH: usize = 1024;

/// What a server calls one state of a file: `ETag` and `Last-Modified`, as they came. Both may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// `ETag`.
    pub etag: Option<String>,
    /// `Last-Modified`.
    pub modified: Option<String>,
}

/// What came of asking for a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Downloaded {
    /// The file.
    Fresh(Condition),
    /// It is still what it was.
    Unchanged,
}

impl Client {
    /// Fetches what `url` (`http` or `https`) names into `file`, unless it is still in the state `known`. No login is sent.
    pub fn download(&self, url: &str, known: &Condition, file: &mut File) -> Result<Downloaded, RegistryError> {
        let mut fetch = || {
            let parsed =
                Url::parse(url).map_err(|reason| Fault::Answer { host: url.to_owned(), reason: reason.into() })?;
            let host = parsed.authority.clone();
            let mut request = Request::new(Method::GET, parsed);
            for (name, value) in [("if-none-match", &known.etag), ("if-modified-since", &known.modified)] {
                if let Some(value) = value {
                    request = request.header(name, value);
                }
            }
            let accepted: &[u16] = if *known == Condition::default() { &[200] } else { &[200, 304] };
            let mut response = expect(self.transport.send(&mut request)?, accepted)?;
            if response.status.as_u16() == 304 {
                return Ok(Downloaded::Unchanged);
            }
            let condition = Condition { etag: state(&response, "etag"), modified: state(&response, "last-modified") };
            io::copy(&mut response.body.as_reader(), file).map_err(|source| Fault::Broken { host, source })?;
            Ok(Downloaded::Fresh(condition))
        };
        fetch().map_err(failed("download", url))
    }
}

fn state(response: &Response, name: &str) -> Option<String> {
    response.header(name).filter(|text| text.len() <= MAX_LENGTH).map(str::to_owned)
}
