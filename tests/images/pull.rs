//! `devbox image pull` where networks break and processes die.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::load::make_layout;
use super::registry::noise;
use crate::require;
use crate::support::devbox::Devbox;
use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::support::files::wait_for_change;
use crate::support::processes::wait_until_none;
use crate::support::registry::{Registry, run};

/// Bytes of the large file in [`push_large`]'s image, which do not compress.
const LARGE: usize = 8 << 20;
pub const BLOBS: &str = "GET /v2/app/blobs/";

/// Pushes the image of [`make_layout`] with a third, large layer as `app:1`; the size of that layer's blob.
pub fn push_large(test: &Devbox, registry: &Registry) -> u64 {
    make_layout(test);
    test.file("three/large", noise(LARGE));
    let here = |command: &mut Command| run(command.current_dir(test.project()));
    here(Command::new("tar").args(["-C", "three", "-cf", "three.tar", "large"]));
    here(Command::new("umoci").args(["raw", "add-layer", "--image", "layout:x", "three.tar"]));
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["copy", "--insecure-policy", "-q", "--dest-tls-verify=false", "--dest-no-creds", "oci:layout:x"]);
    here(skopeo.arg(format!("docker://{}/app:1", registry.name())));
    let blobs = fs::read_dir(test.project().join("layout/blobs/sha256")).expect("blobs");
    blobs.map(|blob| blob.expect("an entry").metadata().expect("a file").len()).max().expect("a blob")
}

/// What lies in `store/NAME`, without lock files.
pub fn stored(test: &Devbox, name: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(test.data().join("store").join(name)).into_iter().flatten();
    entries.map(|entry| entry.expect("an entry").path()).filter(|path| !path.ends_with("lock")).collect()
}

fn sent(proxy: &FaultProxy) -> u64 {
    proxy.requests(BLOBS).iter().map(|request| request.sent).sum()
}

/// The image of [`push_large`] in a registry behind a proxy.
struct Pushed {
    test: Devbox,
    registry: Registry,
    proxy: FaultProxy,
    /// Its name behind the proxy.
    image: String,
    /// Bytes of the large layer's blob.
    large: u64,
}

impl Pushed {
    fn new() -> Self {
        let (registry, test) = (Registry::start(), Devbox::new());
        let large = push_large(&test, &registry);
        let proxy = FaultProxy::start(registry.port());
        let image = format!("{}/app:1", proxy.name());
        Self { test, registry, proxy, image, large }
    }
}

/// Bytes of the layer of which most has been fetched.
fn fetched(test: &Devbox) -> u64 {
    let sizes = stored(test, "partial").into_iter().filter_map(|path| Some(path.metadata().ok()?.len()));
    sizes.max().unwrap_or(0)
}

/// Waits until so many bytes of a layer have been fetched.
fn wait_until_fetched(test: &Devbox, bytes: u64) {
    let directory = test.data().join("store/partial");
    fs::create_dir_all(&directory).expect("a directory");
    wait_for_change(&directory, &format!("{bytes} bytes are kept"), || fetched(test) >= bytes);
}

#[test]
fn what_a_killed_pull_has_is_not_fetched_again() {
    require!(Program("docker-registry"), Program("umoci"), Program("skopeo"), Program("busybox"));
    let pushed = Pushed::new();
    let Pushed { test, registry, proxy, image, large } = &pushed;
    // Small blobs end before that.
    proxy.add(BLOBS, Fault::Hold(large / 2), 10);
    let mut command = test.command(["image", "pull", image]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a process");
    wait_until_fetched(test, large / 3);
    child.kill().expect("a kill");
    child.wait().expect("its end");
    // Its child in the mapped namespace dies with it.
    assert_eq!(wait_until_none(&test.path("")).len(), 0);
    let kept = fetched(test);
    assert!(kept < *large, "killed too late");
    assert_eq!(stored(test, "images").len(), 0);

    let second = FaultProxy::start(registry.port());
    let image = format!("{}/app:1", second.name());
    test.args(["image", "pull", &image]).any_stdout().any_stderr().run();
    let asked = second.requests(BLOBS);
    // Another layer may have been on its way as well.
    let ranges: Vec<_> = asked.iter().filter_map(|request| request.header("range")).collect();
    assert!(ranges.contains(&format!("bytes={kept}-").as_str()), "{kept} bytes: {ranges:?}");
    assert!(sent(&second) <= large - kept + (2 << 20), "{} of {large}, {kept} were there", sent(&second));
    assert_eq!((stored(test, "partial"), stored(test, "tmp")), (vec![], vec![]));
    assert_eq!(stored(test, "layers").len(), 3);

    // And once more: nothing but the manifest.
    let before = sent(&second);
    test.args(["image", "pull", &image]).any_stdout().run();
    assert_eq!(sent(&second), before);
}

#[test]
fn a_pull_that_was_cut_goes_on() {
    require!(Program("docker-registry"), Program("umoci"), Program("skopeo"), Program("busybox"));
    let pushed = Pushed::new();
    let Pushed { test, proxy, image, large, .. } = &pushed;
    // Small blobs end before that.
    proxy.add(BLOBS, Fault::Cut(5 << 20), 10);
    test.args(["image", "pull", image]).any_stdout().any_stderr().run();
    assert!(sent(proxy) < large + (2 << 20), "{} of {large}", sent(proxy));
}

#[test]
fn a_corrupt_layer_is_refused_and_fetched_again() {
    require!(Program("docker-registry"), Program("umoci"), Program("skopeo"), Program("busybox"));
    let pushed = Pushed::new();
    let Pushed { test, registry, proxy, image, .. } = &pushed;
    // Behind the small blobs' ends.
    proxy.add(BLOBS, Fault::Corrupt(4 << 20), 10);
    let said = test.args(["image", "pull", image]).status(1).any_stderr().run().stderr;
    assert!(said.contains(&format!("cannot install the layers of `{image}`")) && said.contains("layer 3"), "{said}");
    assert_eq!(stored(test, "images").len(), 0);
    assert_eq!(stored(test, "tmp").len(), 0);
    let sound = FaultProxy::start(registry.port());
    test.args(["image", "pull", &format!("{}/app:1", sound.name())]).any_stdout().any_stderr().run();
}

#[test]
fn two_pulls_share_the_work() {
    require!(Program("docker-registry"), Program("umoci"), Program("skopeo"), Program("busybox"));
    let pushed = Pushed::new();
    let Pushed { test, proxy, image, large, .. } = &pushed;
    proxy.add(BLOBS, Fault::Slow(256 << 10, Duration::from_millis(10)), 20);
    let start = || {
        let mut command = test.command(["image", "pull", image]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a process")
    };
    for mut child in [start(), start(), start()] {
        assert!(child.wait().expect("its end").success());
    }
    assert!(sent(proxy) < large + (4 << 20), "{} of {large}", sent(proxy));
    assert_eq!((stored(test, "layers").len(), stored(test, "tmp").len()), (3, 0));
    test.profile(&format!("image = \"{image}\"\n[network]\nmode = \"none\"\n"));
    let script = "busybox stat -c %s /large; cat /a/b/new; echo; echo $FOO";
    let run = test.args(["run", "--rm", "--", "/busybox", "sh", "-c", script]);
    run.any_stderr().stdout(format!("{LARGE}\nnew\nof the image\n")).run();
}
