//! `devbox df`.

use crate::cli::args::Format;
use crate::cli::{Outcome, print, print_json};
use crate::paths::Paths;
use crate::profile::user;
use crate::ui;
use crate::upkeep::df::{Kind, Usage, df};
use crate::userns::mapper::Offer;

/// Shows what takes how much space in the data directory.
pub fn run(format: Format) -> Outcome {
    let paths = Paths::from_environment()?;
    let usage = df(&paths, &Offer::probe().map(0), user::load(&paths)?.build_cache)?;
    match format {
        Format::Json => print_json(&usage),
        Format::Text => print(&text(&usage)),
    }
}

fn text(usage: &Usage) -> String {
    let mut rows = vec![["WHAT", "COUNT", "SIZE", "RECLAIMABLE"].map(str::to_owned).to_vec()];
    for line in &usage.lines {
        rows.push(vec![
            word(line.kind).to_owned(),
            if line.kind == Kind::Records { String::new() } else { line.count.to_string() },
            ui::size(line.size_bytes),
            ui::size(line.reclaimable_bytes),
        ]);
    }
    rows.push(vec!["all".to_owned(), String::new(), ui::size(usage.size_bytes), ui::size(usage.reclaimable_bytes)]);
    ui::table(&rows)
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::ImageLayers => "image layers",
        Kind::Bases => "bases",
        Kind::Packages => "package layers",
        Kind::HostBase => "host base",
        Kind::Boxes => "boxes",
        Kind::BoxLayers => "snapshots",
        Kind::BuildCache => "build cache",
        Kind::Trash => "trash",
        Kind::Records => "records",
    }
}
