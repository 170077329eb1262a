//! Numbers and strings as SSH and SFTP write them (RFC 4251, section 5). Pure.

/// What was read is not what was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message ends too early")]
pub struct Truncated;

/// Reads values from the front of a message.
#[derive(Debug, Clone)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads `untrusted_message` from its beginning.
    #[must_use]
    pub fn new(untrusted_message: &'a [u8]) -> Self {
        Self(untrusted_message)
    }

    /// What has not been read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// The next `size` bytes.
    pub fn take(&mut self, size: usize) -> Result<&'a [u8], Truncated> {
        let (taken, rest) = self.0.split_at_checked(size).ok_or(Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    /// One byte.
    pub fn byte(&mut self) -> Result<u8, Truncated> {
        Ok(self.take(1)?[0])
    }

    /// A byte that is 0 or not.
    pub fn boolean(&mut self) -> Result<bool, Truncated> {
        Ok(self.byte()? != 0)
    }

    /// Four bytes, the highest first.
    pub fn u32(&mut self) -> Result<u32, Truncated> {
        Ok(self.take(4)?.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    /// Eight bytes, the highest first.
    pub fn u64(&mut self) -> Result<u64, Truncated> {
        Ok(self.take(8)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// A length and as many bytes.
    pub fn string(&mut self) -> Result<&'a [u8], Truncated> {
        let size = self.u32()?;
        self.take(size as usize)
    }

    /// A string that is text; what is not UTF-8 is replaced.
    pub fn text(&mut self) -> Result<String, Truncated> {
        Ok(String::from_utf8_lossy(self.string()?).into_owned())
    }
}

/// Writes a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// A message that begins with its number.
    #[must_use]
    pub fn message(number: u8) -> Self {
        Self(vec![number])
    }

    /// The message.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Bytes as they are.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// One byte.
    #[must_use]
    pub fn byte(self, byte: u8) -> Self {
        self.raw(&[byte])
    }

    /// 0 or 1.
    #[must_use]
    pub fn boolean(self, value: bool) -> Self {
        self.byte(u8::from(value))
    }

    /// Four bytes, the highest first.
    #[must_use]
    pub fn u32(self, number: u32) -> Self {
        self.raw(&number.to_be_bytes())
    }

    /// Eight bytes, the highest first.
    #[must_use]
    pub fn u64(self, number: u64) -> Self {
        self.raw(&number.to_be_bytes())
    }

    /// A length and the bytes. Messages are bounded far below what a length can say.
    #[must_use]
    pub fn string(self, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX)).raw(bytes)
    }

    /// A positive number of any length, its highest byte first: without leading zeros, but one where the sign would be.
    #[must_use]
    pub fn positive(self, bytes: &[u8]) -> Self {
        let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
        let bytes = &bytes[start..];
        if bytes.first().is_some_and(|first| first & 0x80 != 0) {
            let size = u32::try_from(bytes.len() + 1).unwrap_or(u32::MAX);
            return self.u32(size).byte(0).raw(bytes);
        }
        self.string(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_were_written() {
        let message =
            Writer::message(7).boolean(true).u32(0x0102_0304).u64(u64::MAX - 1).string("text").string("").into_bytes();
        let mut reader = Reader::new(&message);
        assert_eq!(reader.byte(), Ok(7));
        assert_eq!(reader.boolean(), Ok(true));
        assert_eq!(reader.u32(), Ok(0x0102_0304));
        assert_eq!(reader.u64(), Ok(u64::MAX - 1));
        assert_eq!(reader.text().as_deref(), Ok("text"));
        assert_eq!(reader.string(), Ok(&b""[..]));
        assert_eq!(reader.byte(), Err(Truncated));
    }

    #[test]
    fn a_length_beyond_the_end_is_refused() {
        for message in [&[0, 0, 0][..], &[0, 0, 0, 1], &[0xff, 0xff, 0xff, 0xff, 1]] {
            assert_eq!(Reader::new(message).string(), Err(Truncated), "{message:?}");
        }
    }

    #[test]
    fn positive_numbers_have_no_sign() {
        for (bytes, expected) in [
            (&[0, 0, 5][..], &[0, 0, 0, 1, 5][..]),
            (&[0x80], &[0, 0, 0, 2, 0, 0x80]),
            (&[0, 0x80], &[0, 0, 0, 2, 0, 0x80]),
            (&[], &[0, 0, 0, 0]),
        ] {
            assert_eq!(Writer::default().positive(bytes).into_bytes(), expected, "{bytes:?}");
        }
    }
}
