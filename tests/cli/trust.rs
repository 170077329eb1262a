//! What a profile gets of the host, and who is asked.

use crate::support::devbox::Devbox;

const WISH: &str = "  use your SSH agent: it can sign in wherever your keys can\n";

fn asking() -> Devbox {
    let test = Devbox::new();
    // A root that holds nothing: what is allowed to start finds no program, which is status 127 instead of 125.
    std::fs::create_dir_all(test.project().join("root/usr")).expect("a directory");
    test.profile("rootfs = \"./root\"\n[share]\nssh_agent = true\n[network]\nmode = \"none\"\n");
    test
}

fn refused() -> String {
    format!(
        "the profile of `[TEST]/project` wants to\n{WISH}error: this profile is not trusted\n\
         hint: `devbox profile trust` allows it, after you have read it\n"
    )
}

#[test]
fn nobody_to_ask_is_a_refusal() {
    let test = asking();
    test.args(["run", "--", "true"]).status(125).stderr(refused()).run();
    test.args(["enter"]).status(125).stderr(refused()).run();
    assert!(test.boxes().is_empty(), "nothing is half done");
}

#[test]
fn trust_holds_until_the_profile_changes() {
    crate::require!(Userns, Overlay);
    let test = asking();
    test.args(["profile", "trust"]).stdout(format!("the profile may now\n{WISH}")).run();
    test.args(["run", "--", "true"]).status(127).any_stderr().run();
    test.args(["profile", "untrust"]).stdout("took back 1 permission\n").run();
    test.args(["run", "--", "true"]).status(125).stderr(refused()).run();

    test.args(["profile", "trust"]).any_stdout().run();
    test.profile("rootfs = \"./root\"\n# another\n[share]\nssh_agent = true\n[network]\nmode = \"none\"\n");
    test.args(["run", "--", "true"]).status(125).stderr(refused()).run();
}

#[test]
fn what_wants_nothing_needs_no_trust() {
    let test = Devbox::new();
    test.args(["profile", "trust"]).stdout("this profile wants nothing of the host\n").run();
    test.args(["profile", "untrust"]).stdout("took back 0 permissions\n").run();
}
