//! `[security]` of the profile, asserted from inside.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use crate::require;
use crate::support::devbox::Devbox;

/// A trusted project whose profile says this in `[security]`.
fn secured(security: &str) -> Devbox {
    let test = Devbox::host();
    test.profile(&format!("base = \"host\"\n[network]\nmode = \"none\"\n[security]\n{security}\n"));
    test.args(["profile", "trust"]).any_stdout().run();
    test
}

/// A set of capabilities of the box's root.
fn capabilities(test: &Devbox) -> u64 {
    let output = test.sh("grep -E '^Cap(Eff|Bnd)' /proc/self/status | cut -f2 | sort -u").any_stdout().run();
    u64::from_str_radix(output.stdout.trim(), 16).unwrap()
}

#[test]
fn capabilities_come_and_go() {
    require!(Userns, Overlay);
    let usual = capabilities(&Devbox::host());
    let changed =
        capabilities(&secured("capabilities = { add = [\"net_admin\"], drop = [\"CAP_NET_RAW\", \"MKNOD\"] }"));
    assert_eq!(changed, usual & !(1 << 13) & !(1 << 27) | 1 << 12);
}

#[test]
fn no_new_privileges() {
    require!(Userns, Overlay);
    let script = "grep NoNewPrivs /proc/self/status | cut -f2";
    Devbox::host().sh(script).stdout("0\n").run();
    secured("no_new_privileges = true").sh(script).stdout("1\n").run();
}

#[test]
fn system_calls_are_allowed_and_denied() {
    require!(Userns, Overlay);
    let script = "mkdir folder 2>/dev/null && echo made; unshare -U true 2>/dev/null && echo unshared; echo end";
    Devbox::host().sh(script).stdout("made\nend\n").run();
    let test = secured("seccomp = { allow = [\"unshare\"], deny = [\"mkdir\", \"mkdirat\"] }");
    test.sh(script).stdout("unshared\nend\n").run();
}

#[test]
fn more_than_usual_asks_for_trust() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    test.profile("base = \"host\"\n[network]\nmode = \"none\"\n[security]\nseccomp = { allow = [\"keyctl\"] }\n");
    let output = test.sh("true").any_stderr().any_stdout().output();
    assert!(!output.status.success() && output.stderr.contains("make the system call `keyctl`"), "{output:?}");
}

#[test]
fn what_undoes_another_wall_is_an_error() {
    let test = Devbox::host();
    for (profile, said) in [
        (
            "[project]\nmask = [\".env\"]\n[security]\nseccomp = { allow = [\"unshare\"] }",
            "the system call `unshare` would let the box undo `mask`",
        ),
        (
            "[network]\negress = []\n[security]\ncapabilities = { add = [\"NET_ADMIN\"] }",
            "the capability `CAP_NET_ADMIN` would let the box undo `egress`",
        ),
    ] {
        test.profile(profile);
        let output = test.sh("true").any_stderr().any_stdout().output();
        assert!(output.stderr.contains(said), "{output:?}");
    }
}
