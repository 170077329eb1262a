//! Tools of the box on the host: shims, the view of a box's files, and a real editor with a real language server.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::require;
use crate::support;
use crate::support::devbox::Devbox;
use crate::support::processes;

/// A project with shims in `[TEST]/bin`.
fn with_shims(names: &[&str]) -> Devbox {
    let test = Devbox::host();
    let directory = test.path("bin");
    let head = ["shim", "add", "--dir", directory.to_str().unwrap()];
    test.args(head.iter().chain(names)).any_stderr().run();
    test
}

/// A shim as a command in the project's folder, with the environment of the test.
fn shim(test: &Devbox, name: &str) -> Command {
    let like = test.command([] as [&str; 0]);
    let mut command = Command::new(test.path("bin").join(name));
    command.env_clear().envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(test.project()).stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn shims_run_tools_in_the_box_of_the_folder() {
    require!(Userns, Overlay);
    let test = with_shims(&["sh", "cat"]);
    fs::create_dir(test.project().join("below")).unwrap();
    let script = "echo out; echo err >&2; pwd; echo $container; exit 7";
    let output = shim(&test, "sh").args(["-c", script]).current_dir(test.project().join("below")).output().unwrap();
    let folder = test.project().canonicalize().unwrap().join("below");
    assert_eq!(text(&output.stdout), format!("out\n{}\ndevbox\n", folder.display()));
    assert_eq!((text(&output.stderr).as_str(), output.status.code()), ("err\n", Some(7)));

    let output = shim(&test, "sh").args(["-c", "kill -TERM $$"]).output().unwrap();
    assert_eq!(output.status.code(), Some(128 + 15));

    fs::write(test.path("data"), b"a\0b\xff\n").unwrap();
    let output = shim(&test, "cat").stdin(fs::File::open(test.path("data")).unwrap()).output().unwrap();
    assert_eq!(output.stdout, b"a\0b\xff\n");
    // A box that never sees the host's directory of shims has none in its way; one that is called in a box gives way.
    let output = shim(&test, "sh").args(["-c", "echo $0"]).env("container", "devbox").output().unwrap();
    assert_eq!(text(&output.stdout), "/usr/bin/sh\n", "{}", text(&output.stderr));
}

#[test]
fn shims_say_where_they_work() {
    require!(Userns, Overlay);
    let test = with_shims(&["sh", "nothing-of-this-name"]);
    let outside = test.path("outside");
    fs::create_dir(&outside).unwrap();
    let output = shim(&test, "sh").args(["-c", "true"]).current_dir(&outside).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    let folder = outside.canonicalize().unwrap();
    assert_eq!(
        text(&output.stderr),
        format!(
            "error: `sh` runs in the box of a project, and `{}` is in none\n\
             hint: `devbox init` makes this folder a project\n\
             hint: `/usr/bin/sh` is the host's own\n",
            folder.display()
        )
    );
    let output = shim(&test, "nothing-of-this-name").output().unwrap();
    assert_eq!(output.status.code(), Some(127), "{}", text(&output.stderr));
}

#[test]
fn a_running_box_can_be_looked_into() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    test.sh("echo of the box > /usr/include/only-here.h").any_stderr().run();
    // A box that is just ending can still be looked into.
    assert!(processes::wait_until_none(&test.path("")).is_empty());
    test.args(["root"])
        .status(1)
        .stderr(
            "error: the box does not run\n\
             hint: `devbox run --keep -- true` starts it, and leaves it running until `devbox stop`\n",
        )
        .run();
    test.args(["run", "--keep", "--", "true"]).run();
    let tree = PathBuf::from(test.args(["root"]).any_stdout().run().stdout.trim().replace("[TEST]", &own(&test)));
    let header = test.args(["root", "/usr/include/only-here.h"]).any_stdout().run().stdout;
    let header = PathBuf::from(header.trim().replace("[TEST]", &own(&test)));
    assert_eq!(header, tree.join("usr/include/only-here.h"));
    assert_eq!(fs::read_to_string(&header).unwrap(), "of the box\n");
    // Through the box's mounts, too, and not only what it changed itself.
    assert!(tree.join("usr/bin/env").exists());
    assert!(tree.join(test.project().strip_prefix("/").unwrap()).join("devbox.toml").exists());
    // The box does not know who shows it.
    // Processes may end while they are listed.
    let look = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep 'devbox: windo[w]' || echo none";
    test.sh(look).stdout("none\n").run();
    test.args(["stop"]).any_stdout().any_stderr().run();
    assert!(!header.exists() && fs::symlink_metadata(&tree).is_err());
}

