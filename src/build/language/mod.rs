//! The language of Containerfiles, as Docker's reference documents it: read, checked, expanded and planned.
//!
//! Nothing here touches a file system, a clock or the environment. What comes in is hostile text.
//!
//! ```text
//! text --parse--> Containerfile --StageGraph--> the stages to build, in order
//!                   stages, steps, words --Scope--> expanded values
//! ```
//!
//! - Continuation lines become logical lines that remember where each byte stood. A [`Word`] is text as it was written,
//!   quotes and variables in it, with its place; [`Step::error`] points at it.
//! - Which words of an instruction are expanded stands at the fields of [`Instruction`]; [`Scope`] knows what
//!   variables hold, [`expand`] what the forms of substitution mean.
//! - [`IgnorePatterns`] reads ignore files.

mod containerfile;
mod duration;
pub mod expand;
mod flags;
mod glob;
mod heredoc;
mod ignore;
mod inputs;
mod instruction;
mod lines;
pub mod lint;
mod mount;
mod parse;
mod pattern;
mod ports;
mod scope;
mod stages;
mod statement;
mod suggest;
mod words;

pub use containerfile::{Containerfile, Directives, Escape, Source, Span, Stage, Step, Word};
pub use heredoc::Heredoc;
pub use ignore::{IgnorePatterns, Verdict};
pub use inputs::{Base, Named};
pub use instruction::{
    Add, Argument, Command, Copy, FileSource, Files, Healthcheck, Instruction, Network, Onbuild, Pair, Run, RunCommand,
    Security,
};
pub use mount::{Mount, MountFlag, MountOwner, Sharing};
pub use parse::{parse, parse_trigger};
pub use ports::{PortsError, parse_ports};
pub use scope::{Environment, Globals, PROXY_ARGUMENTS, Scope, platform_arguments};
pub use stages::{Origin, PlannedStage, StageGraph};

#[cfg(test)]
mod expand_tests;
#[cfg(test)]
mod mount_tests;
#[cfg(test)]
mod parse_tests;
#[cfg(test)]
mod scope_tests;
#[cfg(test)]
mod stages_tests;
