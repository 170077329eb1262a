//! `[security]` of the profile, asserted from inside.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::fs;

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

#[test]
fn what_is_typed_goes_before_the_profile() {
    require!(Userns, Overlay);
    // Who types it is not asked to trust it.
    let test = Devbox::host();
    test.profile("base = \"host\"\n[network]\nmode = \"none\"\n");
    let typed = ["--cap-add", "net_admin", "--cap-drop", "NET_RAW,mknod", "--no-new-privileges", "--seccomp"];
    let run = |rule: &str, script: &str| {
        let words: Vec<&str> = ["run"].into_iter().chain(typed).chain([rule, "--", "sh", "-c", script]).collect();
        test.args(&words).any_stdout().any_stderr().output()
    };
    let usual = capabilities(&Devbox::host());
    let script = "grep -E 'CapEff|NoNewPrivs' /proc/self/status; unshare -U true && echo unshared";
    let output = run("allow=unshare", script);
    let wanted = usual & !(1 << 13) & !(1 << 27) | 1 << 12;
    assert_eq!(output.stdout, format!("CapEff:\t{wanted:016x}\nNoNewPrivs:\t1\nunshared\n"), "{}", output.stderr);
    let plan: Vec<&str> = ["run", "--dry-run"].into_iter().chain(typed).chain(["deny=mkdir", "--", "true"]).collect();
    let plan = test.args(&plan).any_stdout().any_stderr().output().stdout;
    for line in
        ["capability CAP_NET_ADMIN", "capability no CAP_MKNOD", "call       no mkdir", "setuid     means nothing"]
    {
        assert!(plan.lines().any(|found| found == line), "{line}: {plan}");
    }
    // A box that runs keeps what it has; others may join it, and so may who asks for the same.
    let mut first = test.background_with(&[typed.as_slice(), &["deny=mkdir"]].concat(), "echo up; read line");
    first.expect("up");
    let status = test.args(["status"]).any_stdout().run().stdout;
    let line = "CAP_NET_ADMIN, no CAP_MKNOD, no CAP_NET_RAW, no mkdir, no new privileges";
    assert!(status.lines().any(|found| found.starts_with("security") && found.ends_with(line)), "{status}");
    let status = test.args(["status", "--format", "json"]).any_stdout().run().stdout;
    assert!(status.contains("\"CAP_NET_ADMIN\"") && status.contains("\"no_new_privileges\""), "{status}");
    test.sh("true").run();
    assert!(run("deny=mkdir", "true").status.success());
    let refused = run("allow=unshare", "true");
    assert_eq!(refused.status.code(), Some(125));
    assert!(refused.stderr.contains("the box runs with other capabilities or system calls"), "{}", refused.stderr);
    first.say("");
    first.wait();
    // What holds the walls of the profile holds against what is typed.
    test.profile("base = \"host\"\n[project]\nmask = [\".env\"]\n[network]\nmode = \"none\"\n");
    let refused = run("allow=unshare", "true");
    assert!(refused.stderr.contains("the system call `unshare` would let the box undo `mask`"), "{}", refused.stderr);
}

/// Whatever can be tried from inside without a tool of its own; what works is printed.
const ESCAPES: &str = r#"
    try() { name=$1; shift; if ("$@") >/dev/null 2>&1; then echo "worked: $name"; fi; }
    quiet() { sh -c "$1" 2>/dev/null; }
    try hook sh -c 'mkdir -p .git/hooks && echo evil > .git/hooks/pre-commit'
    try config sh -c 'echo "[core] fsmonitor = evil" >> .git/config'
    try commondir sh -c 'echo ../evil > .git/commondir'
    try rename mv .git .git.old
    try remove rm -rf .git
    try exchange perl -e 'mkdir "x"; exit(syscall(316, -100, ".git", -100, "x", 2) != 0)'
    try unmask umount .env
    try remount mount -o remount,rw .git
    try bind mount --bind . /mnt
    try namespace unshare -Urm true
    try user_namespace unshare -U true
    try profile sh -c 'echo "[share]" >> devbox.toml'
    try device sh -c 'mknod disk b 8 0; head -c 1 disk'
    try raw perl -MSocket -e 'socket(S, AF_INET, SOCK_RAW, 1) or exit 1'
    try address ip link set lo down
    try core sh -c 'echo "|/evil" > /proc/sys/kernel/core_pattern'
    try sysrq sh -c 'echo b > /proc/sysrq-trigger'
    try kernel_memory head -c 1 /dev/mem
    try binary sh -c 'echo evil > /proc/1/exe'
    try root ls /proc/1/root/
    try escape chroot /proc/1/root true
    try agents test -S "$SSH_AUTH_SOCK"
    cat .env .env.local 2>/dev/null; for place in ~/.ssh /home; do ls -A $place 2>/dev/null; done
    rm -rf x disk; echo tried"#;

