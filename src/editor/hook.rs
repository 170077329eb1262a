//! What a shell of the host runs when its folder changes: it offers the box, and starts nothing. Pure.

/// A shell of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the name of a program")]
pub enum HookShell {
    Bash,
    Zsh,
    Fish,
}

impl HookShell {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Bash, Self::Zsh, Self::Fish];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Zsh => "zsh",
            Self::Fish => "fish",
        }
    }
}

/// The text to evaluate in a start-up file.
#[must_use]
pub fn text(shell: HookShell) -> &'static str {
    match shell {
        HookShell::Bash => include_str!("hook/bash.sh"),
        HookShell::Zsh => include_str!("hook/zsh.zsh"),
        HookShell::Fish => include_str!("hook/fish.fish"),
    }
}
