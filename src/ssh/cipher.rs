//! Packets on the wire (RFC 4253, section 6), sealed by one of the ciphers that authenticate as well.
//!
//! ```text
//! length (4) | padding length (1) | message | padding | tag (16)
//!   clear: no tag; aes-gcm: the length stays readable; chacha20-poly1305: the length is encrypted with a key of its own
//! ```

use ring::aead::chacha20_poly1305_openssh as chacha;
use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};

use super::SshError;

/// The names that are negotiated, the fastest first.
pub const NAMES: [&str; 3] = ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com"];

/// A packet is at most this long: what OpenSSH accepts itself.
pub const MAX_PACKET_BYTES: usize = 256 << 10;

const LENGTH_BYTES: usize = 4;
const TAG_BYTES: usize = 16;
const MIN_PADDING_BYTES: usize = 4;

/// The cipher of one direction, and the number of the next packet.
pub struct Cipher {
    kind: Kind,
    sequence: u32,
}

enum Kind {
    Clear,
    Gcm { key: Box<LessSafeKey>, nonce: [u8; aead::NONCE_LEN] },
    ChaCha { sealing: chacha::SealingKey, opening: chacha::OpeningKey },
}

impl std::fmt::Debug for Cipher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the keys.
        formatter.debug_struct("Cipher").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

impl Cipher {
    /// No cipher: before the first keys.
    #[must_use]
    pub fn clear() -> Self {
        Self { kind: Kind::Clear, sequence: 0 }
    }

    /// The cipher `name`, whose keys `derive` gives: of a letter (`I`: nonce, `K`: key) as many bytes as are asked for.
    /// `None` when there is no such cipher.
    #[must_use]
    pub fn new(name: &str, derive: impl Fn(char, usize) -> Vec<u8>) -> Option<Self> {
        let gcm = |algorithm: &'static aead::Algorithm| {
            let key = UnboundKey::new(algorithm, &derive('K', algorithm.key_len())).ok()?;
            let nonce = derive('I', aead::NONCE_LEN).try_into().ok()?;
            Some(Kind::Gcm { key: Box::new(LessSafeKey::new(key)), nonce })
        };
        let kind = match name {
            "aes128-gcm@openssh.com" => gcm(&aead::AES_128_GCM)?,
            "aes256-gcm@openssh.com" => gcm(&aead::AES_256_GCM)?,
            "chacha20-poly1305@openssh.com" => {
                let key: [u8; chacha::KEY_LEN] = derive('K', chacha::KEY_LEN).try_into().ok()?;
                Kind::ChaCha { sealing: chacha::SealingKey::new(&key), opening: chacha::OpeningKey::new(&key) }
            }
            _ => return None,
        };
        Some(Self { kind, sequence: 0 })
    }

    /// Goes on counting where `before` stopped, unless both sides count anew with each key (strict key exchange).
    pub fn count_on(&mut self, before: &Self) {
        self.sequence = before.sequence;
    }

    /// The number of the packet that was handled last.
    #[must_use]
    pub fn last_sequence(&self) -> u32 {
        self.sequence.wrapping_sub(1)
    }

    /// Appends the packet that carries `message` to `output`.
    pub fn seal(&mut self, message: &[u8], output: &mut Vec<u8>) -> Result<(), SshError> {
        let (block, counted) = match self.kind {
            Kind::Clear => (8, LENGTH_BYTES),
            Kind::Gcm { .. } => (16, 0),
            Kind::ChaCha { .. } => (8, 0),
        };
        let unpadded = counted + 1 + message.len();
        let mut padding = block - unpadded % block;
        if padding < MIN_PADDING_BYTES {
            padding += block;
        }
        let start = output.len();
        let length = u32::try_from(1 + message.len() + padding).map_err(|_| SshError::PacketLength)?;
        output.extend_from_slice(&length.to_be_bytes());
        // At most 19.
        output.push(u8::try_from(padding).unwrap_or(u8::MAX));
        output.extend_from_slice(message);
        // Nothing is learned from zeros: the ciphers are stream ciphers with a tag.
        output.resize(output.len() + padding, 0);
        let sequence = self.next_sequence()?;
        let packet = &mut output[start..];
        match &mut self.kind {
            Kind::Clear => {}
            Kind::Gcm { key, nonce } => {
                let (length, rest) = packet.split_at_mut(LENGTH_BYTES);
                let tag = key
                    .seal_in_place_separate_tag(next(nonce), Aad::from(&*length), rest)
                    .map_err(|_| SshError::PacketLength)?;
                output.extend_from_slice(tag.as_ref());
            }
            Kind::ChaCha { sealing, .. } => {
                let mut tag = [0; TAG_BYTES];
                sealing.seal_in_place(sequence, packet, &mut tag);
                output.extend_from_slice(&tag);
            }
        }
        Ok(())
    }

    /// How many bytes the packet at the start of `input` takes; `None` while that cannot be told.
    pub fn packet_size(&self, input: &[u8]) -> Result<Option<usize>, SshError> {
        let Some(length) = input.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let (length, tag) = match &self.kind {
            Kind::Clear => (*length, 0),
            Kind::Gcm { .. } => (*length, TAG_BYTES),
            Kind::ChaCha { opening, .. } => (opening.decrypt_packet_length(self.sequence, *length), TAG_BYTES),
        };
        let length = u32::from_be_bytes(length) as usize;
        if !(1 + MIN_PADDING_BYTES..=MAX_PACKET_BYTES).contains(&length) {
            return Err(SshError::PacketLength);
        }
        Ok(Some(LENGTH_BYTES + length + tag))
    }

    /// Opens the whole packet `packet` in place; returns its message, which is not empty.
    pub fn open<'a>(&mut self, packet: &'a mut [u8]) -> Result<&'a [u8], SshError> {
        let sequence = self.next_sequence()?;
        let plain: &[u8] = match &mut self.kind {
            Kind::Clear => packet.get(LENGTH_BYTES..).ok_or(SshError::PacketLength)?,
            Kind::Gcm { key, nonce } => {
                let (length, rest) = packet.split_at_mut_checked(LENGTH_BYTES).ok_or(SshError::PacketLength)?;
                key.open_in_place(next(nonce), Aad::from(&*length), rest).map_err(|_| SshError::Tampered)?
            }
            Kind::ChaCha { opening, .. } => {
                let end = packet.len().checked_sub(TAG_BYTES).ok_or(SshError::PacketLength)?;
                let (body, tag) = packet.split_at_mut(end);
                let tag: &[u8; TAG_BYTES] = (&*tag).try_into().map_err(|_| SshError::PacketLength)?;
                opening.open_in_place(sequence, body, tag).map_err(|_| SshError::Tampered)?
            }
        };
        let (padding, rest) = plain.split_first().ok_or(SshError::PacketLength)?;
        let end = rest.len().checked_sub(usize::from(*padding)).filter(|end| *end > 0);
        Ok(&rest[..end.ok_or(SshError::PacketLength)?])
    }

    /// A number that comes again under the same key would give away what both packets hold.
    fn next_sequence(&mut self) -> Result<u32, SshError> {
        let sequence = self.sequence;
        self.sequence = sequence.checked_add(1).ok_or(SshError::KeysWornOut)?;
        Ok(sequence)
    }
}