fn own(test: &Devbox) -> String {
    test.path("x").parent().map(Path::to_string_lossy).unwrap().into_owned()
}

/// Prints what an editor shows, and ends.
const EDIT: &str = r#"
local id = vim.lsp.start_client({ cmd = { arg_server }, root_dir = vim.fn.getcwd() })
vim.lsp.buf_attach_client(0, id)
vim.wait(patience_ms, function() return #vim.diagnostic.get(0) > 0 end, 20)
local diagnostic = vim.diagnostic.get(0)[1] or {}
io.stdout:write(tostring(diagnostic.lnum), ": ", tostring(diagnostic.message), "\n")
vim.api.nvim_win_set_cursor(0, { 4, 10 })
vim.lsp.buf.definition()
vim.wait(patience_ms, function() return vim.api.nvim_buf_get_name(0):match("only%-here.h") ~= nil end, 20)
io.stdout:write(table.concat(vim.api.nvim_buf_get_lines(0, 0, -1, false), "\n"), "\n")
vim.cmd("qa!")
"#;

#[test]
fn neovim_finds_the_definition_in_a_header_of_the_box() {
    require!(Userns, Overlay, Program("nvim"), Program("clangd"));
    let test = with_shims(&["clangd"]);
    test.sh("echo 'int only_here(void);' > /usr/include/only-here.h").any_stderr().run();
    test.file("main.c", "#include <only-here.h>\nint main(void) {\n  undefined_thing;\n  return only_here();\n}\n");
    let server = test.path("bin/clangd");
    let server = format!("local arg_server, patience_ms = '{}', {}\n", server.display(), support::PATIENCE.as_millis());
    fs::write(test.path("edit.lua"), server + EDIT).unwrap();
    let like = shim(&test, "clangd");
    let mut editor = Command::new("nvim");
    editor.args(["--headless", "--clean", "main.c", "-c"]);
    editor.arg(format!("luafile {}", test.path("edit.lua").display()));
    editor.env_clear().envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = editor.current_dir(test.project()).stdin(Stdio::null()).output().unwrap();
    let expected = "2: Use of undeclared identifier 'undefined_thing'\nint only_here(void);\n";
    assert_eq!(text(&output.stdout), expected, "{}", text(&output.stderr));
}

/// As [`EDIT`], for another client: whatever is said first, and the file that the definition is in.
const EDIT_IN_EMACS: &str = r#"
(package-initialize)
(require 'eglot)
(setq eglot-sync-connect t eglot-connect-timeout 400 eglot-autoshutdown t vc-handled-backends nil)
(find-file "main.c")
(eglot '(c-mode) (cons 'transient default-directory) 'eglot-lsp-server (list (getenv "SERVER")) "c")
(flymake-start)
(while (not (flymake-diagnostics)) (accept-process-output nil 1))
(princ (format "%s\n" (flymake-diagnostic-text (car (flymake-diagnostics)))))
(goto-char (point-min))
(search-forward "return only_here")
(backward-char)
(let ((found (car (xref-backend-definitions 'eglot (xref-backend-identifier-at-point 'eglot)))))
  (find-file (xref-location-group (xref-item-location found)))
  (princ (buffer-string)))
(eglot-shutdown-all)
"#;

#[test]
fn emacs_finds_the_definition_in_a_header_of_the_box() {
    require!(Userns, Overlay, Ordinary, Program("emacs"), Program("clangd"));
    let test = with_shims(&["clangd"]);
    test.sh("echo 'int only_here(void);' > /usr/include/only-here.h").any_stderr().run();
    test.file("main.c", "int undefined = thing;\n#include <only-here.h>\nint main(void) {\n  return only_here();\n}\n");
    fs::write(test.path("edit.el"), EDIT_IN_EMACS).unwrap();
    let like = shim(&test, "clangd");
    let mut editor = Command::new("timeout");
    editor.arg(support::PATIENCE.as_secs().to_string());
    editor.args(["emacs", "--batch", "-q", "-l"]).arg(test.path("edit.el"));
    editor.env_clear().envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
    editor.env("SERVER", test.path("bin/clangd"));
    let output = editor.current_dir(test.project()).stdin(Stdio::null()).output().unwrap();
    let expected = "clang [undeclared_var_use]: Use of undeclared identifier 'thing'\nint only_here(void);\n";
    assert_eq!(text(&output.stdout), expected, "{}", text(&output.stderr));
}
