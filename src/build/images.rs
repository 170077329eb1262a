//! Where the images of `FROM` and `--from` come from.

use super::error::BuildError;
use super::stage::State;
use crate::image::platform::Platform;

/// Is told what is done, how much of it, and of how much.
pub type Report<'a> = dyn Fn(&str, u64, Option<u64>) + 'a;

/// Finds images, and fetches them where they are not here.
pub trait Images {
    /// The image `name` for `platform`, its layers unpacked, as a stage begins with it.
    fn find(&self, name: &str, platform: &Platform, report: &Report<'_>) -> Result<State, BuildError>;
}
