use super::*;

/// What comes out of a direction, read as it reads.
fn through(speaker: Speaker, mut said: &[u8]) -> Option<Vec<u8>> {
    let (mut direction, mut heard) = (Direction::new(speaker), Vec::new());
    while !said.is_empty() {
        let most = match direction.phase {
            Phase::Lines => 1,
            Phase::Header => HEADER - direction.held.len(),
            Phase::Body { left } => usize::try_from(left).ok()?,
        };
        let (now, later) = said.split_at(most.min(said.len()));
        direction.take(now)?;
        heard.append(&mut direction.ready);
        said = later;
    }
    Some(heard)
}

/// A message with 5 bytes of fields, which are padded, and a body of 3.
fn message() -> Vec<u8> {
    let mut message = vec![b'l', 1, 0, 1, 3, 0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0];
    message.extend_from_slice(b"field\0\0\0BEG");
    message
}

#[test]
fn only_the_uid_is_changed() {
    let program = Speaker::Program { uid: 1000 };
    for (said, heard) in [
        ("\0AUTH EXTERNAL 30\r\n", "\0AUTH EXTERNAL 31303030\r\n"),
        ("\0AUTH EXTERNAL\r\nDATA\r\n", "\0AUTH EXTERNAL\r\nDATA\r\n"),
        ("\0AUTH\r\n", "\0AUTH\r\n"),
        ("\0AUTH ANONYMOUS 30\r\nNEGOTIATE_UNIX_FD\r\n", "\0AUTH ANONYMOUS 30\r\nNEGOTIATE_UNIX_FD\r\n"),
        // What is not complete waits.
        ("\0AUTH EXTERNAL 30\r", "\0"),
    ] {
        assert_eq!(through(program, said.as_bytes()).unwrap(), heard.as_bytes(), "{said:?}");
    }
    assert_eq!(through(Speaker::Bus, b"AUTH EXTERNAL 30\r\n").unwrap(), b"AUTH EXTERNAL 30\r\n");
}

/// As programs of systemd begin.
#[test]
fn a_line_waits_for_the_answer_to_the_one_before() {
    use std::io::{Read, Write};
    let pair = || std::os::unix::net::UnixStream::pair().unwrap();
    let ((mut program, ours), (theirs, mut proxy)) = (pair(), pair());
    for end in [&ours, &theirs] {
        end.set_nonblocking(true).unwrap();
    }
    let mut connection = Connection {
        program: ours.into(),
        proxy: theirs.into(),
        to_proxy: Direction::new(Speaker::Program { uid: 1000 }),
        to_program: Direction::new(Speaker::Bus),
    };
    program.write_all(&[b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n".as_slice(), &message()].concat()).unwrap();
    let mut heard = [0; 100];
    for (said, answer) in [("\0AUTH EXTERNAL\r\n", "DATA\r\n"), ("DATA\r\n", "OK 12\r\n")] {
        connection.relay().unwrap();
        connection.relay().unwrap();
        let size = proxy.read(&mut heard).unwrap();
        assert_eq!(&heard[..size], said.as_bytes());
        proxy.write_all(answer.as_bytes()).unwrap();
        connection.relay().unwrap();
        let size = program.read(&mut heard).unwrap();
        assert_eq!(&heard[..size], answer.as_bytes());
    }
    connection.relay().unwrap();
    let rest = [b"BEGIN\r\n".as_slice(), &message()].concat();
    let size = proxy.read(&mut heard).unwrap();
    assert_eq!(&heard[..size], rest);
}

#[test]
fn messages_are_carried_as_they_are() {
    let program = Speaker::Program { uid: 7 };
    // Also when they follow at once, and hold what looks like a line.
    let said = [b"\0BEGIN\r\n".as_slice(), &message(), b"l\x01\0\x01", &[0; 12], &message()].concat();
    assert_eq!(through(program, &said).unwrap(), said);
    let said = [b"OK 1234\r\nAGREE_UNIX_FD\r\n".as_slice(), &message(), &message()].concat();
    assert_eq!(through(Speaker::Bus, &said).unwrap(), said);
}

#[test]
fn what_makes_no_sense_is_not_carried() {
    let program = Speaker::Program { uid: 7 };
    assert!(through(program, &vec![b'A'; MAX_LINE]).is_none());
    assert!(through(program, b"BEGIN\r\nAUTH EXTERNAL 30\r\n").is_none());
    for number in 0..2_usize {
        let mut message = message();
        message[4 + 8 * number..][..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(through(program, &[b"BEGIN\r\n".as_slice(), &message].concat()).is_none());
    }
}

/// A message with a descriptor behind one without: what reads whole messages must get it with the second.
#[test]
fn descriptors_stay_with_their_message() {
    let pair = || std::os::unix::net::UnixStream::pair().unwrap();
    let ((program, from), (to, proxy)) = (pair(), pair());
    for end in [&from, &to] {
        end.set_nonblocking(true).unwrap();
    }
    let mut direction = Direction { phase: Phase::Header, ..Direction::new(Speaker::Bus) };
    socket::send_with_descriptors(&program, &message(), &[]).unwrap();
    socket::send_with_descriptors(&program, &message(), &[program.as_fd(), proxy.as_fd()]).unwrap();
    direction.carry(from.as_fd(), to.as_fd()).unwrap();
    for expected in [0, 2] {
        let (mut buffer, mut descriptors) = (vec![0; message().len()], Vec::new());
        let mut size = 0;
        while size < buffer.len() {
            size += socket::receive_with_descriptors(&proxy, &mut buffer[size..], &mut descriptors).unwrap();
        }
        assert_eq!((buffer, descriptors.len()), (message(), expected));
    }
    drop(program);
    assert_eq!(direction.carry(from.as_fd(), to.as_fd()).unwrap_err().errno, Errno::PIPE);
}
