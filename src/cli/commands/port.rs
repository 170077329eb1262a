//! `devbox port`.

use std::path::Path;

use crate::boxes::{BoxDir, ports};
use crate::cli::args::network::Port;
use crate::cli::args::{Format, StatusArgs, Target};
use crate::cli::{Outcome, print, print_json};
use crate::error::Error;
use crate::paths::Paths;
use crate::profile::ports::{Published, parse_published};
use crate::sandbox::net::host::forwards::{Forward, Origin};
use crate::text::sanitize;
use crate::ui;

/// Lists, adds or removes ports of a running box.
pub fn run(folder: &Path, command: Port) -> Outcome {
    match command {
        Port::List(StatusArgs { target, format }) => {
            let ports = ports::list(&directory(folder, &target)?)?;
            if format == Format::Json { print_json(&ports) } else { print(&table(&ports)) }
        }
        Port::Add { ports, name } => change(folder, &ports, Target { name }, ports::add),
        Port::Remove { ports, name } => change(folder, &ports, Target { name }, ports::remove),
    }
}

fn directory(folder: &Path, target: &Target) -> Result<BoxDir, Error> {
    let paths = Paths::from_environment()?;
    Ok(BoxDir::new(&paths, &super::find(&paths, folder, target)?))
}

fn change(
    folder: &Path,
    ports: &[String],
    target: Target,
    operation: impl Fn(&BoxDir, Published) -> Result<Vec<Forward>, ports::PortError>,
) -> Outcome {
    let mut wanted = Vec::new();
    for text in ports {
        wanted.extend(parse_published(text).map_err(|fault| {
            Error::new(format!("`{}` is no port: {fault}", sanitize(text)))
                .hint("write `[ADDRESS:][HOST-PORT:]BOX-PORT[/udp]`, for example `8080:80`")
        })?);
    }
    let directory = directory(folder, &target)?;
    let mut changed = Vec::new();
    for port in wanted {
        let result = operation(&directory, port);
        // What was done before stays done, and is shown.
        if result.is_err() {
            print(&table(&changed))?;
        }
        changed.extend(result.map_err(|error| Error::from(error).within(format!("cannot change the port `{port}`")))?);
    }
    print(&table(&changed))
}

/// Where on the host, the box's port, and what more is to be said.
fn table(ports: &[Forward]) -> String {
    let row = |port: &Forward| {
        let places: Vec<String> = port.addresses.iter().map(ToString::to_string).collect();
        let origin = match port.origin {
            Origin::Profile => "profile",
            Origin::Command => "added",
            Origin::Found => "found",
        };
        let moved = port.moved_from.map(|taken| format!("{taken} is taken on the host"));
        let label = port.label.as_deref().map(|label| sanitize(label).into_owned());
        let more: Vec<String> = label.into_iter().chain(moved).collect();
        vec![places.join(" "), format!("{}/{}", port.box_port, port.protocol), origin.to_owned(), more.join("; ")]
    };
    ui::table(&ports.iter().map(row).collect::<Vec<_>>())
}
