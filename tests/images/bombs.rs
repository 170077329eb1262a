//! Images that want to become too much: refused soon, in little memory, and nothing is left of them.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use super::registry::{User, push, reference};
use crate::require;
use crate::support::devbox::Devbox;
use crate::support::registry::Registry;

/// An archive of one file, with so many MiB of zeros behind its end: they are read, but not written.
fn bomb(size_mib: usize) -> Vec<u8> {
    let mut header = [0_u8; 512];
    header[..1].copy_from_slice(b"x");
    header[100..107].copy_from_slice(b"0000644");
    header[124..135].copy_from_slice(b"00000000000");
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("an encoder");
    encoder.write_all(&header).expect("memory");
    for _ in 0..size_mib {
        encoder.write_all(&vec![0; 1 << 20]).expect("memory");
    }
    encoder.finish().expect("memory")
}

#[test]
fn a_bomb_is_refused_and_nothing_stays() {
    require!(Program("docker-registry"), Program("prlimit"));
    let (registry, user, mut test) = (Registry::start(), User::new(), Devbox::new());
    let image = reference(&registry.name(), "bomb:1");
    push(&user.client(), &image, &bomb(1300));
    let settings = test.home().join(".config/devbox/config.toml");
    fs::create_dir_all(settings.parent().expect("a directory")).expect("a directory");
    for (text, expected) in [
        ("", "it becomes more than 200 times as large when decompressed (`images.max_ratio` in `config.toml`)"),
        (
            "[images]\nmax_layer_gib = 1\nmax_ratio = 1000000\n",
            "it has more than 1073741824 bytes (`images.max_layer_gib` in `config.toml`)",
        ),
    ] {
        fs::write(&settings, text).expect("a file");
        test.env("MALLOC_ARENA_MAX", "2");
        let pull = test.command(["image", "pull", &image.to_string()]);
        // Of address space, of which all that is used is a part.
        let mut command = Command::new("prlimit");
        command.arg("--as=268435456").arg(pull.get_program()).args(pull.get_args()).env_clear();
        command.envs(pull.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = command.stdin(Stdio::null()).output().expect("a process");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(expected) && output.status.code() == Some(1), "{said}");
        for name in ["images", "layers", "tmp"] {
            let left: Vec<_> = fs::read_dir(test.data().join("store").join(name)).into_iter().flatten().collect();
            assert!(left.iter().all(|entry| entry.as_ref().is_ok_and(|entry| entry.file_name() == "lock")), "{left:?}");
        }
    }
}
