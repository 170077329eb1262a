//! Messages of the domain name system (RFC 1035), as far as a forwarder has to understand them. Pure; everything is
//! untrusted.
//!
//! Of a query the question is handed on, and nothing that may stand beside it: what a program could smuggle out there. Answers
//! are handed on as they are, with another id. Only what decides about them is read: the question, and the names and addresses of
//! an answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The largest answer over UDP to who does not say otherwise, in bytes.
pub const PLAIN_UDP: u16 = 512;
/// Of the header, in bytes.
const HEADER: usize = 12;
/// A compressed name has no more pointers: each leads further to the front.
const MAX_POINTERS: usize = 64;
/// The longest name, in bytes of the message.
const MAX_NAME: usize = 255;

/// Records with an address of version 4.
pub const TYPE_A: u16 = 1;
const TYPE_CNAME: u16 = 5;
/// And of version 6.
pub const TYPE_AAAA: u16 = 28;
const TYPE_OPT: u16 = 41;
const CLASS_IN: u16 = 1;

/// The second pair of bytes.
const RESPONSE: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const TRUNCATED: u16 = 0x0200;
const RECURSION_DESIRED: u16 = 0x0100;
const RECURSION_AVAILABLE: u16 = 0x0080;
const AUTHENTIC_DATA: u16 = 0x0020;
const CHECKING_DISABLED: u16 = 0x0010;

/// Of an `OPT` record, where others have their time: the asker wants signatures.
const WITH_SIGNATURES: u32 = 0x8000;

/// Why a question is answered without asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody could be asked.
    ServerFailure = 2,
    /// There is no such name, as far as the box is concerned.
    NameError = 3,
}

/// It is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Lower case, without a dot at the end; bytes that no host's name has are written as `\000`.
    pub name: String,
    /// Which records.
    pub kind: u16,
    /// Nearly always the internet's.
    pub class: u16,
}

/// A query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The asker's number for it.
    pub id: u16,
    /// The only one.
    pub question: Question,
    /// How large an answer may be over UDP, in bytes.
    pub udp_size: u16,
    /// It has an `OPT` record; whether that asks for signatures.
    extended: Option<bool>,
    /// Where the question ends, in bytes.
    end: usize,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The number of the query.
    pub id: u16,
    /// Of the query.
    pub question: Question,
    /// Whether there is more, over TCP.
    pub truncated: bool,
    /// What is known: aliases and addresses.
    pub records: Vec<Record>,
}

/// A record of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// As in [`Question`].
    pub name: String,
    /// How long it may be believed, in seconds.
    pub ttl: u32,
    /// What it says.
    pub data: Data,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// The name has this address.
    Address(IpAddr),
    /// The name is another name for this one.
    Alias(String),
}

