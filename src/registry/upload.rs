//! Uploading a blob: mounted from another repository, in one piece, or in chunks.
//!
//! When a connection breaks in the middle of a chunk, the registry is asked how much of it has arrived. Not all know: the
//! one that most others are made from forgets an upload whose last chunk was cut, and then all is sent again.

use std::io::Read;

use ureq::http::Method;

use super::auth::Place;
use super::client::{Action, Call, Client, expect, failed};
use super::error::{Fault, RegistryError};
use super::retry::is_worth_another_try;
use super::transport::{Payload, Request, Response};
use super::url::Url;
use crate::image::descriptor::Descriptor;
use crate::image::digest::Digest;
use crate::image::reference::Reference;

const OPERATION: &str = "push a layer of";

/// Smaller blobs are not worth a request more.
const WHOLE_BYTES: u64 = 1 << 20;

/// Gives the bytes of a blob from an offset on, each time it is called: an upload may have to go back.
pub type Source<'a> = dyn FnMut(u64) -> std::io::Result<Box<dyn Read + 'a>> + 'a;

impl Client {
    /// Asks the registry to take the blob from another of its repositories. `false`: it must be uploaded.
    pub fn mount_blob(&self, reference: &Reference, from: &str, blob: &Digest) -> Result<bool, RegistryError> {
        let mount = || {
            let place = Place::of(reference);
            let mut call = Call::new(Method::POST, format!("blobs/uploads/?mount={blob}&from={from}"));
            call.scope = Some(Action::Pull.scope(from));
            let response = match self.call(&place, Action::Push, &call) {
                // A token server that does not allow to read the other repository allows nothing then.
                Err(Fault::LoginMissing { .. } | Fault::LoginRefused { .. }) => return Ok(false),
                other => other?,
            };
            match response.status.as_u16() {
                201 => Ok(true),
                // It has begun an upload instead, which ends by itself if it does not accept that it is cancelled.
                202 => {
                    let location = next_location(&response)?;
                    drop(self.call(&place, Action::Push, &Call::to(Method::DELETE, location)));
                    Ok(false)
                }
                400 | 404 | 405 | 401 | 403 => Ok(false),
                _ => expect(response, &[201]).map(|_| true),
            }
        };
        mount().map_err(failed("mount a layer in", reference))
    }

    /// Uploads a blob of known digest and size: in chunks, so that only what has not arrived is sent again when the
    /// connection breaks; in one piece if it is small, or if the registry refuses chunks.
    pub fn upload_blob(
        &self,
        reference: &Reference,
        blob: &Descriptor,
        source: &mut Source<'_>,
    ) -> Result<(), RegistryError> {
        let place = Place::of(reference);
        let mut in_chunks = blob.size > self.chunk_bytes.min(WHOLE_BYTES);
        let mut upload = Upload { client: self, place, blob, location: None, sent: 0, chunk_bytes: self.chunk_bytes };
        let mut attempt = 0;
        loop {
            let before = upload.sent;
            let sent = if in_chunks { upload.send_chunks(source) } else { upload.send_whole(source) };
            let fault = match sent {
                Ok(()) => return Ok(()),
                Err(fault) => fault,
            };
            if in_chunks && upload.sent == 0 && refuses_chunks(&fault) {
                in_chunks = false;
                continue;
            }
            let is_passing = matches!(fault, Fault::Status { status: 401 | 404 | 408 | 416 | 429 | 500..=504, .. });
            let pause = self.transport.retry.pause(attempt, None);
            match pause.filter(|_| is_passing || is_worth_another_try(&fault)) {
                Some(pause) => self.transport.waiting.wait(reference.registry(), pause),
                None => return Err(failed(OPERATION, reference)(fault)),
            }
            upload.find_place();
            attempt = if upload.sent > before { 0 } else { attempt + 1 };
            // All of it may have arrived, and only the answer not.
            if upload.location.is_none() && self.has_blob(reference, &blob.digest).unwrap_or(false) {
                return Ok(());
            }
        }
    }
}

/// Whether a registry that answers the first chunk so may take the whole.
fn refuses_chunks(fault: &Fault) -> bool {
    matches!(fault, Fault::Status { status: 400 | 404 | 405 | 411 | 413 | 415 | 416 | 501, .. })
}

/// A blob on its way. An upload that is left is forgotten by the registry after a while.
struct Upload<'a> {
    client: &'a Client,
    place: Place,
    blob: &'a Descriptor,
    /// Where it goes on; `None` before it has begun.
    location: Option<Url>,
    /// Bytes that the registry has.
    sent: u64,
    chunk_bytes: u64,
}

