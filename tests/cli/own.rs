//! The user's own files and terminal: configuration, profiles by name, the log as it grows, Tab, the question of trust.

use std::fs;
use std::io::{Read, Write};

use crate::support::background::Background;
use crate::support::devbox::Devbox;

/// A box on a root that holds nothing: it starts, and finds no program.
fn made() -> Devbox {
    let test = Devbox::new();
    fs::create_dir_all(test.project().join("root/usr")).expect("a directory");
    test.profile("name = \"shop\"\nrootfs = \"./root\"\n[network]\nmode = \"none\"\n");
    test.args(["run", "--", "nothing"]).status(127).any_stderr().run();
    test.args(["stop"]).run();
    test
}

#[test]
fn config_is_shown() {
    let test = Devbox::new();
    let file = "[TEST]/home/.config/devbox/config.toml";
    test.args(["config", "path"]).stdout(format!("{file}\n")).run();
    let missing = format!("error: there is no `{file}`\nhint: `devbox config edit` makes it\n");
    test.args(["config", "show"]).status(1).stderr(missing).run();
    let folder = test.home().join(".config/devbox");
    fs::create_dir_all(&folder).expect("a directory");
    fs::write(folder.join("config.toml"), "[profile]\n\tshell = \"zsh\" # \x1b[31m\n").expect("write");
    test.args(["config", "show"]).stdout("[profile]\n\tshell = \"zsh\" # \\u{1b}[31m\n").run();
}

#[test]
fn config_is_edited_and_checked() {
    let test = Devbox::new();
    let edit = || test.args(["config", "edit"]);
    let unset = "error: no editor is set\nhint: set `EDITOR`, or open the file that `devbox config path` names\n";
    edit().env("EDITOR", "").status(1).stderr(unset).run();
    edit().env("EDITOR", "false").status(1).stderr("error: the editor of `EDITOR` failed: exit status: 1\n").run();
    // `VISUAL` comes first, and may hold options.
    edit().env("EDITOR", "false").env("VISUAL", "cp /dev/null").run();
    let file = test.home().join(".config/devbox/config.toml");
    assert_eq!(fs::read_to_string(&file).expect("the editor made it"), "");

    let wrong = test.path("wrong");
    fs::write(&wrong, "[profil]\n").expect("write");
    let stderr = edit().env("EDITOR", format!("cp {}", wrong.display())).status(1).any_stderr().run().stderr;
    assert!(
        stderr.starts_with("error: unknown key `profil`\n --> [TEST]/home/.config/devbox/config.toml:1:2"),
        "{stderr}"
    );
    assert_eq!(fs::read_to_string(&file).expect("nothing typed is lost"), "[profil]\n");
}

#[test]
fn a_command_belongs_to_run() {
    let expected = "error: `devbox enter` opens a shell, and takes no command\nhint: `devbox run -- id -u` runs it\n";
    Devbox::new().args(["enter", "--", "id", "-u"]).status(2).stderr(expected).run();
}

#[test]
fn config_is_shown_in_one_way() {
    let output = Devbox::new().args(["config", "--format", "json", "path"]).status(2).any_stderr().run();
    assert!(output.stderr.starts_with("error: "), "{}", output.stderr);
}

#[test]
fn profiles_are_shown_by_name() {
    let test = Devbox::new();
    test.args(["profile", "show", "rust"]).stdout(include_str!("../../profiles/rust.toml")).run();
    let meant = "error: there is no profile `rsut`\nhint: did you mean `rust`?\n";
    test.args(["profile", "show", "rsut"]).status(1).stderr(meant).run();
    for (name, shown) in [("../config", "../config"), ("\x1b[31m", "\\u{1b}[31m")] {
        let unknown =
            format!("error: there is no profile `{shown}`\nhint: `devbox profile list` shows those there are\n");
        test.args(["profile", "show", name]).status(1).stderr(unknown).run();
    }
    // One's own hides the shipped one.
    let folder = test.home().join(".config/devbox/profiles");
    fs::create_dir_all(&folder).expect("a directory");
    fs::write(folder.join("rust.toml"), "# mine\n").expect("write");
    test.args(["profile", "show", "rust"]).stdout("# mine\n").run();
}

#[test]
fn the_first_manual_page_is_printed() {
    let page = Devbox::new().args(["man"]).any_stdout().run().stdout;
    assert!(page.contains(".TH devbox 1") && page.contains("devbox\\-enter(1)"), "{page}");
}

