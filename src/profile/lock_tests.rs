use super::*;

fn lock(base: LockedBase, packages: &[&str], versions: &[(&str, &str)]) -> Lock {
    Lock {
        base,
        packages: packages.iter().map(|name| (*name).to_owned()).collect(),
        versions: versions.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect(),
    }
}

#[test]
fn text_and_back() {
    let digest = Digest::of_bytes(b"x");
    for base in [
        LockedBase::Host,
        LockedBase::Directory { path: "./root".into() },
        LockedBase::Archive { path: "/srv/\"odd\"\n.tar".into(), digest: digest.clone() },
        LockedBase::Image { name: "localhost:5000/a:1".parse().unwrap(), digest: digest.clone() },
        LockedBase::Build(BuildInputs {
            images: [("debian:bookworm".to_owned(), digest.clone())].into(),
            files: [("https://x/y?z=\"1\"".to_owned(), digest.clone())].into(),
            commits: [("https://x/y.git#main".to_owned(), "0a".repeat(20))].into(),
        }),
        LockedBase::Build(BuildInputs::default()),
        LockedBase::Distro { name: "debian:bookworm".into(), packages: digest },
    ] {
        for (packages, versions) in
            [(&[][..], &[][..]), (&["b", "a", "libc6:i386"], &[("libc6:i386", "2.36-9"), ("a", "1:2~rc1+b1")])]
        {
            let lock = lock(base.clone(), packages, versions);
            let text = render(&lock);
            assert_eq!(parse(&text, Path::new(LOCK_FILE)).unwrap(), lock, "{text}");
            assert_eq!(render(&parse(&text, Path::new(LOCK_FILE)).unwrap()), text);
        }
    }
}

#[test]
fn one_entry_a_line() {
    let lock = lock(LockedBase::Host, &["git", "a"], &[("perl", "5"), ("git", "1:2")]);
    let expected = "# Written by `devbox lock`. It belongs beside devbox.toml, and under version control.\n\
        version = 1\npackages = [\n    \"a\",\n    \"git\",\n]\n\n[base]\nhost = true\n\n[versions]\n\
        \"git\" = \"1:2\"\n\"perl\" = \"5\"\n";
    assert_eq!(render(&lock), expected);
}

#[test]
fn what_is_refused_has_a_line() {
    for (text, expected) in [
        ("", "1:1: missing key `version`"),
        ("version = 1\n", "1:1: missing key `base`"),
        ("# x\nversion = 2\nnew = 1\n", "2:11: lock format 2 is not known here"),
        ("version = 1\n[base]\nhost = true\nx = 1\n", "4:1: unknown key `x`"),
        ("version = 1\nextra = 1\n[base]\nhost = true\n", "2:1: unknown key `extra`"),
        ("version = 1\n[base]\nhost = false\n", "2:1: this does not pin one base"),
        ("version = 1\n[base]\ndistro = \"debian:x\"\n", "2:1: this does not pin one base"),
        ("version = 1\n[base]\nrootfs = \"x\"\ndigest = \"sha256:12\"\n", "4:10: "),
        ("version = 1\n[base]\nhost = true\n[versions]\n\"-y\" = \"1\"\n", "5:1: this is not the name of a package"),
        ("version = 1\n[base]\nhost = true\n[versions]\na = \"1\\nPin: x\"\n", "5:5: this is not the version"),
        ("version = 1\n[base]\nhost = true\n[versions]\na = \"1;id\"\n", "5:5: this is not the version of a package"),
        ("version = 1\npackages = [\n\"a b\"]\n[base]\nhost = true\n", "3:1: this is not the name of a package"),
        ("version = 1\n[base.files]\n", "2:2: this does not pin one base"),
        ("version = 1\n[base.build]\n[base.commits]\nx = \"--upload-pack=id\"\n", "2:2: `x` is not pinned by a commit"),
        ("<<<<<<< HEAD\nversion = 1\n", "1:"),
    ] {
        let shown = parse(text, Path::new("f")).unwrap_err().to_string();
        assert!(shown.starts_with(&format!("f:{expected}")), "{text}: {shown}");
    }
}

#[test]
fn a_base_is_known_again() {
    let project = Path::new("/home/me/shop");
    let archive = LockedBase::Archive { path: "./root.tar".into(), digest: Digest::of_bytes(b"") };
    assert!(archive.is_of(&BaseSpec::Archive(project.join("root.tar")), project));
    assert!(!archive.is_of(&BaseSpec::Archive("/srv/root.tar".into()), project));
    assert!(!archive.is_of(&BaseSpec::Host, project));
    assert!(LockedBase::Host.is_of(&BaseSpec::Host, project));
    let directory = LockedBase::Directory { path: "/srv/root".into() };
    assert!(directory.is_of(&BaseSpec::Directory("/srv/root".into()), project));
}

#[test]
fn an_image_is_pinned() {
    let name: Reference = "debian".parse().unwrap();
    let digest = Digest::of_bytes(b"");
    let locked = LockedBase::Image { name: name.clone(), digest: digest.clone() };
    let base = BaseSpec::Image(name);
    assert!(locked.is_of(&base, Path::new("/p")));
    let BaseSpec::Image(pinned) = locked.pinned(&base) else { panic!("another base") };
    assert_eq!(pinned.to_string(), format!("docker.io/library/debian:latest@{digest}"));
    assert_eq!(LockedBase::Host.pinned(&BaseSpec::Host), BaseSpec::Host);
}

#[test]
fn tells_what_differs() {
    let old = lock(LockedBase::Host, &["a", "b"], &[("a", "1"), ("b", "1"), ("lib", "1")]);
    let new = lock(LockedBase::Directory { path: "./r".into() }, &["a", "c"], &[("a", "2"), ("c", "1"), ("lib", "1")]);
    assert_eq!(
        differences(&old, &new),
        [
            "base: the host -> ./r",
            "b: is not in the profile",
            "c: is not in the lock file",
            "a: 1 -> 2",
            "b: 1 -> none",
            "c: none -> 1",
        ]
    );
    assert!(differences(&old, &old).is_empty());
}
