//! `devbox image pull`.

use crate::cli::args::image::Pull;
use crate::cli::{Outcome, print};
use crate::error::Error;
use crate::image::platform::Platform;
use crate::image::reference::Reference;
use crate::image::store::ImageRecord;
use crate::paths::Paths;
use crate::profile::registries;
use crate::progress::Progress;
use crate::registry::Client;
use crate::transfer;
use crate::ui;
use crate::userns::mapper::Offer;

/// Prints the digest.
pub fn run(args: &Pull) -> Outcome {
    let (reference, record) = fetch(args, &ui::Terminal::default())?;
    print(&format!("{}@{}\n", reference.name(), record.manifest.digest))
}

/// Fetches what the name stands for now.
pub fn fetch(args: &Pull, progress: &dyn Progress) -> Result<(Reference, ImageRecord), Error> {
    let paths = Paths::from_environment()?;
    let settings = registries::load(&paths)?;
    let reference = settings.reference(&args.image)?;
    let platform = match &args.platform {
        Some(platform) => platform.parse()?,
        None => Platform::host(),
    };
    let client = Client::new(settings, &paths).with_notice(progress.notice());
    let map = Offer::probe().map(0);
    let record = transfer::pull::pull(&paths, &map, &client, &reference, &platform, progress)?;
    Ok((reference, record))
}
