//! `gc` beside images: what came from no registry is kept whole, and an image from a file lives as long as its boxes.

use std::fs;

use super::load::make_layout;
use crate::require;
use crate::support::devbox::Devbox;
use crate::support::registry::Registry;

fn names(test: &Devbox, directory: &str) -> Vec<String> {
    let entries = fs::read_dir(test.data().join("store").join(directory)).into_iter().flatten();
    entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name")).collect()
}

#[test]
fn a_loaded_image_can_be_pushed_after_it() {
    require!(Userns, Overlay, Program("docker-registry"), Program("umoci"), Program("busybox"));
    let registry = Registry::start();
    let test = Devbox::new();
    make_layout(&test);
    test.args(["image", "load", "--tag", "localhost/app", "layout"]).any_stdout().any_stderr().run();
    test.args(["gc"]).stdout("freed 0 B: 0 things\n").run();
    let name = format!("{}/app", registry.name());
    test.args(["image", "push", "localhost/app", &name]).any_stdout().any_stderr().run();

    test.args(["image", "rm", "localhost/app"]).any_stdout().any_stderr().run();
    test.args(["gc"]).any_stdout().run();
    assert_eq!(names(&test, "layers"), Vec::<String>::new());
    assert_eq!(names(&test, "blobs/sha256"), Vec::<String>::new());
    test.args(["image", "pull", &name]).any_stdout().any_stderr().run();
    test.args(["gc"]).stdout("freed 0 B: 0 things\n").run();
    test.profile(&format!("image = {name:?}\n[network]\nmode = \"none\"\n"));
    test.args(["run", "--", "/busybox", "cat", "/a/b/new"]).stdout("new").any_stderr().run();
}

#[test]
fn of_several_images_those_that_are_here_are_removed() {
    require!(Program("umoci"), Program("busybox"));
    let test = Devbox::new();
    make_layout(&test);
    test.args(["image", "load", "--tag", "localhost/a", "layout"]).any_stdout().any_stderr().run();
    test.args(["image", "tag", "localhost/a", "localhost/b"]).any_stdout().run();
    let hint = "hint: `devbox image list` shows what is here, `devbox image pull` fetches\n";
    let unknown = format!("error: there is no image `localhost/x` here\n{hint}");
    test.args(["image", "rm", "localhost/x"]).stderr(&unknown).status(1).run();
    test.args(["image", "rm", "localhost/x", "localhost/a", "localhost/a"]).stderr(&unknown).status(1).run();
    assert_eq!((names(&test, "images").len(), names(&test, "layers").len()), (1, 2));
    let unknown = format!(
        "error: 2 of 3 images were not removed\n  cause: there is no image `localhost/x` here\n  \
         cause: there is no image `localhost/y` here\n{hint}"
    );
    test.args(["image", "rm", "localhost/x", "localhost/b", "localhost/y"]).stderr(unknown).status(1).run();
    assert_eq!((names(&test, "images").len(), names(&test, "layers").len()), (0, 0));
}

#[test]
fn an_image_in_a_file_lives_as_long_as_its_box() {
    require!(Userns, Overlay, Program("umoci"), Program("busybox"));
    let test = Devbox::new();
    make_layout(&test);
    test.profile("rootfs = \"layout\"\nshell = \"/bin/sh\"\n[network]\nmode = \"none\"\n");
    let new = || test.args(["run", "--", "/busybox", "cat", "/a/b/new"]).stdout("new").any_stderr().run();
    new();
    test.args(["gc"]).stdout("freed 0 B: 0 things\n").run();
    assert_eq!(names(&test, "layers").len(), 2);

    test.args(["rm", "--force"]).any_stdout().any_stderr().run();
    let shown = test.args(["gc", "--dry-run"]).any_stdout().run().stdout;
    assert!(shown.contains("image ") && shown.contains("layer "), "{shown}");
    test.args(["gc"]).any_stdout().run();
    for directory in ["layers", "images", "blobs/sha256"] {
        assert_eq!(names(&test, directory), Vec::<String>::new(), "{directory}");
    }
    // It is loaded again.
    new();
}
