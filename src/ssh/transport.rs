//! The transport layer (RFC 4253): bytes in, messages out, and the other way round. No descriptors: whoever reads and
//! writes calls [`Transport::feed`] and [`Transport::output`].
//!
//! New keys are exchanged whenever the client asks, which OpenSSH does often enough. Messages that come up meanwhile
//! wait, for only those of the exchange may be sent then.

use super::cipher::Cipher;
use super::kex::{self, Agreed, Secrets, Transcript};
use super::keys::Key;
use super::{SshError, message};
use crate::wire::Writer;

/// What both sides say first. Clients look into it for what a server cannot do.
const SERVER_ID: &str = concat!("SSH-2.0-devbox_", env!("CARGO_PKG_VERSION"));
/// An identification, with its end.
const MAX_ID_BYTES: usize = 255;

/// The server's end of a connection.
#[derive(Debug)]
pub struct Transport {
    host: Key,
    input: Vec<u8>,
    /// How much of `input` has been handled.
    handled: usize,
    output: Vec<u8>,
    /// How much of `output` has been taken.
    taken: usize,
    client_id: Option<Vec<u8>>,
    session: Option<Vec<u8>>,
    strict: bool,
    incoming: Cipher,
    outgoing: Cipher,
    exchange: Option<Exchange>,
    waiting: Vec<Vec<u8>>,
}

/// An exchange of keys, from our KEXINIT to the client's NEWKEYS.
#[derive(Debug)]
struct Exchange {
    server_init: Vec<u8>,
    client: Option<(Vec<u8>, Agreed)>,
    skip_next: bool,
    incoming: Option<Cipher>,
}

impl Transport {
    /// Speaks first.
    pub fn new(host: Key) -> Result<Self, SshError> {
        let mut new = Self {
            host,
            input: Vec::new(),
            handled: 0,
            output: format!("{SERVER_ID}\r\n").into_bytes(),
            taken: 0,
            client_id: None,
            session: None,
            strict: false,
            incoming: Cipher::clear(),
            outgoing: Cipher::clear(),
            exchange: None,
            waiting: Vec::new(),
        };
        new.begin_exchange()?;
        Ok(new)
    }

    /// What names this session; empty before the first exchange.
    #[must_use]
    pub fn session(&self) -> &[u8] {
        self.session.as_deref().unwrap_or_default()
    }

    /// Whether only keys may be spoken of now.
    #[must_use]
    pub fn is_exchanging(&self) -> bool {
        self.exchange.is_some()
    }

