//! `devbox gc`.

use crate::cli::args::Format;
use crate::cli::args::upkeep::GcArgs;
use crate::cli::{Outcome, print, print_json};
use crate::error::Error;
use crate::paths::Paths;
use crate::profile::user::{self, BuildCache};
use crate::text::sanitize;
use crate::ui;
use crate::upkeep::gc::{Kind, Options, Report, Scope, gc};
use crate::userns::mapper::Offer;

/// Removes what no image, box, snapshot or running session needs.
pub fn run(args: &GcArgs) -> Outcome {
    let paths = Paths::from_environment()?;
    let options = options(&paths, args)?;
    let report = gc(&paths, &Offer::probe().map(0), options, &ui::Terminal::default())?;
    if report.busy {
        ui::say("devbox: something is being pulled, built or installed: layers and blobs were left alone");
    }
    for name in &report.unreadable {
        ui::say(&format!(
            "devbox: nobody knows what `{}` needs: layers and blobs were left alone; `devbox check` says more",
            sanitize(name)
        ));
    }
    match args.format {
        Format::Json => print_json(&report),
        Format::Text => print(&text(&report, args.dry_run)),
    }
}

fn options(paths: &Paths, args: &GcArgs) -> Result<Options, Error> {
    let cache = match (args.older_than, args.larger_than) {
        _ if args.all => BuildCache::NOTHING,
        (None, None) if args.build_cache => BuildCache::NOTHING,
        _ if args.build_cache => BuildCache {
            max_age: args.older_than.unwrap_or(BuildCache::UNLIMITED.max_age),
            max_size_bytes: args.larger_than,
        },
        _ => user::load(paths)?.build_cache,
    };
    let scope = if args.build_cache { Scope::BuildCache } else { Scope::Everything };
    Ok(Options { dry_run: args.dry_run, scope, cache })
}

fn text(report: &Report, dry_run: bool) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    if dry_run {
        let row =
            |kind: Kind, name: &str, size| vec![word(kind).to_owned(), sanitize(name).into_owned(), ui::size(size)];
        rows.extend(report.items.iter().map(|item| row(item.kind, &item.name, item.size_bytes)));
    }
    let verb = if dry_run { "would free" } else { "freed" };
    let things = report.items.len();
    let things = if things == 1 { "1 thing".to_owned() } else { format!("{things} things") };
    format!("{}{verb} {}: {things}\n", ui::table(&rows), ui::size(report.size_bytes))
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Image => "image",
        Kind::Layer => "layer",
        Kind::BoxLayer => "box layer",
        Kind::Blob => "blob",
        Kind::Download => "download",
        Kind::BuildCache => "build cache",
        Kind::Trash => "trash",
    }
}
