//! `devbox check`.

use crate::cli::args::Format;
use crate::cli::args::upkeep::CheckArgs;
use crate::cli::{Outcome, print, print_json};
use crate::error::FAILED;
use crate::paths::Paths;
use crate::text::sanitize;
use crate::ui;
use crate::upkeep::check::{Repair, Report, check};
use crate::userns::mapper::Offer;

/// Lists what is wrong; the status is 1 when some of it stays so.
pub fn run(args: &CheckArgs) -> Outcome {
    let paths = Paths::from_environment()?;
    let repair = if args.repair { Repair::Yes } else { Repair::No };
    let map = Offer::probe().map(0);
    let progress = ui::Terminal::default();
    let report = check(&paths, &map, repair, &progress)?;
    if args.repair {
        crate::boxes::remove::empty_trash(&paths, &map, &progress)?;
    }
    match args.format {
        Format::Json => print_json(&report)?,
        Format::Text => print(&text(&report, args.repair))?,
    };
    Ok(if report.findings.iter().all(|finding| finding.repaired) { 0 } else { FAILED })
}

fn text(report: &Report, repair: bool) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let mended = if finding.repaired { " (repaired)" } else { "" };
        text += &format!("{}: {}{mended}\n", sanitize(&finding.subject), sanitize(&finding.fact));
    }
    text += &format!(
        "{} images, {} blobs, {} layers, {} boxes: {} problems\n",
        report.images,
        report.blobs,
        report.layers,
        report.boxes,
        report.findings.len()
    );
    if report.sealed > 0 {
        text += &format!("{} layers were read for the first time; later checks compare with that\n", report.sealed);
    }
    if !repair && !report.findings.is_empty() {
        text += "`devbox check --repair` removes what is broken and can be had again\n";
    }
    text
}
