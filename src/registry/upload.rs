//! Uploading a blob: mounted from another repository, in one piece, or in pieces while it is being made.

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

/// Gives the bytes of a blob from their beginning, each time it is called: an upload may have to begin again.
pub type Source<'a> = dyn FnMut() -> std::io::Result<Box<dyn Read + 'a>> + 'a;

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
                    let location = location(&response)?;
                    drop(self.call(&place, Action::Push, &Call::to(Method::DELETE, location)));
                    Ok(false)
                }
                400 | 404 | 405 | 401 | 403 => Ok(false),
                _ => expect(response, &[201]).map(|_| true),
            }
        };
        mount().map_err(failed("mount a layer in", reference))
    }

    /// Uploads a blob of known digest and size in one piece, again from its beginning when the connection breaks.
    pub fn upload_blob(
        &self,
        reference: &Reference,
        blob: &Descriptor,
        source: &mut Source<'_>,
    ) -> Result<(), RegistryError> {
        let mut attempt = 0;
        loop {
            let fault = match self.upload_once(&Place::of(reference), blob, source) {
                Ok(()) => return Ok(()),
                Err(fault) => fault,
            };
            let is_passing = matches!(fault, Fault::Status { status: 401 | 404 | 408 | 429 | 500..=504, .. });
            let pause = self.transport.retry.pause(attempt, None);
            match pause.filter(|_| is_passing || is_worth_another_try(&fault)) {
                Some(pause) => self.transport.waiting.wait(reference.registry(), pause),
                None => return Err(failed(OPERATION, reference)(fault)),
            }
            attempt += 1;
        }
    }

    fn upload_once(&self, place: &Place, blob: &Descriptor, source: &mut Source<'_>) -> Result<(), Fault> {
        let mut reader = Reading { inner: source().map_err(|source| Fault::Source { source })?, failed: None };
        let location = self.start_upload(place)?.with_query("digest", &blob.digest.to_string());
        let mut request = Request::new(Method::PUT, location)
            .header("content-type", "application/octet-stream")
            .payload(Payload::Stream(&mut reader, blob.size));
        let sent = self.send(place, &vec![Action::Push.scope(&place.repository)], &mut request);
        if let Some(source) = reader.failed {
            return Err(Fault::Source { source });
        }
        let response = expect(sent?, &[201])?;
        check_digest(&response, &blob.digest)
    }

    /// Begins an upload of unknown size in pieces.
    pub fn begin_upload(&self, reference: &Reference) -> Result<Upload<'_>, RegistryError> {
        let place = Place::of(reference);
        let location = self.start_upload(&place).map_err(failed(OPERATION, reference))?;
        Ok(Upload { client: self, reference: reference.clone(), place, location, sent: 0 })
    }

    fn start_upload(&self, place: &Place) -> Result<Url, Fault> {
        let call = Call::new(Method::POST, "blobs/uploads/".to_owned());
        location(&expect(self.call(place, Action::Push, &call)?, &[202])?)
    }
}

/// An upload in pieces. One that is dropped is forgotten by the registry after a while.
#[derive(Debug)]
pub struct Upload<'a> {
    client: &'a Client,
    reference: Reference,
    place: Place,
    location: Url,
    sent: u64,
}

impl Upload<'_> {
    /// Bytes that the registry has.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Sends the next piece; some MiB each are a good size.
    pub fn send(&mut self, piece: &[u8]) -> Result<(), RegistryError> {
        self.send_piece(piece).map_err(failed(OPERATION, &self.reference))
    }

    fn send_piece(&mut self, piece: &[u8]) -> Result<(), Fault> {
        let end = self.sent + piece.len() as u64;
        let scopes = vec![Action::Push.scope(&self.place.repository)];
        let mut attempt = 0;
        while self.sent < end {
            let left = &piece[piece.len() - usize::try_from(end - self.sent).unwrap_or(0)..];
            // A stream, because a piece must not be repeated before it is known how much of it has arrived.
            let mut reader = left;
            let mut request = Request::new(Method::PATCH, self.location.clone())
                .header("content-type", "application/octet-stream")
                .header("content-range", format!("{}-{}", self.sent, end - 1))
                .payload(Payload::Stream(&mut reader, left.len() as u64));
            let sent = self.client.send(&self.place, &scopes, &mut request);
            let fault = match sent.and_then(|response| expect(response, &[202])) {
                Ok(response) => {
                    self.location = location(&response)?;
                    self.sent = end;
                    return Ok(());
                }
                Err(fault) => fault,
            };
            let is_passing = matches!(fault, Fault::Status { status: 401 | 408 | 416 | 429 | 500..=504, .. });
            let Some(pause) =
                self.client.transport.retry.pause(attempt, None).filter(|_| is_passing || is_worth_another_try(&fault))
            else {
                return Err(fault);
            };
            self.client.transport.waiting.wait(&self.place.registry, pause);
            attempt += 1;
            self.resume(end, fault)?;
        }
        Ok(())
    }

    /// Asks how much has arrived.
    fn resume(&mut self, end: u64, fault: Fault) -> Result<(), Fault> {
        let call = Call::to(Method::GET, self.location.clone());
        let response = expect(self.client.call(&self.place, Action::Push, &call)?, &[204, 202, 200])?;
        let range = response.header("range").and_then(|range| range.rsplit_once('-')?.1.trim().parse::<u64>().ok());
        // Nothing at all is written as `0-0`, as is one byte; pieces are longer.
        let arrived = range.filter(|last| *last > 0).map_or(0, |last| last + 1);
        if !(self.sent..=end).contains(&arrived) {
            return Err(fault);
        }
        self.location = location(&response).unwrap_or_else(|_| self.location.clone());
        self.sent = arrived;
        Ok(())
    }

    /// Ends the upload: everything that was sent is the blob `digest`.
    pub fn finish(self, digest: &Digest) -> Result<(), RegistryError> {
        let call = Call::to(Method::PUT, self.location.with_query("digest", &digest.to_string())).bytes(b"");
        let put = || {
            let response = expect(self.client.call(&self.place, Action::Push, &call)?, &[201])?;
            check_digest(&response, digest)
        };
        put().map_err(failed(OPERATION, &self.reference))
    }
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
fn location(response: &Response) -> Result<Url, Fault> {
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
