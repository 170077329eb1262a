//! `devbox image save`.

use std::io::{IsTerminal, Write};
use std::path::Path;

use crate::cli::Outcome;
use crate::cli::args::image::{Save, SaveFormat};
use crate::error::Error;
use crate::image::store::Store;
use crate::paths::Paths;
use crate::profile::registries;
use crate::progress::Progress;
use crate::registry::Client;
use crate::transfer::repack::with_archives;
use crate::transfer::save::{Output, save};
use crate::ui;
use crate::userns::mapper::Offer;

/// Writes an image into a file, which appears when it is complete.
pub fn run(folder: &Path, args: &Save) -> Outcome {
    let paths = Paths::from_environment()?;
    let store = Store::open(&paths.store())?;
    let _using = store.lock_shared()?;
    let (reference, record) = super::find(&paths, &store, &args.image)?;
    let progress = ui::Terminal::default();
    let client = Client::new(registries::load(&paths)?, &paths).with_notice(progress.notice());
    let map = Offer::probe().map(0);
    let record = with_archives(&store, &client, &map, &record, None, &progress)?;
    let write = |output: &mut Output<'_>| save(&store, &client, &record, &reference, output, &progress);
    let for_docker = args.format == SaveFormat::DockerArchive;
    let Some(target) = args.output.as_ref().map(|output| folder.join(output)) else {
        let mut stdout = std::io::stdout().lock();
        if args.format == SaveFormat::OciDir || stdout.is_terminal() {
            return Err(Error::new("an image is not for a terminal, nor a directory for a pipe")
                .hint("name a file or directory with `--output`"));
        }
        write(&mut Output::Archive { writer: &mut stdout, name: Path::new("standard output"), for_docker })?;
        return Ok(0);
    };
    let shown = |what: &str, error: &dyn std::error::Error| {
        Error::new(format!("cannot {what} `{}`: {error}", target.display()))
    };
    let parent = target.parent().unwrap_or(Path::new("/"));
    let scratch =
        tempfile::Builder::new().prefix(".devbox-save-").tempdir_in(parent).map_err(|error| shown("write", &error))?;
    let new = scratch.path().join("image");
    if args.format == SaveFormat::OciDir {
        write(&mut Output::Directory(&new))?;
    } else {
        let file = std::fs::File::create_new(&new).map_err(|error| shown("write", &error))?;
        let mut writer = std::io::BufWriter::new(&file);
        write(&mut Output::Archive { writer: &mut writer, name: &target, for_docker })?;
        writer.flush().and_then(|()| file.sync_all()).map_err(|error| shown("write", &error))?;
    }
    std::fs::rename(&new, &target).map_err(|error| shown("replace", &error))?;
    Ok(0)
}
