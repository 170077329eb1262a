//! The key exchange (RFC 4253, sections 7 and 8; RFC 8731): what both sides can do, and the secrets that they agree on.

use ring::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use ring::digest::{Context, SHA256};
use ring::rand::{SecureRandom, SystemRandom};

use super::cipher::{self, Cipher};
use super::keys::{self, Key};
use super::{SshError, message};
use crate::wire::{Reader, Writer};

/// The exchange itself, under both its names.
const EXCHANGES: [&str; 2] = ["curve25519-sha256", "curve25519-sha256@libssh.org"];
/// Packets are counted from 0 with each key, and nothing may be slipped in before the first.
const STRICT_SERVER: &str = "kex-strict-s-v00@openssh.com";
const STRICT_CLIENT: &str = "kex-strict-c-v00@openssh.com";
/// Named because a list must not be empty for some clients; the ciphers authenticate themselves.
const UNUSED_MACS: [&str; 2] = ["hmac-sha2-256-etm@openssh.com", "hmac-sha2-256"];

const COOKIE_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// Our KEXINIT.
pub fn init() -> Result<Vec<u8>, SshError> {
    let mut cookie = [0; COOKIE_BYTES];
    SystemRandom::new().fill(&mut cookie).map_err(|_| SshError::Random)?;
    let exchanges = [&EXCHANGES[..], &[STRICT_SERVER]].concat().join(",");
    let (ciphers, macs) = (cipher::NAMES.join(","), UNUSED_MACS.join(","));
    let lists: [&str; 10] = [&exchanges, keys::ALGORITHM, &ciphers, &ciphers, &macs, &macs, "none", "none", "", ""];
    let written =
        lists.iter().fold(Writer::message(message::KEXINIT).raw(&cookie), |written, list| written.string(list));
    Ok(written.boolean(false).u32(0).into_bytes())
}

/// What was agreed on from both KEXINITs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    /// The cipher of what the client sends.
    pub incoming: String,
    /// The cipher of what it gets.
    pub outgoing: String,
    /// Whether packets are counted from 0 with each key.
    pub strict: bool,
    /// Whether the client's next message was sent for an exchange that was not chosen.
    pub skip_next: bool,
}

impl Agreed {
    /// Chooses from the client's KEXINIT: of each list the first that we know as well.
    pub fn from_init(untrusted_init: &[u8]) -> Result<Self, SshError> {
        let mut reader = Reader::new(untrusted_init);
        reader.take(1 + COOKIE_BYTES)?;
        let mut lists = Vec::with_capacity(10);
        for _ in 0..10 {
            lists.push(reader.text()?);
        }
        let follows = reader.boolean()?;
        let choose = |index: usize, what: &'static str, ours: &[&str]| {
            let wanted: Vec<&str> = lists[index].split(',').collect();
            let found = wanted.iter().find(|name| ours.contains(name)).map(|name| (*name).to_owned());
            found.ok_or_else(|| SshError::NothingInCommon { what, theirs: lists[index].clone() })
        };
        let exchange = choose(0, "key exchange", &EXCHANGES)?;
        choose(1, "host key", &[keys::ALGORITHM])?;
        choose(6, "compression", &["none"])?;
        choose(7, "compression", &["none"])?;
        let guessed = |index: usize| lists[index].split(',').next().unwrap_or_default().to_owned();
        Ok(Self {
            incoming: choose(2, "cipher", &cipher::NAMES)?,
            outgoing: choose(3, "cipher", &cipher::NAMES)?,
            strict: lists[0].split(',').any(|name| name == STRICT_CLIENT),
            skip_next: follows && (guessed(0) != exchange || guessed(1) != keys::ALGORITHM),
        })
    }
}

/// The texts that both sides have seen, as far as the exchange is to prove.
#[derive(Debug, Clone, Copy)]
pub struct Transcript<'a> {
    /// The client's identification, without the line's end.
    pub client_id: &'a [u8],
    /// Ours.
    pub server_id: &'a [u8],
    /// The client's KEXINIT.
    pub client_init: &'a [u8],
    /// Ours.
    pub server_init: &'a [u8],
}

/// What both sides know after an exchange.
pub struct Secrets {
    shared: Vec<u8>,
    hash: [u8; HASH_BYTES],
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secrets")
    }
}

