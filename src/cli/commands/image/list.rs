//! `devbox image list`.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;

use crate::cli::args::Format;
use crate::cli::{Outcome, print, print_json};
use crate::image::store::{ImageRecord, Store};
use crate::paths::Paths;
use crate::text::sanitize;
use crate::ui;

#[derive(Serialize)]
struct Row {
    name: String,
    digest: String,
    pulled: String,
    /// Of all files.
    size_bytes: u64,
    /// Of the files in layers that no other image has.
    unique_bytes: u64,
}

/// Lists the images of the store.
pub fn run(format: Format) -> Outcome {
    let paths = Paths::from_environment()?;
    let store = Store::open(&paths.store())?;
    let images = store.images()?;
    let mut users: HashMap<String, BTreeSet<&str>> = HashMap::new();
    for image in &images {
        for directory in directories(image) {
            users.entry(directory).or_default().insert(image.manifest.digest.hexadecimal());
        }
    }
    let sizes: HashMap<String, u64> = store
        .layers()?
        .into_iter()
        .map(|layer| (format!("{}.{}", layer.record.name, layer.record.layout), layer.record.size_bytes))
        .collect();
    let size = |directory: &String| sizes.get(directory).copied().unwrap_or(0);
    let rows: Vec<Row> = images
        .iter()
        .map(|image| Row {
            name: image.name.clone(),
            digest: image.manifest.digest.to_string(),
            pulled: image.created.clone(),
            size_bytes: directories(image).iter().map(size).sum(),
            unique_bytes: directories(image).iter().filter(|name| users[*name].len() == 1).map(size).sum(),
        })
        .collect();
    if format == Format::Json {
        return print_json(&rows);
    }
    if rows.is_empty() {
        return print("no images\n");
    }
    let mut table = vec![["NAME", "DIGEST", "PULLED", "SIZE", "UNIQUE"].map(str::to_owned).to_vec()];
    for (row, image) in rows.into_iter().zip(&images) {
        table.push(vec![
            sanitize(&row.name).into_owned(),
            image.manifest.digest.short().to_owned(),
            row.pulled.split('T').next().unwrap_or_default().to_owned(),
            ui::size(row.size_bytes),
            ui::size(row.unique_bytes),
        ]);
    }
    print(&ui::table(&table))
}

/// The directories of an image's layers, each once.
fn directories(image: &ImageRecord) -> BTreeSet<String> {
    let of_layout = |(layout, names): (&String, &Vec<String>)| -> Vec<String> {
        names.iter().map(|name| format!("{name}.{layout}")).collect()
    };
    image.layers.iter().flat_map(of_layout).collect()
}
