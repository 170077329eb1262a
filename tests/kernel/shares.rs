//! What a box gets of the host by name: real agents, sockets that listen, a real bus behind its proxy.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::fs;
use std::io::Read;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::require;
use crate::support::devbox::Devbox;
use crate::support::files::wait_for_change;

/// Says `hello` to the socket at the path that is left of a variable when a prefix is cut off.
const SAY_HELLO: &str = r#"hello() { perl -MIO::Socket::UNIX -e '
    my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die "$ARGV[0]: $!"; print $s "hello"' "$1"; }; "#;

/// A trusted project with these shares.
fn sharing(shares: &str) -> Devbox {
    let test = Devbox::host();
    share(&test, shares);
    test
}

fn share(test: &Devbox, shares: &str) {
    test.profile(&format!("base = \"host\"\n[share]\n{shares}\n[network]\nmode = \"none\"\n"));
    test.args(["profile", "trust"]).any_stdout().run();
}

/// A program that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // By a signal after which an X server removes its lock and its socket.
        kill_process(Pid::from_child(&self.0), Signal::TERM).ok();
        self.0.wait().ok();
    }
}

/// Starts a program and waits until `made` is there.
fn start(command: &mut Command, made: &Path) -> Running {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let running = Running(child);
    wait_for_change(made.parent().expect("a directory"), &format!("{command:?} made {}", made.display()), || {
        made.exists()
    });
    running
}

#[test]
fn the_ssh_agent_answers() {
    require!(Userns, Overlay, Program("ssh-agent"), Program("ssh-keygen"));
    let mut test = sharing("ssh_agent = true");
    let (socket, key) = (test.path("agent"), test.path("key"));
    let _agent = start(Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket), &socket);
    let made =
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "tester", "-f"]).arg(&key).status();
    assert!(made.unwrap().success());
    let added = Command::new("ssh-add").arg("-q").arg(&key).env("SSH_AUTH_SOCK", &socket).status();
    assert!(added.unwrap().success());
    test.env("SSH_AUTH_SOCK", &socket);
    let listed = test.sh("ssh-add -l; echo $SSH_AUTH_SOCK; ls -A /run/devbox").any_stdout().run().stdout;
    assert!(listed.contains("tester") && listed.contains("/run/devbox/ssh-agent\n"), "{listed}");
    // Who joins gets what the box has, and not what the joiner's environment says.
    let mut first = test.background("echo up; read x");
    first.expect("up");
    test.sh("echo $SSH_AUTH_SOCK").env("SSH_AUTH_SOCK", "/elsewhere").stdout("/run/devbox/ssh-agent\n").run();
    first.say("x");
    first.wait();
}

