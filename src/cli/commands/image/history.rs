//! `devbox image history`.

use serde::Serialize;

use crate::cli::args::Format;
use crate::cli::args::image::History;
use crate::cli::{Outcome, print, print_json};
use crate::image::store::Store;
use crate::paths::Paths;
use crate::text::sanitize;
use crate::ui;

#[derive(Serialize)]
struct Step {
    created: String,
    created_by: String,
    comment: String,
    /// Of the archive; none for a step that changed no file.
    size_bytes: Option<u64>,
}

/// Prints the steps of an image, the newest first.
pub fn run(args: &History) -> Outcome {
    let paths = Paths::from_environment()?;
    let store = Store::open(&paths.store())?;
    let (_, record) = super::find(&paths, &store, &args.image)?;
    let (manifest, config, _) = super::contents(&store, &record)?;
    let mut layers = manifest.layers.iter();
    let mut steps: Vec<Step> = config
        .history
        .iter()
        .map(|step| Step {
            created: step.created.clone().unwrap_or_default(),
            created_by: step.created_by.clone().unwrap_or_default(),
            comment: step.comment.clone().unwrap_or_default(),
            size_bytes: if step.empty_layer { None } else { layers.next().map(|layer| layer.size) },
        })
        .collect();
    steps.reverse();
    if args.format == Format::Json {
        return print_json(&steps);
    }
    let mut table = vec![["CREATED", "SIZE", "CREATED BY"].map(str::to_owned).to_vec()];
    for step in steps {
        table.push(vec![
            sanitize(step.created.split('T').next().unwrap_or_default()).into_owned(),
            step.size_bytes.map_or_else(|| "-".to_owned(), ui::size),
            sanitize(&step.created_by).into_owned(),
        ]);
    }
    print(&ui::table(&table))
}
