//! What `gc` keeps of builds.

use serde_json::Value;

use super::pair::devbox_with_base;

#[test]
fn the_cache_goes_when_it_is_told_to() {
    crate::require!(Userns, Overlay);
    let test = devbox_with_base();
    let file = "FROM localhost/base AS one\nRUN dd if=/dev/zero of=/big bs=1024 count=2000\nFROM localhost/base\n\
        RUN --mount=type=cache,target=/c touch /c/x\nCOPY --from=one /big /copy\n";
    test.file("c/Containerfile", file);
    let build = || {
        let run = test.args(["image", "build", "-t", "localhost/it", "c"]).any_stdout().any_stderr().run();
        run.stderr.matches("cached").count()
    };
    let gc = |options: &[&str]| {
        let report = test.args([&["gc", "--format", "json"], options].concat()).any_stdout().run().stdout;
        let report: Value = serde_json::from_str(&report).expect("JSON");
        let kinds = report["items"].as_array().expect("items").iter();
        kinds.map(|item| item["kind"].as_str().expect("a kind").to_owned()).collect::<Vec<_>>()
    };
    build();
    for kept in [&[][..], &["--build-cache", "--older-than", "1h"], &["--build-cache", "--larger-than", "1GiB"]] {
        assert_eq!(gc(kept), Vec::<String>::new(), "{kept:?}");
    }
    // The layer of the first stage takes two megabytes; those of the image take no room of the cache.
    let large = gc(&["--build-cache", "--larger-than", "1MiB", "--dry-run"]);
    assert!(large.contains(&"layer".to_owned()) && large.contains(&"build-cache".to_owned()), "{large:?}");
    assert_eq!(build(), 3);
    let all = gc(&["--build-cache"]);
    assert_eq!(all.iter().filter(|kind| *kind == "layer").count(), 1, "{all:?}");
    assert!(all.len() >= 6, "{all:?}");
    // The image is there, and its steps are done again.
    test.args(["image", "history", "localhost/it"]).any_stdout().run();
    assert_eq!(build(), 0);

    let config = test.home().join(".config/devbox");
    std::fs::create_dir_all(&config).expect("a directory");
    std::fs::write(config.join("config.toml"), "[build_cache]\nmax_age = \"0s\"\n").expect("a file");
    assert!(gc(&[]).len() >= 6);
    assert_eq!(build(), 0);
    test.args(["gc", "--larger-than", "1GiB"]).status(2).any_stderr().run();
    let said = test.args(["gc", "--build-cache", "--older-than", "7"]).status(2).any_stderr().run().stderr;
    assert!(said.contains("an age is written like"), "{said}");
}