#[test]
fn the_gpg_agent_signs_and_gives_no_key_away() {
    require!(Userns, Overlay, Program("gpg"), Program("gpgconf"));
    let mut test = sharing("gpg_agent = true");
    let home = test.path("g");
    fs::create_dir(&home).unwrap();
    fs::set_permissions(&home, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let gpg = |program: &str, arguments: &[&str]| {
        let status = Command::new(program).args(arguments).env("GNUPGHOME", &home).stderr(Stdio::null()).status();
        assert!(status.unwrap().success(), "{program} {arguments:?}");
    };
    gpg("gpg", &["--batch", "--quiet", "--passphrase", "", "--quick-gen-key", "tester@example.com", "ed25519"]);
    test.env("GNUPGHOME", &home);
    let script = "echo text | gpg -q --batch --clearsign 2>/dev/null | gpg -q --batch --verify 2>&1 | grep -c 'Good signature'
        gpg -q --batch --export-secret-keys 2>/dev/null | wc -c; stat -c %a ~/.gnupg; touch ~/.gnupg/pubring.kbx 2>/dev/null || echo kept";
    let output = test.sh(script).any_stdout().any_stderr().output();
    gpg("gpgconf", &["--kill", "gpg-agent"]);
    assert_eq!(output.stdout, "1\n0\n700\nkept\n", "{}", output.stderr);
}

#[test]
fn windows_and_sound_go_through_their_sockets() {
    require!(Userns, Overlay, Program("perl"));
    let mut test = sharing("wayland = true\naudio = true");
    fs::create_dir(test.path("run/pulse")).unwrap();
    let listeners: Vec<UnixListener> = ["run/wayland-7", "run/pulse/native", "run/pipewire-0"]
        .iter()
        .map(|name| UnixListener::bind(test.path(name)).unwrap())
        .collect();
    test.env("WAYLAND_DISPLAY", "wayland-7");
    test.sh(&format!(
        "{SAY_HELLO} hello $WAYLAND_DISPLAY; hello ${{PULSE_SERVER#unix:}}; hello $PIPEWIRE_RUNTIME_DIR/pipewire-0; \
         ls -A /run/devbox | grep -v -E '^(etc-|shell$)'"
    ))
    .stdout("pipewire-0\npulse\nwayland\n")
    .run();
    for listener in listeners {
        let mut said = String::new();
        listener.accept().unwrap().0.read_to_string(&mut said).unwrap();
        assert_eq!(said, "hello");
    }
}

#[test]
fn programs_of_the_box_talk_to_a_real_x_server() {
    require!(Userns, Overlay, Program("Xvfb"), Program("xauth"), Program("xdpyinfo"));
    let mut test = sharing("x11 = true");
    let (authority, number) = (test.path("authority"), test.path("number"));
    // Only who has a cookie gets in. The server looks for a free number itself, and tells it when it is ready.
    xauth(&authority, &["add", ":0", ".", "0123456789abcdef0123456789abcdef"]);
    let told = fs::File::create(&number).unwrap();
    let mut server = Command::new("Xvfb");
    // Without `-noreset` it forgets the cookies it made whenever its last client goes.
    server
        .args(["-noreset", "-displayfd", "1", "-nolisten", "tcp", "-screen", "0", "321x123x24", "-auth"])
        .arg(&authority);
    let _server = Running(server.stdin(Stdio::null()).stdout(told).stderr(Stdio::null()).spawn().unwrap());
    let read = || fs::read_to_string(&number).unwrap();
    wait_for_change(&test.path(""), "Xvfb tells its display", || read().ends_with('\n'));
    let display = format!(":{}", read().trim());
    xauth(&authority, &["add", &display, ".", "0123456789abcdef0123456789abcdef"]);
    test.env("DISPLAY", &display).env("XAUTHORITY", &authority);
    let script =
        "echo $DISPLAY; xdpyinfo | grep dimensions; XAUTHORITY=/dev/null xdpyinfo >/dev/null 2>&1 || echo refused";
    let output = test.sh(script).any_stdout().any_stderr().run();
    let shown = output.stdout;
    assert!(!output.stderr.contains("untrusted X cookie"), "{}", output.stderr);
    assert!(shown.starts_with(&format!("{display}\n")) && shown.ends_with("refused\n"), "{shown}");
    assert!(shown.contains("321x123 pixels"), "{shown}");
}

/// Changes a cookie file.
fn xauth(file: &Path, arguments: &[&str]) {
    let status = Command::new("xauth").arg("-q").arg("-f").arg(file).args(arguments).stderr(Stdio::null()).status();
    assert!(status.unwrap().success(), "{arguments:?}");
}

#[test]
fn programs_of_the_box_talk_to_a_real_sound_server() {
    require!(Userns, Overlay, Program("pulseaudio"), Program("pactl"));
    let mut test = sharing("audio = true");
    let (runtime, home) = (test.path("run"), test.path("home"));
    let socket = runtime.join("pulse/native");
    fs::create_dir(runtime.join("pulse")).unwrap();
    let mut server = Command::new("pulseaudio");
    server.args(["-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--disable-shm=yes"]);
    server.args(["-L", "module-null-sink sink_name=tester", "-L"]);
    server.arg(format!("module-native-protocol-unix socket={}", socket.display()));
    server.env("XDG_RUNTIME_DIR", &runtime).env("HOME", &home);
    let _server = start(&mut server, &socket);
    test.env("XDG_RUNTIME_DIR", &runtime);
    let script = "pactl info | grep -E '^(Server Name|Default Sink)'; pactl list short sinks | cut -f 2";
    let shown = test.sh(script).any_stdout().any_stderr().run().stdout;
    assert_eq!(shown, "Server Name: pulseaudio\nDefault Sink: tester\ntester\n");
}

#[test]
fn programs_of_the_box_talk_to_a_real_pipewire() {
    require!(Userns, Overlay, Program("pipewire"), Program("pipewire-pulse"), Program("pw-cli"), Program("pactl"));
    let mut test = sharing("audio = true");
    let (runtime, home) = (test.path("run"), test.path("home"));
    fs::create_dir(runtime.join("pulse")).unwrap();
    let daemon = |program: &str, socket: &str| {
        let mut server = Command::new(program);
        server.env("XDG_RUNTIME_DIR", &runtime).env("HOME", &home);
        start(&mut server, &runtime.join(socket))
    };
    let _servers = [daemon("pipewire", "pipewire-0"), daemon("pipewire-pulse", "pulse/native")];
    test.env("XDG_RUNTIME_DIR", &runtime);
    let script = "pw-cli info 0 | grep -o -E 'Core/3|name: \"pipewire-0\"'; pactl info | grep -o 'on PipeWire'";
    let shown = test.sh(script).any_stdout().any_stderr().run().stdout;
    assert_eq!(shown, "Core/3\nname: \"pipewire-0\"\non PipeWire\n");
}

#[test]
fn the_bus_has_the_names_of_the_profile_only() {
    require!(Userns, Overlay, Program("dbus-daemon"), Program("xdg-dbus-proxy"), Program("gdbus"));
    require!(Program("busctl"), Program("dbus-send"));
    let mut test = sharing("dbus = [\"com.example.Allowed.*\"]");
    // The bus starts programs that leave a mark: one for each name that was reached.
    let names = ["gdbus", "busctl", "dbus-send"].map(|program| program.replace('-', ""));
    let names: Vec<String> =
        names.iter().flat_map(|name| [format!("Allowed.{name}"), format!("Denied.{name}")]).collect();
    for name in &names {
        let mark = test.path(name);
        let service = format!("[D-BUS Service]\nName=com.example.{name}\nExec=/bin/touch {}\n", mark.display());
        fs::create_dir_all(test.path("services")).unwrap();
        fs::write(test.path(format!("services/com.example.{name}.service")), service).unwrap();
    }
    let (socket, services) = (test.path("bus"), test.path("services"));
    let settings = format!(
        "<busconfig><type>session</type><listen>unix:path={}</listen><servicedir>{}</servicedir>
         <policy context='default'><allow send_destination='*' eavesdrop='true'/><allow eavesdrop='true'/><allow own='*'/></policy></busconfig>",
        socket.display(),
        services.display()
    );
    fs::write(test.path("bus.conf"), settings).unwrap();
    let settings = format!("--config-file={}", test.path("bus.conf").display());
    let _bus = start(Command::new("dbus-daemon").args(["--nofork", &settings]), &socket);
    test.env("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}", socket.display()));
    // Each says in its own way who it is; what was called never answers.
    let script = "for kind in Allowed Denied; do
            gdbus call --session --timeout 1 --dest com.example.$kind.gdbus --object-path / --method com.example.Echo
            busctl --user --timeout=1 call com.example.$kind.busctl / com.example Echo
            dbus-send --session --print-reply --reply-timeout=1000 --dest=com.example.$kind.dbussend / com.example.Echo
        done 2>/dev/null
        list='org.freedesktop.DBus / org.freedesktop.DBus'
        gdbus call --session --dest org.freedesktop.DBus --object-path / --method org.freedesktop.DBus.ListActivatableNames >names
        busctl --user call $list ListActivatableNames >>names
        dbus-send --session --print-reply --dest=$list.ListActivatableNames >>names
        grep -o 'com.example.[A-Za-z.]*' names | sort | uniq -c";
    let listed = test.sh(script).any_stdout().any_stderr().run().stdout;
    let listed: Vec<&str> = listed.lines().map(str::trim).collect();
    assert_eq!(
        listed,
        ["3 com.example.Allowed.busctl", "3 com.example.Allowed.dbussend", "3 com.example.Allowed.gdbus"]
    );
    for name in &names {
        assert_eq!(test.path(name).exists(), name.starts_with("Allowed"), "{name}");
    }
}

