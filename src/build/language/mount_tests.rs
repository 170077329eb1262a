//! The options of `RUN --mount=` as Docker's reference lists them.

use super::*;

fn mount(options: &str) -> Result<Mount, String> {
    let file = parse("f", &format!("FROM a\nRUN --mount={options} true")).map_err(|error| error.to_string())?;
    let step = &file.stages[0].steps[0];
    let Instruction::Run(run) = &step.instruction else { panic!("a run") };
    run.mounts[0].resolve(&step.source, |word| Ok(word.text.clone())).map_err(|error| error.to_string())
}

#[test]
fn reads_each_type() {
    let text = str::to_owned;
    let bind = |from: Option<&str>, source: &str, target: &str, is_writable| Mount::Bind {
        from: from.map(text),
        source: source.to_owned(),
        target: target.to_owned(),
        is_writable,
    };
    let cache = |target: &str, is_read_only| Mount::Cache {
        id: None,
        target: target.to_owned(),
        sharing: Sharing::Shared,
        from: None,
        source: String::new(),
        is_read_only,
        owner: MountOwner::default(),
    };
    let secret = |id: &str, target: Option<&str>, env: Option<&str>, is_required| Mount::Secret {
        id: id.to_owned(),
        target: target.map(text),
        env: env.map(text),
        is_required,
        owner: MountOwner::default(),
    };
    for (options, expected) in [
        ("target=/a", bind(None, "", "/a", false)),
        ("type=bind,from=b,source=c,dst=/a,rw", bind(Some("b"), "c", "/a", true)),
        ("TYPE=BIND,src=c,destination=/a,ro=false", bind(None, "c", "/a", true)),
        ("from=b", bind(Some("b"), "", ".", false)),
        ("'\"target=/a,b\"'", bind(None, "", "/a,b", false)),
        ("type=cache,target=/a", cache("/a", false)),
        ("type=cache,target=/a,readonly", cache("/a", true)),
        ("target=/a,type=tmpfs,size=64m", Mount::Tmpfs { target: text("/a"), size_bytes: Some(64 << 20) }),
        ("type=tmpfs,target=/a,size=1.5kb", Mount::Tmpfs { target: text("/a"), size_bytes: Some(1536) }),
        ("type=secret,id=a", secret("a", Some("/run/secrets/a"), None, false)),
        ("type=secret,id=d/a", secret("d/a", Some("/run/secrets/a"), None, false)),
        ("type=secret,target=/x/a,required", secret("a", Some("/x/a"), None, true)),
        ("type=secret,id=a,env=E", secret("a", None, Some("E"), false)),
        ("type=secret,id=a,env=E,target=/t,required=0", secret("a", Some("/t"), Some("E"), false)),
        ("type=secret,source=a", secret("a", Some("/run/secrets/a"), None, false)),
        (
            "type=ssh,mode=600,uid=1,gid=2",
            Mount::Ssh {
                id: text("default"),
                target: None,
                is_required: false,
                owner: MountOwner { uid: Some(1), gid: Some(2), mode: Some(0o600) },
            },
        ),
    ] {
        assert_eq!(mount(options), Ok(expected), "{options}");
    }
}

#[test]
fn refuses_what_does_not_belong_together() {
    for (options, expected) in [
        ("type=bind,size=1", "f:2:23: a mount of type `bind` has no `size`"),
        ("type=bind,uid=1", "f:2:23: a mount of type `bind` has no `mode`, `uid` or `gid`"),
        ("type=tmpfs,sharing=locked", "f:2:24: a mount of type `tmpfs` has no `sharing`"),
        ("type=cache,required", "f:2:24: a mount of type `cache` has no `required`"),
        ("type=secret,id=a,from=b", "f:2:13: a mount of type `secret` has no `from`"),
        ("type=secret", "f:2:13: a secret needs an `id`"),
        ("type=secret,id=a,src=b", "f:2:13: a secret has either `id` or `source`"),
        ("type=cache,mode=9", "f:2:29: `9` is not an octal mode like `0755`"),
        ("type=tmpfs,size=big", "f:2:29: `big` is not a size like `64m`"),
        ("target", "f:2:13: `target` needs a value"),
        ("ro=maybe", "f:2:16: `maybe` is not `true` or `false`"),
        ("from=$x", "f:2:18: variables are not expanded in `from`"),
        ("sharing=shard,type=cache", "f:2:21: unknown value `shard` (did you mean `shared`?)"),
    ] {
        assert_eq!(mount(options).expect_err(options), expected);
    }
}

#[test]
fn knows_where_files_come_from() {
    let file = parse("f", "FROM a\nRUN --mount=from=b,target=/$x --mount=type=cache,target=/c true").expect("a file");
    let Instruction::Run(run) = &file.stages[0].steps[0].instruction else { panic!("a run") };
    let from: Vec<_> = run.mounts.iter().map(|mount| mount.from().map(|word| word.text.as_str())).collect();
    assert_eq!(from, [Some("b"), None]);
}
