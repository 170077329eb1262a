//! `devbox image load`.

use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd;

use crate::cli::args::image::Load;
use crate::cli::{Outcome, print};
use crate::error::Error;
use crate::image::platform::Platform;
use crate::image::store::Store;
use crate::paths::Paths;
use crate::profile::registries;
use crate::transfer::TransferError;
use crate::transfer::load::{Bundle, LoadSpec, Naming, load};
use crate::ui;
use crate::userns::mapper::Offer;

/// Loads the images of a file, a directory or standard input; prints name and digest of each.
pub fn run(args: &Load) -> Outcome {
    let paths = Paths::from_environment()?;
    let settings = registries::load(&paths)?;
    let naming = match &args.tag {
        Some(name) => Naming::As(settings.reference(name)?),
        None => Naming::Own,
    };
    if matches!(&naming, Naming::As(name) if name.digest().is_some()) {
        return Err(Error::new("a name with a digest cannot be given: the digest is the image's own")
            .hint("write `repository:tag`"));
    }
    let platform = match &args.platform {
        Some(platform) => platform.parse()?,
        None => Platform::host(),
    };
    let store = Store::open(&paths.store())?;
    let file = args.file.as_deref().filter(|file| file.as_os_str() != "-");
    let shown = file.map_or_else(|| "standard input".into(), |file| file.display().to_string());
    let progress = ui::Terminal::default();
    let bundle = match file {
        Some(file) => Bundle::open(file, &store, settings.limits),
        None if std::io::stdin().is_terminal() => {
            return Err(Error::new("an archive cannot be typed").hint("name a file, or use a pipe"));
        }
        None => {
            let stdin = std::io::stdin().as_fd().try_clone_to_owned();
            stdin
                .map_err(|source| crate::transfer::load::LoadError::Read { source })
                .and_then(|stdin| Bundle::from_file(File::from(stdin), &store, settings.limits))
        }
    };
    let bundle = bundle.map_err(|source| TransferError::Load { shown: shown.clone(), source })?;
    let spec = LoadSpec { shown: &shown, platform: &platform, naming, limits: settings.limits };
    let records = load(&store, &Offer::probe().map(0), &bundle, &spec, &progress)?;
    let line = |name: &str, digest: &_| format!("{name} {digest}\n");
    print(&records.iter().map(|record| line(&record.name, &record.manifest.digest)).collect::<String>())
}