#[test]
fn what_is_missing_is_said_and_left_out() {
    require!(Userns, Overlay);
    let mut test = sharing(
        "ssh_agent = true\nwayland = true\nx11 = true\naudio = true\ndocker_config = true\ngpu = true\ndbus = [\"a.b\"]",
    );
    fs::write(test.path("run/wayland-0"), "").unwrap();
    test.env("WAYLAND_DISPLAY", "wayland-0").env("DISPLAY", "example.com:0");
    let output =
        test.sh("env | grep -E 'SSH_AUTH|DISPLAY|PULSE|PIPEWIRE|DBUS'; ls /dev/dri").status(2).any_stderr().run();
    for said in [
        "`ssh_agent`: `$SSH_AUTH_SOCK` is not set; `eval $(ssh-agent)` starts",
        "`wayland`: `[TEST]/run/wayland-0` is no socket; start",
        "`x11`: the display `example.com:0` is not one of this machine; start",
        "`audio`: `[TEST]/run/pulse/native` is not there; start",
        "`docker_config`: `[TEST]/home/.docker/config.json` is not there; `devbox image login`",
        "`gpu`: `/dev/dri` has no render node; load",
        "`dbus`: ",
    ] {
        assert!(output.stderr.contains(said), "{said}\n{}", output.stderr);
    }
}

