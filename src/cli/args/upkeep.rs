//! What is kept, and whether it is sound.

use std::time::Duration;

use clap::Args;

use super::Format;
use crate::limits::amount::parse_size;
use crate::profile::user::parse_age;

/// `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Remove what is broken and can be had again
    #[arg(long)]
    pub repair: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
}

/// `gc`.
#[derive(Debug, Args)]
pub struct GcArgs {
    /// Change nothing, and print what would be removed
    #[arg(long)]
    pub dry_run: bool,
    /// Remove the caches of builds, too
    #[arg(long)]
    pub all: bool,
    /// Remove the caches of builds alone: all, or the part that the next two name
    #[arg(long, conflicts_with = "all")]
    pub build_cache: bool,
    /// What no build has needed for so long, like 7d or 12h
    #[arg(long, value_name = "AGE", requires = "build_cache", value_parser = age)]
    pub older_than: Option<Duration>,
    /// What is more than so much, like 10GiB: first what was not needed for the longest time
    #[arg(long, value_name = "SIZE", requires = "build_cache", value_parser = size)]
    pub larger_than: Option<u64>,
    /// How to print
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
}

fn age(text: &str) -> Result<Duration, &'static str> {
    parse_age(text).ok_or("an age is written like `7d` or `12h`")
}

fn size(text: &str) -> Result<u64, &'static str> {
    parse_size(text).ok_or("a size is written like `10GiB`")
}
