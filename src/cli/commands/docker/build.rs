//! `docker build` and `docker buildx`.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::unsupported;
use crate::cli::args::docker::{Build, Buildx};
use crate::cli::args::image::{self, BuildProgress, BuildPull};
use crate::cli::commands::image as own;
use crate::cli::{Outcome, print};
use crate::error::Error;

/// What programs compare: new enough for `--build-context`.
const BUILDX_VERSION: &str = "v0.17.0";

/// `docker buildx`.
pub fn buildx(folder: &dyn Fn() -> Result<PathBuf, Error>, command: Buildx) -> Outcome {
    match command {
        Buildx::Build(args) => run(&folder()?, *args),
        Buildx::Version => print(&format!("github.com/docker/buildx {BUILDX_VERSION} devbox\n")),
        Buildx::Ls(format) => {
            let row = json!({"Name": "default", "Driver": "devbox", "Status": "running", "Buildkit": BUILDX_VERSION});
            super::rows(&format, &[row], &[("NAME/NODE", "Name"), ("DRIVER/ENDPOINT", "Driver"), ("STATUS", "Status")])
        }
        Buildx::Inspect { .. } => print("Name:   default\nDriver: devbox\nStatus: running\n"),
        Buildx::Other(words) => Err(super::unknown("buildx ", &words)),
    }
}

/// `docker build`.
pub fn run(folder: &Path, args: Build) -> Outcome {
    if args.push {
        return Err(unsupported("`--push`").hint("`devbox image push` does it when the image is built"));
    }
    for output in &args.output {
        let kind = output.split(',').find_map(|field| field.strip_prefix("type=")).unwrap_or(output);
        if !matches!(kind, "docker" | "image" | "cacheonly") {
            return Err(
                unsupported(&format!("the output `{output}`")).hint("`devbox image save` writes images into files")
            );
        }
    }
    let progress = match args.progress.as_deref() {
        _ if args.quiet => BuildProgress::Quiet,
        Some("quiet") => BuildProgress::Quiet,
        Some("plain" | "rawjson") => BuildProgress::Plain,
        Some("tty") => BuildProgress::Tty,
        _ => BuildProgress::Auto,
    };
    let build = image::Build {
        context: args.context,
        file: args.file,
        tags: args.tag,
        target: args.target,
        // What it asks BuildKit to keep in the image is kept anyway.
        build_args: args.build_arg.into_iter().filter(|arg| !arg.starts_with("BUILDKIT_INLINE_CACHE=")).collect(),
        secrets: args.secret,
        ssh: args.ssh,
        build_contexts: args.build_context,
        labels: args.label,
        cache_from: args.cache_from.into_iter().filter(|name| !name.starts_with("type=")).collect(),
        pull: if args.pull { BuildPull::Always } else { BuildPull::Missing },
        no_cache: args.no_cache,
        platform: args.platform,
        check: false,
        id_file: args.iidfile,
        progress,
    };
    own::build::run(folder, &build)
}
