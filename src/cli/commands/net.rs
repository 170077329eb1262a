//! `devbox net`.

use std::path::Path;

use super::{logs, session as sessions};
use crate::boxes::session::{self, Options, What};
use crate::boxes::{BoxDir, events, list};
use crate::build::profile::Inputs;
use crate::cli::args::Logs;
use crate::cli::args::network::Learn;
use crate::cli::{Outcome, print};
use crate::error::Error;
use crate::paths::Paths;
use crate::profile::Profile;
use crate::sandbox::net::reached::{Line, Reason, Traffic, Verdict, needed};
use crate::text::sanitize;
use crate::ui;

/// Prints what a box reached and did not, the oldest first.
pub fn log(folder: &Path, args: &Logs) -> Outcome {
    logs::show(folder, args, BoxDir::traffic, text)
}

fn text(line: &Line) -> String {
    let mut words = vec![line.time.clone()];
    if let Some(traffic) = &line.traffic {
        words.extend(describe(traffic));
    }
    if let Some(process) = &line.process {
        words.push(format!("by {} ({})", process.command, process.pid));
    }
    if let Some(more) = line.more {
        words.push(format!("... and {more} more"));
    }
    format!("{}\n", sanitize(&words.join("  ")))
}

fn describe(traffic: &Traffic) -> Vec<String> {
    let verdict = match traffic.verdict {
        Verdict::Allowed => "allowed",
        Verdict::Denied => "denied ",
    };
    let place = match (traffic.address, traffic.port) {
        (Some(address), Some(port)) => std::net::SocketAddr::new(address, port).to_string(),
        (Some(address), None) => address.to_string(),
        (None, _) => String::new(),
    };
    let mut words = vec![verdict.to_owned(), traffic.protocol.to_string()];
    words.extend(traffic.name.clone());
    words.extend(Some(place).filter(|place| !place.is_empty()));
    words.extend(traffic.reason.map(|reason| {
        match reason {
            Reason::NotListed => "not in the egress list",
            Reason::LocalAddress => "leads to a local address that the egress list does not name",
        }
        .to_owned()
    }));
    words
}

/// Runs a command with everything allowed; prints the list that it needed.
pub fn learn(folder: &Path, args: Learn) -> Outcome {
    let paths = Paths::from_environment()?;
    let loaded = Profile::load(&paths, folder)?;
    sessions::refuse_home(&paths, &loaded)?;
    if session::is_running(&paths, &loaded)? {
        return Err(Error::new("the box runs already, and not everything is written down that it reaches")
            .hint("`devbox stop` stops it"));
    }
    let progress = ui::Terminal::default();
    let loaded = sessions::make_ready(&paths, loaded, Inputs::Locked, true, &progress)?;
    let begun = jiff::Timestamp::now();
    let options = Options { learn: true, directory: folder.to_owned(), ..Options::default() };
    let status = session::run(&paths, &loaded, &What::Command(args.command), &options, &progress)?;
    let Some(id) = list::find_by_project(&paths, &loaded.project)? else { return Ok(status) };
    let mut lines: Vec<Line> = events::read_lines(&BoxDir::new(&paths, &id).traffic())?;
    lines.retain(|line| line.time.parse::<jiff::Timestamp>().is_ok_and(|time| time >= begun));
    if lines.iter().any(|line| line.more.is_some()) {
        ui::say("the command reached more than could be written down: the list is not complete");
    }
    let mut output = String::from("[network]\negress = [\n");
    for rule in needed(lines.iter().filter_map(|line| line.traffic.as_ref())) {
        output.push_str(&format!("    \"{rule}\",\n"));
    }
    output.push_str("]\n");
    print(&output)?;
    Ok(status)
}