    /// What is to be written to the client.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        &self.output[self.taken..]
    }

    /// `size` bytes of [`Transport::output`] have been written.
    pub fn written(&mut self, size: usize) {
        self.taken += size;
        if self.taken == self.output.len() {
            self.output.clear();
            self.taken = 0;
        }
    }

    /// Bytes came from the client. To be followed by [`Transport::next_message`] until that has nothing more.
    pub fn feed(&mut self, untrusted_bytes: &[u8]) {
        self.input.drain(..self.handled);
        self.handled = 0;
        self.input.extend_from_slice(untrusted_bytes);
    }

    /// Sends a message, or keeps it until the exchange of keys is over.
    pub fn send(&mut self, message: &[u8]) -> Result<(), SshError> {
        if self.exchange.is_some() {
            self.waiting.push(message.to_vec());
            return Ok(());
        }
        self.outgoing.seal(message, &mut self.output)
    }

    /// Answers a message that we do not know.
    pub fn send_unimplemented(&mut self) -> Result<(), SshError> {
        let answer = Writer::message(message::UNIMPLEMENTED).u32(self.incoming.last_sequence());
        self.send(&answer.into_bytes())
    }

    /// The next message for the layers above, never empty.
    pub fn next_message(&mut self) -> Result<Option<Vec<u8>>, SshError> {
        if self.client_id.is_none() && !self.read_id()? {
            return Ok(None);
        }
        loop {
            let rest = &mut self.input[self.handled..];
            let Some(size) = self.incoming.packet_size(rest)? else { return Ok(None) };
            let Some(packet) = rest.get_mut(..size) else { return Ok(None) };
            let message = self.incoming.open(packet)?.to_vec();
            self.handled += size;
            if let Some(message) = self.receive(message)? {
                return Ok(Some(message));
            }
        }
    }

    fn read_id(&mut self) -> Result<bool, SshError> {
        let Some(end) = self.input.iter().take(MAX_ID_BYTES).position(|byte| *byte == b'\n') else {
            return if self.input.len() < MAX_ID_BYTES { Ok(false) } else { Err(SshError::NotSsh) };
        };
        let line = &self.input[..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !line.starts_with(b"SSH-2.0-") {
            return Err(SshError::NotSsh);
        }
        self.client_id = Some(line.to_vec());
        self.handled = end + 1;
        Ok(true)
    }

    /// Handles what belongs to the transport; gives back everything else.
    fn receive(&mut self, untrusted: Vec<u8>) -> Result<Option<Vec<u8>>, SshError> {
        if let Some(exchange) = &mut self.exchange {
            if std::mem::take(&mut exchange.skip_next) {
                return Ok(None);
            }
            let of_exchange = matches!(untrusted[0], message::KEXINIT | message::NEWKEYS | message::KEX_ECDH_INIT);
            // Before our first keys nothing else may be there, and of the client nothing once it has begun.
            let begun = self.session.is_none() && self.strict || exchange.client.is_some() && untrusted[0] >= 50;
            if !of_exchange && begun {
                return Err(SshError::OutOfOrder { number: untrusted[0] });
            }
        }
        match untrusted[0] {
            message::DISCONNECT => Err(SshError::Disconnected),
            message::IGNORE | message::UNIMPLEMENTED | message::DEBUG | message::EXT_INFO => Ok(None),
            message::KEXINIT => self.on_init(untrusted).map(|()| None),
            message::KEX_ECDH_INIT => self.on_ecdh(&untrusted).map(|()| None),
            message::NEWKEYS => self.on_new_keys().map(|()| None),
            _ if self.session.is_none() => Err(SshError::OutOfOrder { number: untrusted[0] }),
            _ => Ok(Some(untrusted)),
        }
    }

    fn begin_exchange(&mut self) -> Result<(), SshError> {
        let server_init = kex::init()?;
        self.outgoing.seal(&server_init, &mut self.output)?;
        self.exchange = Some(Exchange { server_init, client: None, skip_next: false, incoming: None });
        Ok(())
    }

    fn on_init(&mut self, client_init: Vec<u8>) -> Result<(), SshError> {
        if self.exchange.is_none() {
            self.begin_exchange()?;
        }
        let agreed = Agreed::from_init(&client_init)?;
        let Some(exchange) = self.exchange.as_mut().filter(|exchange| exchange.client.is_none()) else {
            return Err(SshError::OutOfOrder { number: message::KEXINIT });
        };
        if self.session.is_none() {
            self.strict = agreed.strict;
        }
        exchange.skip_next = agreed.skip_next;
        exchange.client = Some((client_init, agreed));
        Ok(())
    }

    fn on_ecdh(&mut self, untrusted_init: &[u8]) -> Result<(), SshError> {
        let out_of_order = SshError::OutOfOrder { number: message::KEX_ECDH_INIT };
        let Some(exchange) = self.exchange.as_mut().filter(|exchange| exchange.incoming.is_none()) else {
            return Err(out_of_order);
        };
        let Some((client_init, agreed)) = &exchange.client else { return Err(out_of_order) };
        let seen = Transcript {
            client_id: self.client_id.as_deref().unwrap_or_default(),
            server_id: SERVER_ID.as_bytes(),
            client_init,
            server_init: &exchange.server_init,
        };
        let (secrets, reply) = Secrets::agree(&self.host, seen, untrusted_init)?;
        let session = self.session.get_or_insert_with(|| secrets.hash().to_vec());
        let mut outgoing = secrets.cipher(&agreed.outgoing, session, b'B', b'D')?;
        exchange.incoming = Some(secrets.cipher(&agreed.incoming, session, b'A', b'C')?);
        self.outgoing.seal(&reply, &mut self.output)?;
        self.outgoing.seal(&[message::NEWKEYS], &mut self.output)?;
        if !self.strict {
            outgoing.count_on(&self.outgoing);
        }
        self.outgoing = outgoing;
        Ok(())
    }

    fn on_new_keys(&mut self) -> Result<(), SshError> {
        let incoming = self.exchange.as_mut().and_then(|exchange| exchange.incoming.take());
        let mut incoming = incoming.ok_or(SshError::OutOfOrder { number: message::NEWKEYS })?;
        if !self.strict {
            incoming.count_on(&self.incoming);
        }
        self.incoming = incoming;
        self.exchange = None;
        for message in std::mem::take(&mut self.waiting) {
            self.send(&message)?;
        }
        Ok(())
    }
}