/// The nonce of this packet: four fixed bytes, and eight that count.
fn next(nonce: &mut [u8; aead::NONCE_LEN]) -> Nonce {
    let now = *nonce;
    for byte in nonce[4..].iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            break;
        }
    }
    Nonce::assume_unique_for_key(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str) -> (Cipher, Cipher) {
        let derive = |letter: char, size: usize| vec![letter as u8; size];
        let make = || if name == "clear" { Cipher::clear() } else { Cipher::new(name, derive).unwrap() };
        (make(), make())
    }

    #[test]
    fn what_is_sealed_can_be_opened() {
        for name in NAMES.into_iter().chain(["clear"]) {
            let (mut ours, mut theirs) = pair(name);
            for size in [1, 2, 11, 12, 200, 32_768] {
                let message: Vec<u8> = (0..size).map(|n| n as u8).collect();
                let mut wire = Vec::new();
                ours.seal(&message, &mut wire).unwrap();
                assert_eq!(theirs.packet_size(&wire[..3]).unwrap(), None, "{name}");
                assert_eq!(theirs.packet_size(&wire).unwrap(), Some(wire.len()), "{name} {size}");
                assert_eq!(theirs.open(&mut wire).unwrap(), &message[..], "{name} {size}");
            }
        }
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        for name in NAMES {
            for position in [0, 4, 20, 30] {
                let (mut ours, mut theirs) = pair(name);
                let mut wire = Vec::new();
                ours.seal(b"a message", &mut wire).unwrap();
                wire[position] ^= 1;
                assert!(matches!(theirs.open(&mut wire), Err(SshError::Tampered)), "{name} {position}");
            }
        }
    }

    #[test]
    fn absurd_lengths_are_refused() {
        let cipher = Cipher::clear();
        for wire in [[0, 0, 0, 0], [0, 0, 0, 4], [0, 4, 0, 1], [0xff; 4]] {
            assert!(matches!(cipher.packet_size(&wire), Err(SshError::PacketLength)), "{wire:?}");
        }
        // The padding is longer than the packet.
        assert!(matches!(Cipher::clear().open(&mut [0, 0, 0, 5, 200, 1, 1, 1, 1]), Err(SshError::PacketLength)));
        assert!(matches!(Cipher::clear().open(&mut [0, 0, 0, 5, 4, 1, 1, 1, 1]), Err(SshError::PacketLength)));
    }

    #[test]
    fn the_nonce_counts_over_all_its_bytes() {
        let mut nonce = [0xff; aead::NONCE_LEN];
        next(&mut nonce);
        assert_eq!(nonce, [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
}
