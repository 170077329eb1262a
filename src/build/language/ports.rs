//! The ports of an `EXPOSE`.

/// A word that names no ports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortsError {
    /// Neither a port nor a range.
    #[error("`{written}` is neither a port nor a range of ports")]
    Number {
        /// As it was written.
        written: String,
    },
    /// `9000-8000`
    #[error("the range `{written}` ends before it begins")]
    Range {
        /// As it was written.
        written: String,
    },
    /// `80/http`
    #[error("`{protocol}` is no protocol: `tcp`, `udp` and `sctp` are")]
    Protocol {
        /// As it was written.
        protocol: String,
    },
}

/// `80`, `80/udp` or `8000-8010/tcp` as an image's configuration has them: `80/tcp`, one entry for each port.
///
/// As docker, it takes `HOST:80` as well, and leaves out what is before the last colon.
pub fn parse_ports(text: &str) -> Result<Vec<String>, PortsError> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let ports = ports.rsplit_once(':').map_or(ports, |(_, ports)| ports);
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "" | "tcp" => "tcp",
        "udp" => "udp",
        "sctp" => "sctp",
        _ => return Err(PortsError::Protocol { protocol: protocol.to_owned() }),
    };
    let number = |digits: &str| {
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u16>().ok().filter(|_| is_number).ok_or_else(|| PortsError::Number { written: text.to_owned() })
    };
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (first, last) = (number(first)?, number(last)?);
    if last < first {
        return Err(PortsError::Range { written: text.to_owned() });
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ports() {
        for (text, expected) in [
            ("80", vec!["80/tcp"]),
            ("80/", vec!["80/tcp"]),
            ("53/UDP", vec!["53/udp"]),
            ("7000-7002/sctp", vec!["7000/sctp", "7001/sctp", "7002/sctp"]),
            ("7000-7000", vec!["7000/tcp"]),
            ("127.0.0.1:8080:80/tcp", vec!["80/tcp"]),
        ] {
            assert_eq!(parse_ports(text).expect(text), expected, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_port() {
        for (text, expected) in [
            ("", "`` is neither a port nor a range of ports"),
            ("http", "`http` is neither a port nor a range of ports"),
            ("65536", "`65536` is neither a port nor a range of ports"),
            ("+80", "`+80` is neither a port nor a range of ports"),
            ("1-2-3", "`1-2-3` is neither a port nor a range of ports"),
            ("90-80", "the range `90-80` ends before it begins"),
            ("80/http", "`http` is no protocol: `tcp`, `udp` and `sctp` are"),
        ] {
            assert_eq!(parse_ports(text).expect_err(text).to_string(), expected);
        }
    }
}
