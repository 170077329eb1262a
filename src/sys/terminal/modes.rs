//! Modes of a terminal by the numbers that ssh clients have for them (RFC 4254, section 8; RFC 8160). Pure.
//!
//! What a pseudo-terminal does not have is left out: parity and the size of characters, which the kernel fixes.

use rustix::termios::{InputModes, LocalModes, OutputModes, SpecialCodeIndex, Termios};

/// A character that is switched off.
const NO_CHARACTER: u32 = 255;
/// The same for the kernel.
const DISABLED: u8 = 0;

/// A mode's number and value.
pub type Mode = (u8, u32);

/// What a number is about.
#[derive(Debug, Clone, Copy)]
enum What {
    Character(SpecialCodeIndex),
    Input(InputModes),
    Local(LocalModes),
    Output(OutputModes),
    InputSpeed,
    OutputSpeed,
}

/// Numbers that are not here mean nothing to Linux.
const MODES: [(u8, What); 49] = [
    (1, What::Character(SpecialCodeIndex::VINTR)),
    (2, What::Character(SpecialCodeIndex::VQUIT)),
    (3, What::Character(SpecialCodeIndex::VERASE)),
    (4, What::Character(SpecialCodeIndex::VKILL)),
    (5, What::Character(SpecialCodeIndex::VEOF)),
    (6, What::Character(SpecialCodeIndex::VEOL)),
    (7, What::Character(SpecialCodeIndex::VEOL2)),
    (8, What::Character(SpecialCodeIndex::VSTART)),
    (9, What::Character(SpecialCodeIndex::VSTOP)),
    (10, What::Character(SpecialCodeIndex::VSUSP)),
    (12, What::Character(SpecialCodeIndex::VREPRINT)),
    (13, What::Character(SpecialCodeIndex::VWERASE)),
    (14, What::Character(SpecialCodeIndex::VLNEXT)),
    (16, What::Character(SpecialCodeIndex::VSWTC)),
    (18, What::Character(SpecialCodeIndex::VDISCARD)),
    (30, What::Input(InputModes::IGNPAR)),
    (31, What::Input(InputModes::PARMRK)),
    (32, What::Input(InputModes::INPCK)),
    (33, What::Input(InputModes::ISTRIP)),
    (34, What::Input(InputModes::INLCR)),
    (35, What::Input(InputModes::IGNCR)),
    (36, What::Input(InputModes::ICRNL)),
    (37, What::Input(InputModes::IUCLC)),
    (38, What::Input(InputModes::IXON)),
    (39, What::Input(InputModes::IXANY)),
    (40, What::Input(InputModes::IXOFF)),
    (41, What::Input(InputModes::IMAXBEL)),
    (42, What::Input(InputModes::IUTF8)),
    (50, What::Local(LocalModes::ISIG)),
    (51, What::Local(LocalModes::ICANON)),
    (52, What::Local(LocalModes::XCASE)),
    (53, What::Local(LocalModes::ECHO)),
    (54, What::Local(LocalModes::ECHOE)),
    (55, What::Local(LocalModes::ECHOK)),
    (56, What::Local(LocalModes::ECHONL)),
    (57, What::Local(LocalModes::NOFLSH)),
    (58, What::Local(LocalModes::TOSTOP)),
    (59, What::Local(LocalModes::IEXTEN)),
    (60, What::Local(LocalModes::ECHOCTL)),
    (61, What::Local(LocalModes::ECHOKE)),
    (62, What::Local(LocalModes::PENDIN)),
    (70, What::Output(OutputModes::OPOST)),
    (71, What::Output(OutputModes::OLCUC)),
    (72, What::Output(OutputModes::ONLCR)),
    (73, What::Output(OutputModes::OCRNL)),
    (74, What::Output(OutputModes::ONOCR)),
    (75, What::Output(OutputModes::ONLRET)),
    (128, What::InputSpeed),
    (129, What::OutputSpeed),
];

/// `before` with these modes. What means nothing, or cannot be, changes nothing.
pub(super) fn applied(before: &Termios, untrusted_modes: &[Mode]) -> Termios {
    let mut termios = before.clone();
    for (number, value) in untrusted_modes {
        let Some((_, what)) = MODES.iter().find(|(known, _)| known == number) else { continue };
        match *what {
            What::Character(index) => match u8::try_from(*value) {
                Ok(_) if *value == NO_CHARACTER => termios.special_codes[index] = DISABLED,
                Ok(character) => termios.special_codes[index] = character,
                Err(_) => {}
            },
            What::Input(flag) => termios.input_modes.set(flag, *value != 0),
            What::Local(flag) => termios.local_modes.set(flag, *value != 0),
            What::Output(flag) => termios.output_modes.set(flag, *value != 0),
            // Zero would hang the terminal up.
            What::InputSpeed if *value > 0 => drop(termios.set_input_speed(*value)),
            What::OutputSpeed if *value > 0 => drop(termios.set_output_speed(*value)),
            What::InputSpeed | What::OutputSpeed => {}
        }
    }
    termios
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terminal() -> Termios {
        let flags = rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY;
        rustix::termios::tcgetattr(rustix::pty::openpt(flags).unwrap()).unwrap()
    }

    #[test]
    fn modes_change_what_they_are_about() {
        let before = terminal();
        let after = applied(&before, &[(1, 20), (3, 8), (2, 255), (38, 0), (42, 1), (53, 0), (72, 0), (129, 9600)]);
        let code = |index| after.special_codes[index];
        assert_eq!([SpecialCodeIndex::VINTR, SpecialCodeIndex::VERASE, SpecialCodeIndex::VQUIT].map(code), [20, 8, 0]);
        assert!(before.input_modes.contains(InputModes::IXON) && !after.input_modes.contains(InputModes::IXON));
        assert!(after.input_modes.contains(InputModes::IUTF8) && !after.local_modes.contains(LocalModes::ECHO));
        assert!(!after.output_modes.contains(OutputModes::ONLCR));
        assert_eq!(after.output_speed(), 9600);
    }

    #[test]
    fn what_means_nothing_changes_nothing() {
        let before = terminal();
        let after = applied(&before, &[(0, 1), (1, 256), (11, 7), (91, 0), (128, 0), (129, 0), (159, u32::MAX)]);
        assert_eq!(format!("{after:?}"), format!("{before:?}"));
    }
}
