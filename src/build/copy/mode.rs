//! `--chmod`: octal or symbolic. Pure.

use serde::{Deserialize, Serialize};

/// What becomes of permission bits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModeChange {
    /// They are replaced.
    Set(u32),
    /// They are changed, clause by clause.
    Symbolic(Vec<Clause>),
}

/// One clause of a symbolic mode: `go-w`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clause {
    /// Whose bits: 0o700, 0o070 and 0o007 together.
    who: u32,
    /// `+`, `-` or `=`.
    operator: char,
    /// Read, write and execute for all three, and the special bits.
    bits: u32,
    /// `X`: execute where it is a directory or somebody can execute it.
    conditional: bool,
}

impl ModeChange {
    /// Reads `0755`, `u=rwX,go=rX`, `+x`. `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777).map(Self::Set);
        }
        text.split(',').map(parse_clauses).collect::<Option<Vec<_>>>().map(|all| Self::Symbolic(all.concat()))
    }

    /// The bits that a file with `mode` gets.
    #[must_use]
    pub fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        match self {
            Self::Set(mode) => *mode,
            Self::Symbolic(clauses) => clauses.iter().fold(mode & 0o7777, |mode, clause| {
                let execute = clause.conditional && (is_directory || mode & 0o111 != 0);
                let bits = clause.bits | if execute { 0o111 } else { 0 };
                let special = (if clause.who & 0o700 != 0 { 0o4000 } else { 0 })
                    | (if clause.who & 0o070 != 0 { 0o2000 } else { 0 })
                    | 0o1000;
                let bits = bits & (clause.who | special);
                match clause.operator {
                    '+' => mode | bits,
                    '-' => mode & !bits,
                    _ => (mode & !clause.who) | bits,
                }
            }),
        }
    }
}

/// `ug+r-w`: one list of whose bits, and one or more operations.
fn parse_clauses(text: &str) -> Option<Vec<Clause>> {
    let start = text.find(['+', '-', '='])?;
    let mut who = 0;
    for letter in text[..start].chars() {
        who |= match letter {
            'u' => 0o700,
            'g' => 0o070,
            'o' => 0o007,
            'a' => 0o777,
            _ => return None,
        };
    }
    let who = if who == 0 { 0o777 } else { who };
    let mut clauses: Vec<Clause> = Vec::new();
    for letter in text[start..].chars() {
        if matches!(letter, '+' | '-' | '=') {
            clauses.push(Clause { who, operator: letter, bits: 0, conditional: false });
            continue;
        }
        let clause = clauses.last_mut()?;
        match letter {
            'r' => clause.bits |= 0o444,
            'w' => clause.bits |= 0o222,
            'x' => clause.bits |= 0o111,
            'X' => clause.conditional = true,
            's' => clause.bits |= 0o6000,
            't' => clause.bits |= 0o1000,
            _ => return None,
        }
    }
    Some(clauses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        let table = [
            ("755", 0o600, false, 0o755),
            ("0644", 0o7777, true, 0o644),
            ("4755", 0, false, 0o4755),
            ("+x", 0o644, false, 0o755),
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u=rwX,go=rX", 0o700, false, 0o755),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("go-w,o=", 0o777, false, 0o750),
            ("a+r-w", 0o222, false, 0o444),
            ("u+s", 0o755, false, 0o4755),
            ("g+s", 0o755, true, 0o2755),
            ("+t", 0o777, true, 0o1777),
        ];
        for (text, before, is_directory, after) in table {
            assert_eq!(ModeChange::parse(text).unwrap().apply(before, is_directory), after, "{text}");
        }
        for bad in ["", "999", "77777", "x", "u", "z+x", "u+q", "u+x,", "-1x"] {
            assert_eq!(ModeChange::parse(bad), None, "{bad}");
        }
    }
}
