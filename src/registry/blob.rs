//! Downloading a blob as a stream that mends itself: when the connection breaks, it goes on where it was.

use std::io::{self, Read};

use ureq::BodyReader;
use ureq::http::Method;

use super::auth::Place;
use super::client::{Action, Call, Client, expect, failed};
use super::error::{Fault, RegistryError};
use super::retry::is_worth_another_try;
use super::transport::{Response, io_failed};
use crate::image::descriptor::Descriptor;
use crate::image::digest::Digest;
use crate::image::reference::Reference;

const OPERATION: &str = "fetch a layer of";

/// The bytes of a blob from [`start`](Self::start) to its end, which is where the descriptor says. Their digest is for
/// the reader to check. Errors hold a [`RegistryError`].
pub struct BlobReader<'a> {
    client: &'a Client,
    reference: Reference,
    place: Place,
    blob: Descriptor,
    start: u64,
    position: u64,
    body: Option<BodyReader<'static>>,
    /// Tries since the last byte.
    attempt: u32,
}

impl std::fmt::Debug for BlobReader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BlobReader({} at {})", self.blob.digest, self.position)
    }
}

impl Client {
    /// Opens a blob of the repository of `reference` at `offset`, from a mirror if there is one that has it.
    ///
    /// A registry may give the whole blob instead: [`BlobReader::start`] tells.
    pub fn blob(&self, reference: &Reference, blob: &Descriptor, offset: u64) -> Result<BlobReader<'_>, RegistryError> {
        // What is longer than the blob is not its beginning.
        let offset = if offset > blob.size { 0 } else { offset };
        let open = |place: &Place| {
            let (body, start) = self.open_blob(place, blob, offset)?;
            Ok((body, start, place.clone()))
        };
        let (body, start, place) = if offset == blob.size {
            (None, offset, Place::of(reference))
        } else {
            let opened = self.first_place(reference, open).map_err(failed(OPERATION, reference))?;
            (Some(opened.0), opened.1, opened.2)
        };
        let (reference, blob) = (reference.clone(), blob.clone());
        Ok(BlobReader { client: self, reference, place, blob, start, position: start, body, attempt: 0 })
    }

    /// Fetches a small blob whole and checks its digest. The descriptor's size was limited by the manifest's checks.
    pub fn blob_bytes(&self, reference: &Reference, blob: &Descriptor) -> Result<Vec<u8>, RegistryError> {
        let mut reader = self.blob(reference, blob, 0)?;
        let mut bytes = Vec::new();
        let host = reader.host();
        if let Err(source) = (&mut reader).take(blob.size).read_to_end(&mut bytes) {
            return match source.downcast::<RegistryError>() {
                Ok(error) => Err(error),
                Err(source) => Err(failed(OPERATION, reference)(io_failed(host, source))),
            };
        }
        let mut hasher = blob.digest.hasher();
        hasher.update(&bytes);
        let found: Digest = hasher.digest();
        if found != blob.digest {
            let expected = blob.digest.clone();
            return Err(failed(OPERATION, reference)(Fault::Digest { host, found, expected }));
        }
        Ok(bytes)
    }

    /// The body from `offset`, or from the beginning.
    fn open_blob(&self, place: &Place, blob: &Descriptor, offset: u64) -> Result<(BodyReader<'static>, u64), Fault> {
        let mut call = Call::new(Method::GET, format!("blobs/{}", blob.digest));
        if offset > 0 {
            call = call.header("range", format!("bytes={offset}-"));
        }
        let response = expect(self.call(place, Action::Pull, &call)?, &[200, 206])?;
        let start = check_length(&response, blob.size, offset)?;
        Ok((response.body.into_reader(), start))
    }
}

/// Where the body begins, if it has the rest of a blob of `size` bytes.
fn check_length(response: &Response, size: u64, offset: u64) -> Result<u64, Fault> {
    let wrong = |reason: String| Fault::Answer { host: response.url.authority.clone(), reason };
    let start = if response.status == 206 {
        let range = response.header("content-range").and_then(parse_content_range);
        match range {
            Some((first, total)) if first == offset && total.is_none_or(|total| total == size) => first,
            _ => return Err(wrong(format!("another range than from byte {offset} to the end of {size}"))),
        }
    } else {
        0
    };
    match response.body.content_length() {
        Some(length) if length != size - start => Err(wrong(format!("{length} bytes and not {}", size - start))),
        _ => Ok(start),
    }
}

/// `bytes 10-99/100`: the first byte, and how many there are in all.
fn parse_content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes")?.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    let total = match total.trim() {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    (first <= last && total.is_none_or(|total| last.checked_add(1) == Some(total))).then_some((first, total))
}

impl BlobReader<'_> {
    /// Where in the blob the first byte is that was read: the offset that was asked for, or 0.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// One read without mending.
    fn read_once(&mut self, buffer: &mut [u8]) -> Result<usize, Fault> {
        let left = self.blob.size - self.position;
        if self.body.is_none() && left == 0 {
            return Ok(0);
        }
        if self.body.is_none() {
            let (mut body, start) = self.client.open_blob(&self.place, &self.blob, self.position)?;
            let skipped = self.position - start;
            let copied = io::copy(&mut body.by_ref().take(skipped), &mut io::sink());
            if copied.map_err(|source| io_failed(self.host(), source))? < skipped {
                return Err(self.cut());
            }
            self.body = Some(body);
        }
        let host = self.host();
        let Some(body) = &mut self.body else { return Err(self.cut()) };
        if left == 0 {
            // What breaks now matters no more. Reading to the end gives the connection back, and tells whether it is the end.
            let count = body.read(&mut [0; 1]).unwrap_or(0);
            let reason = format!("more than the {} bytes of the layer", self.blob.size);
            return if count == 0 { Ok(0) } else { Err(Fault::Answer { host, reason }) };
        }
        let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        match body.read(&mut buffer[..wanted]) {
            Ok(0) => Err(self.cut()),
            Ok(count) => Ok(count),
            Err(source) => Err(io_failed(host, source)),
        }
    }

    fn host(&self) -> String {
        self.place.registry.clone()
    }

    fn cut(&self) -> Fault {
        let text = format!("it ended after {} of {} bytes", self.position, self.blob.size);
        Fault::Broken { host: self.host(), source: io::Error::new(io::ErrorKind::UnexpectedEof, text) }
    }
}

impl Read for BlobReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let fault = match self.read_once(buffer) {
                Ok(count) => {
                    self.position += count as u64;
                    self.attempt = 0;
                    return Ok(count);
                }
                Err(fault) => fault,
            };
            self.body = None;
            let pause = self.client.transport.retry.pause(self.attempt, None);
            match pause.filter(|_| is_worth_another_try(&fault)) {
                Some(pause) => self.client.transport.waiting.wait(&self.place.registry, pause),
                None => return Err(io::Error::other(failed(OPERATION, &self.reference)(fault))),
            }
            self.attempt += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        for (text, expected) in [
            ("bytes 10-99/100", Some((10, Some(100)))),
            ("bytes 0-0/*", Some((0, None))),
            ("bytes 10-98/100", None),
            ("bytes 10-9/100", None),
            ("bytes 0-0/0", None),
            ("bytes 0-18446744073709551615/0", None),
            ("bytes */100", None),
            ("items 0-1/2", None),
            ("bytes -1-1/2", None),
            ("", None),
        ] {
            assert_eq!(parse_content_range(text), expected, "{text}");
        }
    }
}
