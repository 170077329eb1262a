//! `devbox profile`.

use std::path::Path;

use serde_json::json;

use crate::cli::args::Format;
use crate::cli::args::profile::Profile as Command;
use crate::cli::{Outcome, print, print_json};
use crate::devcontainer::metadata::with_metadata;
use crate::error::Error;
use crate::paths::Paths;
use crate::profile::{Profile, Source, load, resolve, schema, shipped, show, trust};
use crate::text::{closest, sanitize};
use crate::ui;

/// The sub-commands.
pub fn run(folder: &Path, command: &Command) -> Outcome {
    let paths = Paths::from_environment()?;
    match command {
        Command::List(args) => list(&paths, args.format),
        Command::Show { name: Some(name) } => show_named(&paths, name),
        Command::Show { name: None } => print(&show::show(&Profile::load(&paths, folder)?)),
        Command::Check { file: None } => {
            Profile::load(&paths, folder)?;
            Ok(0)
        }
        Command::Check { file: Some(file) } => {
            Profile::check(&paths, &folder.join(file))?;
            Ok(0)
        }
        Command::Schema => print(&schema::schema_json()),
        Command::Trust => {
            let loaded = Profile::load(&paths, folder)?;
            // What the image of a devcontainer file wants is wanted as well.
            let base = loaded.profile.base.clone();
            let loaded = with_metadata(&paths, loaded, &base)?;
            if loaded.wants.is_empty() {
                return print("this profile wants nothing of the host\n");
            }
            trust::trust(&paths, &loaded)?;
            let wishes = trust::describe(&loaded.wants);
            let list: String = wishes.iter().map(|wish| format!("  {}\n", sanitize(wish))).collect();
            print(&format!("the profile may now\n{list}"))
        }
        Command::Untrust => {
            let project = super::project(&paths, folder)?;
            let count = trust::untrust(&paths, &project)?;
            print(&format!("took back {count} {}\n", if count == 1 { "permission" } else { "permissions" }))
        }
    }
}

/// The text of one profile that `extends` can name.
fn show_named(paths: &Paths, name: &str) -> Outcome {
    let profiles = resolve::list(paths);
    let Some(profile) = profiles.iter().find(|profile| profile.name == name) else {
        let error = Error::new(format!("there is no profile `{}`", sanitize(name)));
        return Err(match closest(name, profiles.iter().map(|profile| profile.name.as_str())) {
            Some(known) => error.hint(format!("did you mean `{known}`?")),
            None => error.hint("`devbox profile list` shows those there are"),
        });
    };
    let text = match &profile.source {
        Source::Shipped(name) => shipped::find_shipped(name).map(|shipped| shipped.text.to_owned()).unwrap_or_default(),
        Source::User(path) | Source::Untrusted(path) | Source::Carried(path) => load::read(path)?.text,
    };
    print(&ui::foreign_text(&text))
}

fn list(paths: &Paths, format: Format) -> Outcome {
    let profiles = resolve::list(paths);
    if format == Format::Json {
        let rows: Vec<_> = profiles
            .iter()
            .map(|profile| {
                json!({
                    "name": profile.name,
                    "summary": profile.summary,
                    "source": profile.source.label().to_string_lossy(),
                })
            })
            .collect();
        return print_json(&rows);
    }
    let rows: Vec<Vec<String>> = profiles
        .iter()
        .map(|profile| vec![sanitize(&profile.name).into_owned(), sanitize(&profile.summary).into_owned()])
        .collect();
    print(&ui::table(&rows))
}