impl Secrets {
    /// Answers the client's half; returns the reply as well.
    pub fn agree(host: &Key, seen: Transcript<'_>, untrusted_init: &[u8]) -> Result<(Self, Vec<u8>), SshError> {
        let mut reader = Reader::new(untrusted_init);
        reader.byte()?;
        let theirs = reader.string()?;
        let private = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new()).map_err(|_| SshError::Random)?;
        let ours = private.compute_public_key().map_err(|_| SshError::Random)?;
        let shared = agree_ephemeral(private, &UnparsedPublicKey::new(&X25519, theirs), <[u8]>::to_vec)
            .map_err(|_| SshError::KeyExchange)?;
        let host_key = host.public();
        let text = Writer::default()
            .string(seen.client_id)
            .string(seen.server_id)
            .string(seen.client_init)
            .string(seen.server_init)
            .string(&host_key)
            .string(theirs)
            .string(ours.as_ref())
            .positive(&shared)
            .into_bytes();
        let hash = hash(&[&text]);
        let reply = Writer::message(message::KEX_ECDH_REPLY)
            .string(&host_key)
            .string(ours.as_ref())
            .string(host.sign(&hash))
            .into_bytes();
        Ok((Self { shared: Writer::default().positive(&shared).into_bytes(), hash }, reply))
    }

    /// The hash of the exchange; that of the first one names the session.
    #[must_use]
    pub fn hash(&self) -> [u8; HASH_BYTES] {
        self.hash
    }

    /// The cipher `name` for one direction, whose `nonce` and `key` the RFC derives by these letters.
    pub fn cipher(&self, name: &str, session: &[u8], nonce: u8, key: u8) -> Result<Cipher, SshError> {
        let derive = |what: char, size: usize| {
            let letter = if what == 'I' { nonce } else { key };
            let mut derived = hash(&[&self.shared, &self.hash, &[letter], session]).to_vec();
            while derived.len() < size {
                derived.extend(hash(&[&self.shared, &self.hash, &derived]));
            }
            derived.truncate(size);
            derived
        };
        Cipher::new(name, derive).ok_or(SshError::KeyExchange)
    }
}

fn hash(parts: &[&[u8]]) -> [u8; HASH_BYTES] {
    let mut context = Context::new(&SHA256);
    parts.iter().for_each(|part| context.update(part));
    let mut digest = [0; HASH_BYTES];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client_init(lists: [&str; 10], follows: bool) -> Vec<u8> {
        let start = Writer::message(message::KEXINIT).raw(&[0; COOKIE_BYTES]);
        lists.iter().fold(start, |written, list| written.string(list)).boolean(follows).u32(0).into_bytes()
    }

    #[test]
    fn the_first_that_both_know_is_chosen() {
        let gcm = "aes256-ctr,aes256-gcm@openssh.com";
        let lists = [
            "mlkem768x25519-sha256,curve25519-sha256,kex-strict-c-v00@openssh.com",
            "rsa-sha2-512,ssh-ed25519",
            gcm,
            "chacha20-poly1305@openssh.com",
            "",
            "",
            "none",
            "zlib,none",
            "",
            "",
        ];
        let agreed = Agreed::from_init(&client_init(lists, true)).unwrap();
        assert_eq!(
            agreed,
            Agreed {
                incoming: "aes256-gcm@openssh.com".into(),
                outgoing: "chacha20-poly1305@openssh.com".into(),
                strict: true,
                skip_next: true,
            }
        );
        assert!(!Agreed::from_init(&client_init(lists, false)).unwrap().skip_next);
        for (index, value) in [(0, "diffie-hellman-group14-sha256"), (1, "ssh-rsa"), (2, "aes256-ctr"), (6, "zlib")] {
            let mut other = lists;
            other[index] = value;
            let refused = Agreed::from_init(&client_init(other, false));
            assert!(matches!(refused, Err(SshError::NothingInCommon { .. })), "{index}");
        }
        assert!(matches!(Agreed::from_init(&[20; 30]), Err(SshError::Malformed)));
    }

    #[test]
    fn our_own_lists_agree_with_themselves() {
        assert!(Agreed::from_init(&init().unwrap()).is_ok());
    }
}
