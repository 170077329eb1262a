//! `docker events`.

use std::os::fd::AsFd;

use jiff::Timestamp;

use crate::cli::Outcome;
use crate::cli::args::docker::Events;
use crate::docker::events::{self, Wanted};
use crate::docker::template::Template;
use crate::docker::time::{own_start, parse, rfc3339};
use crate::error::Error;
use crate::paths::Paths;
use crate::text::sanitize;
use crate::ui;

/// Prints what happens to containers: what has happened since this process began, and then each event as it comes. Whoever starts
/// this beside what it waits for misses nothing.
pub fn run(paths: &Paths, args: &Events) -> Outcome {
    let now = Timestamp::now();
    let time = |text: &String| {
        let time = parse(text, now).and_then(|time| i64::try_from(time.as_nanosecond()).ok());
        time.ok_or_else(|| Error::new(format!("`{}` is no time", sanitize(text))).hint("write `10m`, or RFC 3339"))
    };
    let filter = |text: &String| {
        let pair = text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
        pair.ok_or_else(|| {
            Error::new(format!("`--filter {}` is no filter", sanitize(text))).hint("write `event=start`")
        })
    };
    let since = match &args.since {
        Some(text) => time(text)?,
        None => i64::try_from(own_start().as_nanosecond()).unwrap_or_default(),
    };
    let wanted = Wanted {
        filters: args.filters.iter().map(filter).collect::<Result<_, _>>()?,
        since,
        until: args.until.as_ref().map(time).transpose()?,
    };
    let template = args.format.format.as_deref().map(Template::parse).transpose()?;
    let output = std::io::stdout();
    let (mut failed, mut wrong) = (None, None);
    let mut show = |event: &events::Event| {
        let line = match &template {
            Some(template) => match template.render(&serde_json::to_value(event).unwrap_or_default()) {
                Ok(line) => line,
                Err(error) => {
                    wrong = Some(error);
                    return false;
                }
            },
            None => {
                let time = Timestamp::from_nanosecond(event.time_nano.into()).ok();
                let attributes = event.actor.attributes.iter().map(|(key, value)| format!("{key}={value}"));
                let attributes = attributes.collect::<Vec<_>>().join(", ");
                format!("{} container {} {} ({attributes})", rfc3339(time), event.action, event.id)
            }
        };
        failed = ui::print(&(sanitize_line(&line) + "\n")).err();
        failed.is_none()
    };
    events::follow(paths, &wanted, output.as_fd(), &mut show)?;
    if let Some(error) = wrong {
        return Err(error.into());
    }
    match failed {
        Some(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::new(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(0),
    }
}

/// An event is one line, whatever its labels hold.
fn sanitize_line(line: &str) -> String {
    line.split('\t').map(sanitize).collect::<Vec<_>>().join("\t")
}
