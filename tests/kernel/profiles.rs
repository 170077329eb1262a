//! The shipped profiles: something small is really built with each, on the host base and on Debian.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use crate::require;
use crate::support::devbox::Devbox;

/// A profile, what to build with it, and what that prints last.
const BUILDS: [(&str, &str, &str); 8] = [
    ("base", "git init -q . && git status --porcelain | head -1; echo ready", "ready"),
    (
        "agent",
        // An address that its list does not name is refused at once.
        "[ ! -s .env ] && ! bash -c 'exec 3<>/dev/tcp/192.0.2.1/443' 2>error && grep -o 'Connection refused' error",
        "Connection refused",
    ),
    ("c", "printf 'int main(void){return 42;}' > a.c && gcc a.c -o a; ./a; echo $?", "42"),
    (
        "python",
        "python3 -m venv v && v/bin/pip install -q six && v/bin/python -c 'import six; print(six.__name__)'",
        "six",
    ),
    (
        "node",
        "npm init -y >&2 && npm install -s is-number >&2 && node -e 'console.log(require(\"is-number\")(3))'",
        "true",
    ),
    (
        "java",
        "printf 'class A{public static void main(String[] a){System.out.println(42);}}' > A.java && javac A.java && java A",
        "42",
    ),
    ("go", "printf 'package main\nimport \"fmt\"\nfunc main(){fmt.Println(7)}' > m.go && go run m.go", "7"),
    ("rust", "cargo init -q --vcs none --name x . && cargo run -q", "Hello, world!"),
];

fn build_with_each(base: &str) {
    let mut devbox = Devbox::new();
    // Many package managers ask for it; and what they print is not what is tested.
    devbox.env("LC_ALL", "C");
    for (profile, script, expected) in BUILDS {
        let folder = format!("{}-{profile}", devbox.project().file_name().unwrap().to_string_lossy());
        let project = devbox.path(&folder);
        std::fs::create_dir(&project).unwrap();
        std::fs::write(project.join("devbox.toml"), format!("extends = \"{profile}\"\n{base}\n")).unwrap();
        std::fs::write(project.join(".env"), "SECRET=1\n").unwrap();
        let output =
            devbox.args(["run", "--", "sh", "-c", script]).current_dir(&project).any_stdout().any_stderr().output();
        let last = output.stdout.lines().last().unwrap_or_default();
        assert_eq!(last, expected, "profile `{profile}`: {}\n{}", output.stdout, output.stderr);
        devbox.args(["rm", "--force"]).current_dir(&project).any_stderr().run();
    }
}

#[test]
fn each_profile_builds_on_the_host_base() {
    require!(Subuid, Mirror, DataOnly, Pasta);
    build_with_each("base = \"host\"");
}

#[test]
fn each_profile_builds_on_debian() {
    require!(Subuid, Mirror, Overlay, Pasta, Program("mmdebstrap"));
    build_with_each("distro = \"debian:bookworm\"");
}
