//! `docker ps` and `docker port`.

use jiff::Timestamp;

use crate::cli::args::docker::Ps;
use crate::cli::{Outcome, print};
use crate::docker::container::{self, Digits};
use crate::docker::inspect::ports_text;
use crate::docker::listing::{Wanted, row};
use crate::error::Error;
use crate::paths::Paths;
use crate::text::sanitize;

/// What a table shows.
const COLUMNS: [(&str, &str); 7] = [
    ("CONTAINER ID", "ID"),
    ("IMAGE", "Image"),
    ("COMMAND", "Command"),
    ("CREATED", "RunningFor"),
    ("STATUS", "Status"),
    ("PORTS", "Ports"),
    ("NAMES", "Names"),
];

/// Lists containers, the newest first.
pub fn run(paths: &Paths, args: &Ps) -> Outcome {
    let last = args.last.or(args.latest.then_some(1));
    let wanted = Wanted::parse(&args.filters, args.all || last.is_some())?;
    let now = Timestamp::now();
    let mut rows = Vec::new();
    for container in container::list(paths)? {
        let (status, state) = container.status(paths)?;
        if wanted.has(&container, status, &state) && last.is_none_or(|most| rows.len() < most) {
            rows.push(row(&container, status, &state, now, Digits::all_if(args.no_trunc)));
        }
    }
    if args.quiet {
        return super::values(&rows, "ID");
    }
    super::rows(&args.format, &rows, &COLUMNS)
}

/// `80/tcp -> 127.0.0.1:8080`, one a line; of the port that was asked for only where it is.
pub fn port(paths: &Paths, name: &str, port: Option<&str>) -> Outcome {
    let text = ports_text(&container::find(paths, name)?);
    let lines = text.split(", ").filter_map(|pair| pair.split_once("->"));
    if let Some(port) = port {
        let wanted = if port.contains('/') { port.to_owned() } else { format!("{port}/tcp") };
        let found: String =
            lines.filter(|(_, inside)| *inside == wanted).map(|(outside, _)| format!("{outside}\n")).collect();
        return match found.is_empty() {
            true => {
                Err(Error::new(format!("the port `{}` of `{}` is not published", sanitize(&wanted), sanitize(name))))
            }
            false => print(&found),
        };
    }
    print(&lines.map(|(outside, inside)| format!("{inside} -> {outside}\n")).collect::<String>())
}