#[test]
fn a_bus_that_is_none_is_left_out() {
    require!(Userns, Overlay, Program("xdg-dbus-proxy"));
    for (address, said) in [
        ("unix:path=/nonexistent/bus", "`dbus`: `/nonexistent/bus` is not there; start"),
        ("unix:path=/etc/passwd,guid=0", "`dbus`: `/etc/passwd` is no socket; start"),
        ("junk", "`dbus`: `$DBUS_SESSION_BUS_ADDRESS` is no address of a bus; start"),
    ] {
        let mut test = sharing("dbus = [\"a.b\"]");
        test.env("DBUS_SESSION_BUS_ADDRESS", address);
        let output = test.sh("echo ${DBUS_SESSION_BUS_ADDRESS-none}").stdout("none\n").any_stderr().run();
        assert!(output.stderr.contains(said), "{said}\n{}", output.stderr);
    }
}

#[test]
fn another_users_socket_is_refused() {
    require!(Userns, Overlay, Root);
    let mut test = sharing("ssh_agent = true");
    let socket = test.path("agent");
    let _listener = UnixListener::bind(&socket).unwrap();
    std::os::unix::fs::chown(&socket, Some(1234), None).unwrap();
    std::os::unix::fs::symlink(&socket, test.path("link")).unwrap();
    test.env("SSH_AUTH_SOCK", test.path("link"));
    let output = test.sh("ls -A /run/devbox | grep agent; echo -n $SSH_AUTH_SOCK").any_stderr().run();
    assert!(output.stderr.contains("`[TEST]/link` belongs to uid 1234"), "{}", output.stderr);
}

#[test]
fn caches_are_shared_by_boxes_and_not_with_the_host() {
    require!(Userns, Overlay);
    let test = sharing("home_cache = [\"pip\", \"cargo\"]");
    let script = "echo wheel > ~/.cache/pip/wheel; mkdir -p ~/.cargo/bin; echo crate > $CARGO_HOME/registry/crate";
    test.profile(
        "base = \"host\"\n[share]\nhome_cache = [\"pip\", \"cargo\"]\n[env]\nCARGO_HOME = \"/opt/cargo\"\n[network]\nmode = \"none\"\n",
    );
    test.args(["profile", "trust"]).any_stdout().run();
    test.sh(script).run();
    share(&test, "home_cache = [\"pip\"]");
    test.sh("cat ~/.cache/pip/wheel; ls ~/.cargo/registry 2>/dev/null").stdout("wheel\n").status(2).run();
    assert_eq!(fs::read_to_string(test.home().join(".cache/devbox/packages/pip/.cache-pip/wheel")).unwrap(), "wheel\n");
    assert!(!test.home().join(".cache/pip").exists() && !test.home().join(".cargo").exists());
    // Without the share it is gone, and so is what it was mounted on.
    share(&test, "home_cache = []");
    test.sh("ls ~/.cache/pip").any_stderr().status(2).run();
}

#[test]
fn the_docker_logins_can_be_read_only() {
    require!(Userns, Overlay);
    let test = sharing("docker_config = true");
    fs::create_dir(test.home().join(".docker")).unwrap();
    fs::write(test.home().join(".docker/config.json"), "{}").unwrap();
    test.sh("cat ~/.docker/config.json; echo x 2>/dev/null > ~/.docker/config.json || echo kept")
        .stdout("{}kept\n")
        .any_stderr()
        .run();
    assert_eq!(fs::read_to_string(test.home().join(".docker/config.json")).unwrap(), "{}");
}