impl Upload<'_> {
    /// All of it at once, as the body of the request that ends the upload.
    fn send_whole(&mut self, source: &mut Source<'_>) -> Result<(), Fault> {
        let location = self.begin()?.with_query("digest", &self.blob.digest.to_string());
        let mut reader = open(source, 0)?;
        let response = self.send(Method::PUT, location, &mut reader, self.blob.size)?;
        check_digest(&expect(response, &[201])?, &self.blob.digest)
    }

    /// What the registry does not have yet, and the end.
    fn send_chunks(&mut self, source: &mut Source<'_>) -> Result<(), Fault> {
        let mut location = match &self.location {
            Some(location) => location.clone(),
            None => self.begin()?,
        };
        let mut reader = open(source, self.sent)?;
        while self.sent < self.blob.size {
            let end = self.blob.size.min(self.sent.saturating_add(self.chunk_bytes));
            let response = expect(self.send(Method::PATCH, location, &mut reader, end - self.sent)?, &[202])?;
            location = next_location(&response)?;
            (self.sent, self.location) = (end, Some(location.clone()));
        }
        let end = Call::to(Method::PUT, location.with_query("digest", &self.blob.digest.to_string())).bytes(b"");
        let response = expect(self.client.call(&self.place, Action::Push, &end)?, &[201])?;
        check_digest(&response, &self.blob.digest)
    }

    /// Begins an upload: where it goes on.
    fn begin(&mut self) -> Result<Url, Fault> {
        let call = Call::new(Method::POST, "blobs/uploads/".to_owned());
        let response = expect(self.client.call(&self.place, Action::Push, &call)?, &[202])?;
        let least = response.header("oci-chunk-min-length").and_then(|length| length.parse().ok());
        self.chunk_bytes = self.chunk_bytes.max(least.unwrap_or(0));
        let location = next_location(&response)?;
        self.location = Some(location.clone());
        Ok(location)
    }

    /// Sends `length` bytes. A stream, because it must not be repeated before it is known how much of it has arrived.
    fn send(
        &self,
        method: Method,
        url: Url,
        reader: &mut Reading<Box<dyn Read + '_>>,
        length: u64,
    ) -> Result<Response, Fault> {
        let scopes = vec![Action::Push.scope(&self.place.repository)];
        let is_chunk = method == Method::PATCH;
        let mut piece = reader.take(length);
        let mut request = Request::new(method, url)
            .header("content-type", "application/octet-stream")
            .payload(Payload::Stream(&mut piece, length));
        if is_chunk {
            request = request.header("content-range", format!("{}-{}", self.sent, self.sent + length - 1));
        }
        let sent = self.client.send(&self.place, &scopes, &mut request);
        match reader.failed.take() {
            Some(source) => Err(Fault::Source { source }),
            None => sent,
        }
    }

    /// After a failure: asks how much has arrived. If the registry does not tell, the upload begins again.
    fn find_place(&mut self) {
        let arrived = self.location.take().and_then(|location| self.ask(&location).ok().flatten());
        self.sent = 0;
        if let Some((location, arrived)) = arrived.filter(|(_, arrived)| *arrived <= self.blob.size) {
            (self.sent, self.location) = (arrived, Some(location));
        }
    }

    fn ask(&self, location: &Url) -> Result<Option<(Url, u64)>, Fault> {
        let call = Call::to(Method::GET, location.clone());
        let response = expect(self.client.call(&self.place, Action::Push, &call)?, &[204, 202, 200])?;
        let last = response.header("range").and_then(|range| range.rsplit_once('-')?.1.trim().parse::<u64>().ok());
        // Nothing at all is written as `0-0`, as is one byte; chunks are longer.
        let arrived = last.map(|last| if last > 0 { last + 1 } else { 0 });
        let location = next_location(&response).unwrap_or_else(|_| location.clone());
        Ok(arrived.map(|arrived| (location, arrived)))
    }
}

fn open<'a>(source: &mut Source<'a>, offset: u64) -> Result<Reading<Box<dyn Read + 'a>>, Fault> {
    let inner = source(offset).map_err(|source| Fault::Source { source })?;
    Ok(Reading { inner, failed: None })
}

/// Remembers why reading failed, which the transport reports as its own failure.
struct Reading<R> {
    inner: R,
    failed: Option<std::io::Error>,
}

impl<R: Read> Read for Reading<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.inner.read(buffer).inspect_err(|error| {
            let copy = error.raw_os_error().map_or_else(
                || std::io::Error::new(error.kind(), error.to_string()),
                std::io::Error::from_raw_os_error,
            );
            self.failed = Some(copy);
        })
    }
}

/// Where the upload goes on.
fn next_location(response: &Response) -> Result<Url, Fault> {
    let host = || response.url.authority.clone();
    let Some(location) = response.header("location") else {
        return Err(Fault::Answer { host: host(), reason: "an upload without a location".to_owned() });
    };
    response
        .url
        .join(location)
        .map_err(|reason| Fault::Answer { host: host(), reason: format!("its location: {reason}") })
}

fn check_digest(response: &Response, expected: &Digest) -> Result<(), Fault> {
    match response.header("docker-content-digest").and_then(|digest| digest.parse::<Digest>().ok()) {
        Some(found) if found.algorithm() == expected.algorithm() && found != *expected => {
            Err(Fault::Digest { host: response.url.authority.clone(), found, expected: expected.clone() })
        }
        _ => Ok(()),
    }
}
