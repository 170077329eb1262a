//! Containerfiles in the manner of well-known projects (`tests/fixtures/projects`), on a Debian that is made of the
//! packages of this machine: as root through `buildah` as well, with the same tree and the same configuration.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use super::pair::{Buildah, built, differences, lasting, set_times};
use crate::support::devbox::Devbox;
use crate::support::fixture;

/// An image of a project: what it is called, its directory, its Containerfile if that has another name, and the one
/// for `buildah` 1.28 where that cannot read ours.
struct Image(&'static str, &'static str, Option<&'static str>, Option<&'static str>);

const IMAGES: [Image; 14] = [
    Image("go", "go", None, None),
    Image("node", "node", None, None),
    Image("python", "python", None, None),
    Image("rust", "rust", None, None),
    Image("java", "java", None, None),
    Image("static", "static", None, None),
    Image("postgres", "postgres", None, None),
    Image("redis", "redis", None, None),
    Image("devcontainer", "devcontainer", None, None),
    Image("php", "php", None, None),
    Image("cmake", "cmake", None, None),
    Image("onbuild-runtime", "onbuild/runtime", None, None),
    Image("onbuild-application", "onbuild/application", None, None),
    Image("heredocs", "heredocs", Some("Containerfile"), Some("Containerfile.plain")),
];

/// The context of the base.
fn debian() -> &'static Path {
    static DEBIAN: OnceLock<tempfile::TempDir> = OnceLock::new();
    let directory = DEBIAN.get_or_init(|| {
        let directory = lasting();
        copy(&fixture("projects/debian"), directory.path());
        let made = Command::new("sh").current_dir(&directory).arg("make.sh").status();
        assert!(made.expect("sh").success());
        directory
    });
    directory.path()
}

/// A copy of `from` whose files have the modes that git knows, and old times.
fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-R").arg(from.join(".")).arg(to).status();
    assert!(done.expect("cp").success());
    let done = Command::new("chmod").args(["-R", "u=rwX,go=rX"]).arg(to).status();
    assert!(done.expect("chmod").success());
    if to.join("redis-1.0").exists() {
        let archive = ["--sort=name", "--owner=0", "--group=0", "-czf", "redis-1.0.tar.gz", "redis-1.0"];
        set_times(to);
        assert!(Command::new("tar").current_dir(to).args(archive).status().expect("tar").success());
    }
    set_times(to);
}

fn devbox_with_debian() -> Devbox {
    let test = Devbox::new();
    test.args(["image", "build", "-t", "localhost/debian"]).arg(debian()).any_stdout().any_stderr().run();
    test
}

/// Builds `image` of the context `place`; returns what was printed.
fn build(test: &Devbox, image: &Image, place: &Path) -> (String, String) {
    let run = test.args(["image", "build", "-t", &format!("localhost/{}", image.0)]).arg(place);
    let run = match image.2 {
        Some(file) => run.arg("--file").arg(place.join(file)),
        None => run,
    };
    let output = run.any_stdout().any_stderr().run();
    (output.stdout, output.stderr)
}

#[test]
fn projects_as_buildah_builds_them() {
    crate::require!(Root, Overlay, Program("buildah"), Program("tcc"));
    let buildah = Buildah::overlay();
    let (done, said) =
        buildah.run(&["bud", "--isolation", "chroot", "--format", "docker", "-t", "localhost/debian", "."], debian());
    assert!(done, "{said}");
    let test = devbox_with_debian();
    let mut failures = String::new();
    for image in &IMAGES {
        let place = tempfile::tempdir().expect("a directory");
        copy(&fixture("projects").join(image.1), place.path());
        build(&test, image, place.path());
        let tag = format!("localhost/{}", image.0);
        let mut arguments = vec!["bud", "--isolation", "chroot", "--format", "docker", "--pull-never", "-t", &tag];
        if let Some(file) = image.3 {
            arguments.extend(["-f", file]);
        }
        arguments.push(".");
        let (done, said) = buildah.run(&arguments, place.path());
        if !done {
            failures.push_str(&format!("== {}\n{said}", image.0));
            continue;
        }
        // The triggers would be done for whoever looks into it; the next image stands on it.
        if image.0 == "onbuild-runtime" {
            continue;
        }
        let differences = differences(built(&test, image.0), buildah.mounted(&tag), &[]);
        if !differences.is_empty() {
            failures.push_str(&format!("== {}\n{differences}", image.0));
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn projects_build_once() {
    crate::require!(Ordinary, Userns, Overlay, Program("tcc"));
    let test = devbox_with_debian();
    for image in &IMAGES {
        let place = tempfile::tempdir().expect("a directory");
        copy(&fixture("projects").join(image.1), place.path());
        let (first, _) = build(&test, image, place.path());
        let (second, said) = build(&test, image, place.path());
        assert_eq!(first, second, "{}: {said}", image.0);
    }
}