#[test]
fn an_agent_that_tries_to_get_out() {
    require!(Userns, Overlay, Program("perl"), Program("unshare"));
    let test = Devbox::host();
    // The shipped profile, but that nothing is installed, and without a network.
    let agent = include_str!("../../profiles/agent.toml");
    test.profile(&agent.replace("extends = \"base\"", "base = \"host\"").replace("\"private\"", "\"none\""));
    test.file(".env", "secret\n").file(".git/HEAD", "ref: refs/heads/main\n").file(".git/config", "[core]\n");
    let output = test.sh(ESCAPES).any_stderr().any_stdout().run();
    assert_eq!(output.stdout, "tried\n", "{output:?}");
    let read = |name: &str| fs::read_to_string(test.project().join(name)).unwrap();
    assert_eq!((read(".env"), read(".git/config")), ("secret\n".into(), "[core]\n".into()));
    let mut names: Vec<_> =
        fs::read_dir(test.project().join(".git")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["HEAD", "config"]);
}

#[test]
fn a_review_of_what_a_session_did() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    test.profile("base = \"host\"\n[network]\nmode = \"none\"\n[hooks]\nreview = true\n");
    let reported = |script: &str| {
        let stderr = test.sh(script).any_stderr().run().stderr;
        stderr.lines().filter_map(|line| Some(line.strip_prefix("  ")?.to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(reported("mkdir /srv/first; touch in-the-project"), ["A /srv/first/"]);
    assert_eq!(reported("mkdir /srv/second; rmdir /srv/first"), ["D /srv/first/", "A /srv/second/"]);
    assert_eq!(reported("true"), Vec::<String>::new());
    test.sh("rm -rf /srv").any_stderr().run();
    test.args(["snapshot", "restore", "before"]).run();
    assert_eq!(reported("ls -d /srv/second >&2"), Vec::<String>::new());
}

/// A named pipe of the host, which the command gets as its standard input.
#[test]
fn files_from_outside_cannot_be_opened_again() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    let pipe = test.path("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // Held open for both, so that nobody waits for the other end.
    let held = fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    let mut command = test.command(["run", "--", "sh", "-c", "echo x 2>/dev/null > /proc/self/fd/0 || echo refused"]);
    let output = command.stdin(held).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "refused\n");
    // A pipe without a name is, as everywhere.
    test.sh("echo through > /dev/stdout; echo x | cat /dev/stdin").stdout("through\nx\n").run();
}

#[test]
fn abstract_sockets_of_the_host_are_out_of_reach() {
    // Linux 6.12, which the data-only layers have, too.
    require!(Userns, Overlay, DataOnly, Program("perl"));
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};
    let test = Devbox::host();
    test.profile("base = \"host\"\n[network]\nmode = \"host\"\n");
    test.args(["profile", "trust"]).any_stdout().run();
    let name = format!("devbox-test-{}", std::process::id());
    let _listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let connect = format!(
        "perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); print connect(S, pack(\"S\", AF_UNIX) . \"\\0{name}\") ? \"connected\" : \"refused\", \"\\n\"'"
    );
    let ours = std::process::Command::new("sh").args(["-c", &connect]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&ours.stdout), "connected\n");
    test.sh(&connect).stdout("refused\n").run();
}

#[test]
fn files_move_between_directories_below_the_second_wall() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    let script = "mkdir -p /srv/a /srv/b; echo x > /srv/a/f; perl -e 'rename(\"/srv/a/f\", \"/srv/b/f\") or print \"no rename\\n\"; link(\"/srv/b/f\", \"/srv/a/g\") or print \"no link\\n\"'
        cat /srv/a/g /srv/b/f; truncate -s 0 /srv/b/f; mkfifo /srv/a/p; ln -s f /srv/b/l; stty -F /dev/null 2>/dev/null; rm -r /srv; echo end";
    test.sh(script).stdout("x\nx\nend\n").run();
}