#[test]
fn every_command_is_in_the_help() {
    let help = Devbox::new().args(["-h"]).any_stdout().run().stdout;
    let expected = "\
A rootless sandbox for developer environments

Usage: devbox [OPTIONS] <COMMAND>

Commands:
  init         Write a commented devbox.toml for the project in this folder
  enter        Open a shell in the project's box; without a terminal, run the script on standard
               input
  run          Run a task of the profile, or a command, in the project's box
  list         List the boxes of this user [alias: ls]
  status       Show one box
  stats        Show what running boxes use: processors, memory, processes, disks, network
  limits       Show what the project's box may use, and change it while the box runs
  port         Show which ports of a running box are reachable on the host, and change that
  root         Print where the files of a running box can be read on the host
  shim         Make programs for the host that run a tool of the box
  editor       Write the project's settings for an editor, and take them back
  hook         Print a hook for a shell of the host: it offers the box when a project's folder is
               entered
  stop         Stop a box and everything that runs in it
  rm           Remove a box and everything it holds
  reset        Throw away what was changed in a box
  snapshot     Keep and restore states of a box
  diff         Show what a box changed of its base
  add          Add packages to devbox.toml, and to the box
  remove       Remove packages from devbox.toml, and from the box
  lock         Write devbox.lock.toml: the base and the versions of packages, for other machines and
               later days
  update       Lock the newest base and packages
  freeze       Write what was installed by hand in the box into devbox.toml
  clone        Make a box for another folder that begins as this one is now
  logs         Show what happened to a box
  log          See what a box was refused
  net          See what a box reaches over the network, and what it may reach
  push         Make an image of a box, and give it to a registry
  image        Work with images and registries
  docker       Containers as boxes, for programs that want docker's command line
  code         Open Visual Studio Code on the project's box
  cursor       Open Cursor on the project's box
  zed          Open Zed on the project's box
  idea         Open an editor of JetBrains on the project's box
  ssh-proxy    Be the ssh server of a box, for an ssh client that starts it
  ssh-config   Let ssh clients and editors find the boxes
  gc           Remove what no image, box, snapshot or running session needs
  df           Show what takes how much space
  check        Look whether every image, layer and box is sound
  import       Write devbox.toml from the project's devcontainer file
  export       Print the project's profile in another form
  profile      Look at profiles
  doctor       Look for what this machine lacks, and say how to mend it
  config       Show where devbox keeps its files, and your own configuration
  completions  Print the completions of a shell
  man          Print the manual page, or write those of all commands and topics
  help         Show the help of a command, or a page about a topic

Options:
  -C, --directory <DIR>  Behave as if started in this folder
  -h, --help             Print help (see more with '--help')
  -V, --version          Print version

`devbox help TOPIC` has a page about each of these topics:
  profiles, images, builds, locks, networks, limits, security, editors, devcontainers, containers
";
    assert_eq!(help, expected);
}

/// What is offered for the last of `words` in zsh, which shows explanations.
fn offered(test: &Devbox, words: &[&str]) -> Vec<String> {
    let index = words.len().to_string();
    let run = test.args(["--", "devbox"]).env("COMPLETE", "zsh").env("_CLAP_COMPLETE_INDEX", index);
    let output = words.iter().fold(run.env("_CLAP_IFS", "\n"), |run, word| run.arg(word)).any_stdout().run();
    output.stdout.lines().filter(|line| !line.starts_with('-')).map(str::to_owned).collect()
}

#[test]
fn tab_offers_names() {
    let test = Devbox::new();
    test.profile("[tasks]\nstage = \"make\\u202e\\u0007 \\u001b[31m\"\n")
        .file("other/devbox.toml", "[tasks]\nsail = \"x\"\n");
    // The explanation is a repository's text. zsh needs the backslashes twice.
    assert_eq!(offered(&test, &["run", "s"]), ["stage:make\\\\u{202e}\\\\u{7} \\\\u{1b}[31m"]);
    for words in [&["-C", "other", "run", "s"][..], &["run", "--directory=other", "s"], &["-C", "o\\ther", "run", "s"]]
    {
        assert_eq!(offered(&test, words), ["sail:x"], "{words:?}");
    }
    assert_eq!(offered(&test, &["-C", "gone", "run", "s"]), [""; 0]);
    let profiles = offered(&test, &["profile", "show", "ru"]);
    assert!(profiles.len() == 1 && profiles[0].starts_with("rust:Rust: "), "{profiles:?}");
    assert_eq!(offered(&test, &["status", ""]), [""; 0]);
    // A mistake in the profile offers nothing, and says nothing.
    test.profile("tasks = 1\n");
    assert_eq!(offered(&test, &["run", "s"]), [""; 0]);
    assert!(!test.data().exists(), "offering leaves nothing behind");
}

#[test]
fn tab_offers_boxes_and_snapshots() {
    crate::require!(Userns, Overlay);
    let test = made();
    test.args(["snapshot", "create", "good"]).run();
    assert_eq!(offered(&test, &["rm", "s"]), ["shop:[TEST]/project"]);
    let snapshots = || offered(&test, &["snapshot", "restore", "g"]);
    assert!(snapshots().len() == 1 && snapshots()[0].starts_with("good:20"), "{:?}", snapshots());
    // Snapshots belong to the box, whatever the profile says meanwhile.
    test.profile("tasks = 1\n");
    assert_eq!(snapshots().len(), 1);
}

