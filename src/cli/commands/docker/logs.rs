//! `docker logs`.

use std::io::Write;
use std::os::fd::AsFd;

use crate::cli::Outcome;
use crate::cli::args::docker::Logs;
use crate::docker::container;
use crate::docker::logs::{From, Tail};
use crate::docker::monitor::Monitor;
use crate::error::{COULD_NOT_RUN, Error, USAGE};
use crate::paths::Paths;
use crate::text::sanitize;

/// Prints what the first process wrote, on the streams that it wrote to.
pub fn run(paths: &Paths, args: &Logs) -> Outcome {
    let by_time = [("timestamps", args.timestamps), ("since", args.since.is_some()), ("until", args.until.is_some())];
    if let Some((name, _)) = by_time.iter().find(|(_, given)| *given) {
        return Err(Error::new(format!("`--{name}` is not supported: when a line was written is not kept"))
            .with_status(COULD_NOT_RUN));
    }
    let found = container::find(paths, &args.name)?;
    let from = match args.tail.as_str() {
        "all" | "-1" => From::Beginning,
        text => From::Lines(text.parse().map_err(|_| {
            Error::new(format!("`--tail {}` is no number of lines", sanitize(text))).with_status(USAGE)
        })?),
    };
    let mut tail = Tail::open(paths, &found, from)?;
    let (mut output, mut error) = (std::io::stdout(), std::io::stderr());
    let mut targets: [Option<&mut dyn Write>; 2] = [Some(&mut output), Some(&mut error)];
    let monitor = if args.follow { Monitor::find(paths, &found)? } else { None };
    tail.pump(&mut targets);
    while let Some(monitor) = &monitor {
        let is_over = tail.wait(&[monitor.as_fd()])?.is_some();
        tail.pump(&mut targets);
        if is_over || targets.iter().all(Option::is_none) {
            break;
        }
    }
    Ok(0)
}
