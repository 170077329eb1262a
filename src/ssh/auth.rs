//! Who the client is (RFC 4252). The pipe has said that already: nobody else can start this process. So `none` is
//! accepted, and for clients that insist on a key, the key of ours that they were told to use.

use super::keys::{self, Key};
use super::{SshError, message};
use crate::wire::{Reader, Writer};

const SERVICE: &[u8] = b"ssh-connection";

/// What a request for authentication leads to.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What is to be sent.
    pub answer: Vec<u8>,
    /// The name under which the client is in from here on.
    pub user: Option<String>,
}

/// Answers a USERAUTH_REQUEST in the session `session`.
pub fn judge(untrusted_request: &[u8], session: &[u8], client: &Key) -> Result<Verdict, SshError> {
    let mut reader = Reader::new(untrusted_request);
    reader.byte()?;
    let user = reader.text()?;
    let service = reader.string()?;
    let method = reader.string()?;
    let failure = || Verdict {
        answer: Writer::message(message::USERAUTH_FAILURE).string("publickey").boolean(false).into_bytes(),
        user: None,
    };
    let success = |user| Verdict { answer: vec![message::USERAUTH_SUCCESS], user: Some(user) };
    if service != SERVICE {
        return Ok(failure());
    }
    match method {
        b"none" => Ok(success(user)),
        b"publickey" => {
            let is_signed = reader.boolean()?;
            let (algorithm, key) = (reader.string()?, reader.string()?);
            if algorithm != keys::ALGORITHM.as_bytes() || key != client.public() {
                return Ok(failure());
            }
            if !is_signed {
                let answer = Writer::message(message::USERAUTH_PK_OK).string(algorithm).string(key).into_bytes();
                return Ok(Verdict { answer, user: None });
            }
            let signed = &untrusted_request[..untrusted_request.len() - reader.rest().len()];
            let data = Writer::default().string(session).raw(signed).into_bytes();
            Ok(if client.verifies(&data, reader.string()?) { success(user) } else { failure() })
        }
        _ => Ok(failure()),
    }
}