/// A query of our own for the records of one kind, that asks the server to look further. `None`: that is no name.
#[must_use]
pub fn query(id: u16, name: &str, kind: u16) -> Option<Vec<u8>> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend(RECURSION_DESIRED.to_be_bytes());
    message.extend([0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.trim_end_matches('.').split('.') {
        message.push(u8::try_from(label.len()).ok().filter(|size| (1..64).contains(size))?);
        message.extend(label.as_bytes());
    }
    message.push(0);
    let fits = message.len() - HEADER <= MAX_NAME;
    message.extend(kind.to_be_bytes());
    message.extend(CLASS_IN.to_be_bytes());
    fits.then_some(message)
}

/// Reads a query: one question, nothing answered yet.
pub fn parse_query(bytes: &[u8]) -> Result<Query, Malformed> {
    let flags = number(bytes, 2)?;
    let counts = [number(bytes, 4)?, number(bytes, 6)?, number(bytes, 8)?];
    if flags & (RESPONSE | OPCODE | TRUNCATED) != 0 || counts != [1, 0, 0] {
        return Err(Malformed);
    }
    let (question, end) = question(bytes)?;
    let (mut udp_size, mut extended) = (PLAIN_UDP, None);
    let mut at = end;
    for _ in 0..number(bytes, 10)? {
        let record = raw_record(bytes, at)?;
        if record.kind == TYPE_OPT {
            udp_size = record.class.max(PLAIN_UDP);
            extended = Some(record.ttl & WITH_SIGNATURES != 0);
        }
        at = record.end;
    }
    Ok(Query { id: number(bytes, 0)?, question, udp_size, extended, end })
}

/// Reads an answer.
pub fn parse_answer(bytes: &[u8]) -> Result<Answer, Malformed> {
    let flags = number(bytes, 2)?;
    if flags & RESPONSE == 0 || flags & OPCODE != 0 || number(bytes, 4)? != 1 {
        return Err(Malformed);
    }
    let (question, mut at) = question(bytes)?;
    let mut records = Vec::new();
    for _ in 0..number(bytes, 6)? {
        let record = match raw_record(bytes, at) {
            Ok(record) => record,
            // What was cut off will be asked for over TCP.
            Err(Malformed) if flags & TRUNCATED != 0 => break,
            Err(Malformed) => return Err(Malformed),
        };
        let data = &bytes[record.data..record.end];
        let data = match (record.class, record.kind) {
            (CLASS_IN, TYPE_A) => {
                Some(Data::Address(Ipv4Addr::from(<[u8; 4]>::try_from(data).map_err(|_| Malformed)?).into()))
            }
            (CLASS_IN, TYPE_AAAA) => {
                Some(Data::Address(Ipv6Addr::from(<[u8; 16]>::try_from(data).map_err(|_| Malformed)?).into()))
            }
            (CLASS_IN, TYPE_CNAME) => match name(bytes, record.data, MAX_POINTERS)? {
                (alias, end) if end == record.end => Some(Data::Alias(alias)),
                _ => return Err(Malformed),
            },
            _ => None,
        };
        records.extend(data.map(|data| Record { name: record.name, ttl: record.ttl, data }));
        at = record.end;
    }
    Ok(Answer { id: number(bytes, 0)?, question, truncated: flags & TRUNCATED != 0, records })
}

impl Answer {
    /// The names that the question's name stands for, itself first, and the least time in seconds that each may be
    /// believed.
    #[must_use]
    pub fn chain(&self) -> Vec<(&str, u32)> {
        let mut chain = vec![(self.question.name.as_str(), u32::MAX)];
        let mut at = 0;
        while let Some((name, ttl)) = chain.get(at).copied() {
            for record in self.records.iter().filter(|record| record.name == name) {
                if let Data::Alias(alias) = &record.data
                    && !chain.iter().any(|(known, _)| known == alias)
                {
                    chain.push((alias, ttl.min(record.ttl)));
                }
            }
            at += 1;
        }
        chain
    }

    /// The addresses of the question's name, through its aliases, and how long in seconds each may be believed.
    #[must_use]
    pub fn addresses(&self) -> Vec<(IpAddr, u32)> {
        let chain = self.chain();
        self.records
            .iter()
            .filter_map(|record| match record.data {
                Data::Address(address) => {
                    let (_, ttl) = chain.iter().find(|(name, _)| *name == record.name)?;
                    Some((address, record.ttl.min(*ttl)))
                }
                Data::Alias(_) => None,
            })
            .collect()
    }
}

/// What is handed on of `query`, which was read from `bytes`.
#[must_use]
pub fn forwarded(query: &Query, bytes: &[u8]) -> Vec<u8> {
    let flags = number(bytes, 2).unwrap_or_default() & (RECURSION_DESIRED | AUTHENTIC_DATA | CHECKING_DISABLED);
    let mut message = query.id.to_be_bytes().to_vec();
    message.extend(flags.to_be_bytes());
    message.extend([0, 1, 0, 0, 0, 0, 0, query.extended.is_some().into()]);
    message.extend(bytes.get(HEADER..query.end).unwrap_or_default());
    if let Some(signatures) = query.extended {
        message.push(0);
        message.extend(TYPE_OPT.to_be_bytes());
        message.extend(query.udp_size.to_be_bytes());
        message.extend(if signatures { WITH_SIGNATURES } else { 0 }.to_be_bytes());
        message.extend([0, 0]);
    }
    message
}

/// Gives a message another id.
pub fn set_id(message: &mut [u8], id: u16) {
    if let Some(bytes) = message.get_mut(..2) {
        bytes.copy_from_slice(&id.to_be_bytes());
    }
}

/// An answer of our own to `query`, which was read from `bytes`: no records.
#[must_use]
pub fn refuse(query: &Query, bytes: &[u8], refusal: Refusal) -> Vec<u8> {
    answer_without_records(query, bytes, RECURSION_AVAILABLE | refusal as u16)
}

/// Tells the asker to come again over TCP.
#[must_use]
pub fn truncate(query: &Query, bytes: &[u8]) -> Vec<u8> {
    answer_without_records(query, bytes, RECURSION_AVAILABLE | TRUNCATED)
}

fn answer_without_records(query: &Query, bytes: &[u8], flags: u16) -> Vec<u8> {
    let asked = number(bytes, 2).unwrap_or_default() & (RECURSION_DESIRED | CHECKING_DISABLED);
    let mut answer = Vec::with_capacity(query.end);
    answer.extend(query.id.to_be_bytes());
    answer.extend((RESPONSE | asked | flags).to_be_bytes());
    answer.extend([0, 1, 0, 0, 0, 0, 0, 0]);
    answer.extend(bytes.get(HEADER..query.end).unwrap_or_default());
    answer
}

fn question(bytes: &[u8]) -> Result<(Question, usize), Malformed> {
    // There is nothing in front that a pointer could lead to, but for the header.
    let (name, at) = name(bytes, HEADER, 0)?;
    Ok((Question { name, kind: number(bytes, at)?, class: number(bytes, at + 2)? }, at + 4))
}

struct RawRecord {
    name: String,
    kind: u16,
    class: u16,
    ttl: u32,
    data: usize,
    end: usize,
}

fn raw_record(bytes: &[u8], at: usize) -> Result<RawRecord, Malformed> {
    let (name, at) = name(bytes, at, MAX_POINTERS)?;
    let ttl = (u32::from(number(bytes, at + 4)?) << 16) | u32::from(number(bytes, at + 6)?);
    let data = at + 10;
    let end = data + usize::from(number(bytes, at + 8)?);
    if end > bytes.len() {
        return Err(Malformed);
    }
    // A time with the highest bit set is none (RFC 2181).
    let ttl = if ttl > i32::MAX.cast_unsigned() { 0 } else { ttl };
    Ok(RawRecord { name, kind: number(bytes, at)?, class: number(bytes, at + 2)?, ttl, data, end })
}

/// The name at `at`, and where it ends there.
fn name(bytes: &[u8], mut at: usize, max_pointers: usize) -> Result<(String, usize), Malformed> {
    let mut text = String::new();
    let mut end = None;
    let (mut size, mut pointers) = (1, 0);
    loop {
        let length = usize::from(*bytes.get(at).ok_or(Malformed)?);
        match length {
            0 => return Ok((text, end.unwrap_or(at + 1))),
            1..=63 => {
                let label = bytes.get(at + 1..at + 1 + length).ok_or(Malformed)?;
                size += 1 + length;
                if size > MAX_NAME {
                    return Err(Malformed);
                }
                if !text.is_empty() {
                    text.push('.');
                }
                push_label(&mut text, label);
                at += 1 + length;
            }
            192.. => {
                let target = usize::from(number(bytes, at)? & 0x3fff);
                end.get_or_insert(at + 2);
                pointers += 1;
                if target >= at || pointers > max_pointers {
                    return Err(Malformed);
                }
                at = target;
            }
            _ => return Err(Malformed),
        }
    }
}

fn push_label(text: &mut String, label: &[u8]) {
    for byte in label {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => text.push(byte.to_ascii_lowercase().into()),
            other => text.push_str(&format!("\\{other:03}")),
        }
    }
}

fn number(bytes: &[u8], at: usize) -> Result<u16, Malformed> {
    bytes.get(at..at + 2).map(|two| u16::from_be_bytes([two[0], two[1]])).ok_or(Malformed)
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