#[test]
fn the_log_is_followed_until_the_box_is_removed() {
    crate::require!(Userns, Overlay);
    let test = made();
    let past = test.args(["logs"]).any_stdout().run().stdout;
    assert!(past.lines().count() >= 2, "{past}");
    let mut text = Background::start(test.command(["logs", "--follow"]));
    let mut json = Background::start(test.command(["logs", "-f", "--format", "json"]));
    for line in past.lines() {
        text.expect(line);
        let event: serde_json::Value = serde_json::from_str(&json.line()).expect("an object a line");
        assert!(line.starts_with(event["time"].as_str().expect("a time")), "{line}\n{event}");
    }
    test.args(["snapshot", "create", "good"]).run();
    while !text.line().ends_with("  snapshot  name=good") {}
    while !json.line().contains("\"snapshot\"") {}
    test.args(["rm"]).run();
    assert!(text.wait().success() && json.wait().success());
}

#[test]
fn a_box_that_cannot_be_stopped_does_not_keep_the_others() {
    crate::require!(Userns, Overlay);
    let test = made();
    let id = test.boxes()[0].file_name().expect("a name").to_str().expect("a plain name").to_owned();
    test.args(["run", "--keep", "--", "nothing"]).status(127).any_stderr().run();
    let place = fs::read_dir(test.path("run/devbox")).expect("sockets").next().expect("one").expect("one").path();
    test.args(["stop"]).run();
    test.file("other/devbox.toml", "name = \"other\"\nrootfs = \"./root\"\n[network]\nmode = \"none\"\n");
    fs::create_dir_all(test.project().join("other/root/usr")).expect("a directory");
    test.args(["-C", "other", "run", "--keep", "--", "nothing"]).status(127).any_stderr().run();
    // Something else listens where the box would, and answers nonsense.
    fs::create_dir_all(&place).expect("a directory");
    let listener = std::os::unix::net::UnixListener::bind(place.join("s")).expect("a socket");
    let answer = std::thread::spawn(move || {
        for stream in listener.incoming().take(1) {
            let mut stream = stream.expect("a client");
            // A frame: its length, and as many bytes.
            let mut length = [0; 4];
            stream.read_exact(&mut length).expect("a request");
            let mut request = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut request).expect("a request");
            stream.write_all(b"nonsense").expect("answer");
        }
    });
    let stderr = test.args(["stop", "--all"]).status(1).any_stderr().run().stderr;
    assert!(stderr.starts_with(&format!("error: cannot stop `{id}`\n  cause: ")), "{stderr}");
    answer.join().expect("the listener ends");
    fs::remove_dir_all(&place).expect("remove the socket");
    let listed = test.args(["list"]).any_stdout().run().stdout;
    assert!(listed.lines().any(|line| line.starts_with("other  stopped")), "{listed}");
    test.args(["rm", "other"]).run();
}

#[test]
fn somebody_at_a_terminal_is_asked() {
    crate::require!(Userns, Overlay);
    let test = Devbox::new();
    fs::create_dir_all(test.project().join("root/usr")).expect("a directory");
    test.profile("rootfs = \"./root\"\n[share]\ngit_config = true\n[network]\nmode = \"none\"\n");
    for (answer, status) in [("\n", 125), ("no\n", 125), ("y\n", 127)] {
        let mut terminal = test.terminal(["run", "--", "nothing"], 24, 100);
        terminal.wait_for_text("allow that? [y/N]");
        terminal.send(answer);
        assert_eq!(terminal.wait_exit().code(), Some(status), "{answer:?}");
    }
    // Once is enough.
    test.args(["run", "--", "nothing"]).status(127).any_stderr().run();
}

#[test]
fn the_log_says_what_was_done() {
    crate::require!(Userns, Overlay);
    let test = made();
    test.file("other/x", "");
    test.args(["snapshot", "create", "good"]).run();
    test.args(["snapshot", "restore", "good"]).run();
    test.args(["snapshot", "rm", "good"]).run();
    test.args(["reset"]).run();
    test.args(["reset", "--all"]).run();
    test.args(["clone", "other"]).stdout("made the box `other` for `[TEST]/project/other`\n").run();
    let said = |name: &str| {
        let log = test.args(["logs", name]).any_stdout().run().stdout;
        let words = |line: &str| line.split_once("  ").expect("a time").1.to_owned();
        // The box of `made` may take a moment to say that it ended.
        log.lines().map(words).filter(|line| !line.starts_with("st") && !line.starts_with("session")).collect()
    };
    let of_shop: Vec<String> = said("shop");
    assert_eq!(
        of_shop,
        [
            "snapshot  name=good",
            "restored  name=good",
            "snapshot removed  name=good",
            "reset  snapshots=kept",
            "reset  snapshots=removed"
        ]
    );
    let of_other: Vec<String> = said("other");
    assert!(of_other.len() == 1 && of_other[0].starts_with("cloned  from=shop-"), "{of_other:?}");
    test.args(["rm", "other"]).run();
}
