//! `devbox image pull`.

use crate::cli::args::image::Pull;
use crate::cli::{Outcome, print};
use crate::image::platform::Platform;
use crate::paths::Paths;
use crate::profile::registries;
use crate::progress::Progress;
use crate::registry::Client;
use crate::transfer;
use crate::ui;
use crate::userns::mapper::Offer;

/// Fetches what the name stands for now; prints the digest.
pub fn run(args: &Pull) -> Outcome {
    let paths = Paths::from_environment()?;
    let settings = registries::load(&paths)?;
    let reference = settings.reference(&args.image)?;
    let platform = match &args.platform {
        Some(platform) => platform.parse()?,
        None => Platform::host(),
    };
    let progress = ui::Terminal::default();
    let client = Client::new(settings, &paths).with_notice(progress.notice());
    let map = Offer::probe().map(0);
    let record = transfer::pull::pull(&paths, &map, &client, &reference, &platform, &progress)?;
    print(&format!("{}@{}\n", reference.name(), record.manifest.digest))
}
