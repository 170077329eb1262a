//! `devbox image logout`.

use super::login::registry_name;
use crate::cli::args::image::Logout as Args;
use crate::cli::{Outcome, print};
use crate::paths::Paths;
use crate::registry::credentials::Credentials;
use crate::text::sanitize;

/// Forgets a registry's login wherever devbox would find it.
pub fn run(args: &Args) -> Outcome {
    let paths = Paths::from_environment()?;
    let registry = registry_name(args.registry.as_deref())?;
    let places = Credentials::new(&paths).erase(&registry)?;
    if places.is_empty() {
        return print(&format!("not logged in to `{registry}`\n"));
    }
    let lines = places.iter().map(|place| format!("removed the login for `{registry}` from {}\n", sanitize(place)));
    print(&lines.collect::<String>())
}
