//! `image build --check`, and what the checks say when something is built.

use super::pair::devbox_with_base;
use crate::support::devbox::Devbox;

#[test]
fn only_the_checks() {
    let test = Devbox::new();
    let check = |file: &str| test.file("c/Containerfile", file).args(["image", "build", "--check", "c"]);
    check("FROM scratch AS base\nCOPY c /\n").stdout("no warnings\n").run();
    check("FROM scratch AS Base\nENV A=$HOM\nCMD run it\n")
        .status(1)
        .stdout(
            "warning: the name of the stage `Base` is not in lower case\n --> [TEST]/project/c/Containerfile:1:17\n  \
             |\n1 | FROM scratch AS Base\n  |                 ^^^^\n  = rule: StageNameCasing\n\n\
             warning: nothing gives the variable `HOM` a value\n --> [TEST]/project/c/Containerfile:2:7\n  \
             |\n2 | ENV A=$HOM\n  |       ^^^^\n  = rule: UndefinedVar\n\n\
             warning: `CMD` runs in a shell, which does not pass on signals\n --> [TEST]/project/c/Containerfile:3:1\n  \
             |\n3 | CMD run it\n  | ^^^^^^^^^^\n  |\n  \
             = help: write `CMD [\"program\", \"argument\"]`, or say with `SHELL` that a shell is meant\n  \
             = rule: JSONArgsRecommended\n\n3 warnings\n",
        )
        .run();
    check("FROM scratch\nWORKDIR x\n")
        .arg("--progress=json")
        .status(1)
        .stdout(
            "[\n  {\n    \"rule\": \"WorkdirRelativePath\",\n    \
             \"message\": \"the relative path `x` depends on the working directory of the base\",\n    \
             \"file\": \"[TEST]/project/c/Containerfile\",\n    \"line\": 2,\n    \"column\": 9\n  }\n]\n",
        )
        .run();
    // The ignore file of the context.
    test.file("c/.dockerignore", "secret\n");
    let said = check("# check=experimental=all\nFROM scratch\nCOPY secret /\n").status(1).any_stdout().run().stdout;
    assert!(said.contains("CopyIgnoredFile") && said.contains(":3:6"), "{said}");
    // What cannot be read is an error.
    let said = check("FROM scratch\nFRUM x\n").status(1).any_stderr().run().stderr;
    assert!(said.contains("unknown instruction `FRUM`"), "{said}");
}

#[test]
fn a_build_says_what_was_found_or_fails() {
    crate::require!(Userns, Overlay);
    let test = devbox_with_base();
    let build = || test.args(["image", "build", "c"]).any_stderr();
    // The base's variables are known.
    test.file("c/Containerfile", "FROM localhost/base\nWORKDIR x\nENV A=$PATH$B\n");
    let said = build().any_stdout().run().stderr;
    let warnings: Vec<&str> = said.lines().filter(|line| line.starts_with("warning: ")).collect();
    assert_eq!(warnings.len(), 2, "{said}");
    assert!(warnings[0].ends_with("Containerfile:2:9: the relative path `x` depends on the working directory of the base (WorkdirRelativePath)"), "{said}");
    assert!(warnings[1].contains("`B`"), "{said}");

    test.file("c/Containerfile", "# check=error=true\nFROM localhost/base\nWORKDIR x\n");
    let said = build().status(1).run().stderr;
    assert!(said.contains("WorkdirRelativePath` found") && !said.contains("#1"), "{said}");
    let argument = "BUILDKIT_DOCKERFILE_CHECK=skip=WorkdirRelativePath;error=true";
    build().arg("--build-arg").arg(argument).any_stdout().run();
}
