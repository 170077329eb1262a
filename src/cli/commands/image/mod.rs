//! `devbox image`.

use std::path::Path;

use crate::cli::Outcome;
use crate::cli::args::Image;

mod login;
mod logout;

/// The sub-commands.
pub fn run(_folder: &Path, command: &Image) -> Outcome {
    match command {
        Image::Login(args) => login::run(args),
        Image::Logout(args) => logout::run(args),
    }
}
