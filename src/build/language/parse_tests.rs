//! What Docker's reference says of each instruction, and where mistakes are shown.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::profile::Diagnostic;

fn steps(text: &str) -> Vec<Instruction> {
    let file = parse("Containerfile", &format!("FROM a\n{text}")).unwrap_or_else(|error| panic!("{text}: {error}"));
    file.stages[0].steps.iter().map(|step| step.instruction.clone()).collect()
}

fn step(text: &str) -> Instruction {
    let [step] = steps(text).try_into().expect("one step");
    step
}

fn refusal(text: &str) -> Box<Diagnostic> {
    parse("Containerfile", text).err().unwrap_or_else(|| panic!("not refused: {text}"))
}

fn texts(words: &[Word]) -> Vec<&str> {
    words.iter().map(|word| word.text.as_str()).collect()
}

fn shell(text: &str) -> Command {
    Command::Shell(text.to_owned())
}

fn exec(words: &[&str]) -> Command {
    Command::Exec(words.iter().map(|word| (*word).to_owned()).collect())
}

fn run(text: &str) -> RunCommand {
    match step(text) {
        Instruction::Run(run) => run.command,
        other => panic!("{other:?}"),
    }
}

#[test]
fn reads_stages() {
    let text = "# syntax=docker/dockerfile:1\n# check=skip=all\nARG a=1 b\nARG c\nfrom x\nRUN 1\nFROM --platform=$P y:$a aS Build-2.x\n";
    let file = parse("Containerfile", text).expect("a file");
    let directive = |word: Option<Word>| word.map(|word| word.text);
    assert_eq!(directive(file.directives.syntax).as_deref(), Some("docker/dockerfile:1"));
    assert_eq!(directive(file.directives.check).as_deref(), Some("skip=all"));
    let arguments: Vec<_> = file
        .arguments
        .iter()
        .map(|argument| (argument.name.text.as_str(), argument.value.as_ref().map(|value| value.text.as_str())))
        .collect();
    assert_eq!(arguments, [("a", Some("1")), ("b", None), ("c", None)]);
    let [first, second] = file.stages.as_slice() else { panic!("two stages") };
    assert_eq!((first.base.text.as_str(), &first.name, &first.platform), ("x", &None, &None));
    assert_eq!(first.steps.len(), 1);
    assert_eq!(second.base.text, "y:$a");
    assert_eq!(second.name.as_ref().map(|name| name.text.as_str()), Some("build-2.x"));
    assert_eq!(second.platform.as_ref().map(|platform| platform.text.as_str()), Some("$P"));
    assert_eq!(second.text, "FROM --platform=$P y:$a aS Build-2.x");
    assert_eq!(&text[second.base.span.clone()], "y:$a");
}

#[test]
fn reads_command_forms() {
    for (text, expected) in [
        (r#"CMD ["a", "b c"]"#, exec(&["a", "b c"])),
        ("CMD a  'b' $c", shell("a  'b' $c")),
        ("CMD ['a']", shell("['a']")),
        ("CMD []", exec(&[])),
        ("CMD", shell("")),
        ("cmd a \\\n  && b", shell("a   && b")),
        (r#"CMD [ "a" ] && b"#, shell(r#"[ "a" ] && b"#)),
    ] {
        assert_eq!(step(text), Instruction::Cmd(expected.clone()), "{text}");
        assert_eq!(
            step(&text.replace("CMD", "ENTRYPOINT").replace("cmd", "entrypoint")),
            Instruction::Entrypoint(expected)
        );
    }
    assert_eq!(step(r#"SHELL ["/bin/bash", "-c"]"#), Instruction::Shell(vec!["/bin/bash".into(), "-c".into()]));
}

#[test]
fn reads_pairs() {
    for (text, expected) in [
        ("ENV a=b", vec![("a", "b")]),
        ("ENV a b  c = d ", vec![("a", "b  c = d")]),
        (r#"ENV a="b c" d=e\ f g='h i'"#, vec![("a", r#""b c""#), ("d", r"e\ f"), ("g", "'h i'")]),
        ("ENV a= b=c=d", vec![("a", ""), ("b", "c=d")]),
        ("ENV a=b \\\n    # comment\n    c=d", vec![("a", "b"), ("c", "d")]),
        ("LABEL \"a b\"=c", vec![("\"a b\"", "c")]),
        ("LABEL a \"b c\"", vec![("a", "\"b c\"")]),
    ] {
        let (Instruction::Env(pairs) | Instruction::Label(pairs)) = step(text) else { panic!("{text}") };
        let pairs: Vec<_> = pairs.iter().map(|pair| (pair.key.text.as_str(), pair.value.text.as_str())).collect();
        assert_eq!(pairs, expected, "{text}");
    }
}

#[test]
fn reads_copies() {
    let Instruction::Copy(copy) =
        step("COPY --from=b --chown=1:2 --chmod=u=rwX,go= --link --parents --exclude=*.o --exclude='a b' x y/* /d/")
    else {
        panic!("a copy")
    };
    let text = |word: &Option<Word>| word.as_ref().map(|word| word.text.clone()).unwrap_or_default();
    assert_eq!(text(&copy.from), "b");
    assert_eq!((text(&copy.files.chown), text(&copy.files.chmod)), ("1:2".into(), "u=rwX,go=".into()));
    assert!(copy.files.link && copy.parents);
    assert_eq!(texts(&copy.files.exclude), ["*.o", "a b"]);
    let Instruction::Add(add) = step(r#"ADD --checksum=sha256:1 --keep-git-dir=false --link=FALSE ["a b", "c"]"#)
    else {
        panic!("an add")
    };
    assert_eq!(text(&add.checksum), "sha256:1");
    assert_eq!((add.keep_git_dir, add.unpack, add.files.link), (Some(false), None, false));
    assert!(matches!(&add.files.sources[..], [FileSource::Path(path)] if path.text == "a b"));
    assert_eq!(add.files.destination.text, "c");
}

#[test]
fn reads_simple_words() {
    let word = |instruction: Instruction| match instruction {
        Instruction::User(word) | Instruction::Workdir(word) | Instruction::Stopsignal(word) => word.text,
        Instruction::Maintainer(word) => word.text,
        other => panic!("{other:?}"),
    };
    for (text, expected) in [
        ("USER $u:g", "$u:g"),
        ("WORKDIR  /a b ", "/a b"),
        ("STOPSIGNAL SIGTERM", "SIGTERM"),
        ("MAINTAINER A <a@b>", "A <a@b>"),
    ] {
        assert_eq!(word(step(text)), expected);
    }
    let words = |instruction: Instruction| match instruction {
        Instruction::Expose(words) | Instruction::Volume(words) => words,
        other => panic!("{other:?}"),
    };
    for (text, expected) in [
        ("EXPOSE 80 443/tcp\t7000-8000/udp $p", vec!["80", "443/tcp", "7000-8000/udp", "$p"]),
        ("VOLUME /a /b", vec!["/a", "/b"]),
        (r#"VOLUME ["/a b", " /c "]"#, vec!["/a b", "/c"]),
    ] {
        assert_eq!(texts(&words(step(text))), expected);
    }
}

#[test]
fn reads_healthchecks() {
    assert_eq!(step("HEALTHCHECK NONE"), Instruction::Healthcheck(Healthcheck::None));
    let check = |command| Healthcheck::Check {
        command,
        interval: None,
        timeout: None,
        start_period: None,
        start_interval: None,
        retries: 0,
    };
    assert_eq!(step("HEALTHCHECK cmd a || b"), Instruction::Healthcheck(check(shell("a || b"))));
    assert_eq!(
        step("HEALTHCHECK --interval=5m --timeout=3s --start-period=0 --start-interval=1.5s --retries=3 CMD [\"a\"]"),
        Instruction::Healthcheck(Healthcheck::Check {
            command: exec(&["a"]),
            interval: Some(Duration::from_secs(300)),
            timeout: Some(Duration::from_secs(3)),
            start_period: None,
            start_interval: Some(Duration::from_millis(1500)),
            retries: 3,
        })
    );
}

#[test]
fn reads_heredocs_of_run() {
    for (text, expected) in [
        ("RUN cat <<EOF > /x\n a $b\nEOF", shell("cat <<EOF > /x\n a $b\nEOF")),
        ("RUN cat <<A && cat <<-'B'\na\nA\n\tb\n\tB", shell("cat <<A && cat <<-'B'\na\nA\n\tb\nB")),
        ("RUN <<A <<B\na\nA\nb\nB", shell("<<A <<B\na\nA\nb\nB")),
        ("RUN echo \"<<EOF\"", shell("echo \"<<EOF\"")),
        ("RUN cat <<<word", shell("cat <<<word")),
        ("RUN [\"a\", \"<<EOF\"]", exec(&["a", "<<EOF"])),
        ("RUN a 3<<EOF\nb\nEOF", shell("a 3<<EOF\nb\nEOF")),
    ] {
        assert_eq!(run(text), RunCommand::Command(expected), "{text}");
    }
    for (text, name, content, expand) in [
        ("RUN <<EOF\nset -e\n\n# kept\\\nb\nEOF", "EOF", "set -e\n\n# kept\\\nb\n", true),
        ("RUN --network=none <<-'E F'\n\ta\n\t\tb\n\tE F", "E F", "a\nb\n", false),
        ("RUN <<\"EOF\"\r\na\r\nEOF\r\n", "EOF", "a\r\n", false),
        ("RUN << EOF\nEOF", "EOF", "", true),
    ] {
        let RunCommand::Script(heredoc) = run(text) else { panic!("{text}") };
        assert_eq!(
            (heredoc.name.as_str(), heredoc.content.as_str(), heredoc.expand),
            (name, content, expand),
            "{text}"
        );
    }
    assert_eq!(steps("RUN <<EOF\nRUN no\nEOF\nRUN yes").len(), 2);
}

#[test]
fn reads_heredocs_of_copy() {
    let Instruction::Copy(copy) = step("COPY <<a.txt x <<-\"b\" /d/\n1 $v\na.txt\n\t2\nb") else { panic!("a copy") };
    let shown: Vec<_> = copy
        .files
        .sources
        .iter()
        .map(|source| match source {
            FileSource::Path(word) => (word.text.as_str(), None),
            FileSource::Heredoc(heredoc) => (heredoc.name.as_str(), Some((heredoc.content.as_str(), heredoc.expand))),
        })
        .collect();
    assert_eq!(shown, [("a.txt", Some(("1 $v\n", true))), ("x", None), ("b", Some(("2\n", false)))]);
    assert_eq!(copy.files.destination.text, "/d/");
}

#[test]
fn reads_triggers() {
    for (text, expected) in [
        ("ONBUILD RUN a \\\n b", "RUN a  b"),
        ("onbuild  copy --chown=1 a b", "copy --chown=1 a b"),
        ("ONBUILD RUN <<EOF\na\nEOF", "RUN <<EOF\na\nEOF"),
    ] {
        let Instruction::Onbuild(onbuild) = step(text) else { panic!("{text}") };
        assert_eq!(onbuild.text, expected);
        let trigger = parse_trigger("image", &onbuild.text).expect("a trigger");
        assert_eq!(trigger.instruction.keyword(), self::step(&onbuild.text).keyword());
    }
    for (text, expected) in [
        ("FROM a", "<ONBUILD of i>:1:1: `FROM` cannot be a trigger"),
        ("ONBUILD RUN a", "<ONBUILD of i>:1:1: `ONBUILD` cannot be a trigger"),
        ("RUN a\nRUN b", "<ONBUILD of i>:2:1: a trigger is one instruction"),
        ("", "<ONBUILD of i>:1:1: there is no instruction"),
    ] {
        assert_eq!(parse_trigger("i", text).expect_err(text).to_string(), expected);
    }
}

#[test]
fn points_at_mistakes() {
    for (text, expected) in [
        ("", "1:1: there is no `FROM`"),
        ("# only\n", "2:1: there is no `FROM`"),
        ("RUN a\n", "1:1: `RUN` stands before the first `FROM` (no stage has begun here)"),
        ("FROM a\n  RUNN b", "2:3: unknown instruction `RUNN` (did you mean `RUN`?)"),
        ("FROM a\nCOYP a b", "2:1: unknown instruction `COYP` (did you mean `COPY`?)"),
        ("FROM", "1:1: `FROM` names no image"),
        ("FROM a b", "1:8: `FROM` has words too many"),
        ("FROM a AS 1x", "1:11: `1x` cannot name a stage"),
        ("FROM --platfrom=x a", "1:6: `FROM` has no flag `--platfrom` (did you mean `--platform`?)"),
        ("FROM a\nCOPY x", "2:1: `COPY` needs a source and a destination"),
        ("FROM a\nCOPY --form=x y z", "2:6: `COPY` has no flag `--form` (did you mean `--from`?)"),
        ("FROM a\nCOPY --from=$x y z", "2:13: variables are not expanded in `--from`"),
        ("FROM a\nCOPY --link=maybe y z", "2:13: unknown value `maybe`"),
        ("FROM a\nCOPY --chown=a --chown=b y z", "2:16: `--chown` is given twice"),
        ("FROM a\nCOPY --chown y z", "2:6: `--chown` needs a value"),
        ("FROM a\nCOPY a <<EOF\nEOF", "2:8: a heredoc cannot be the destination"),
        ("FROM a\nCMD [\"a\", 1]", "2:5: the array holds something else than strings"),
        ("FROM a\nENV a", "2:5: `a` has no value"),
        ("FROM a\nENV a=b \\\n  c", "3:3: there is no `=` in `c`"),
        ("FROM a\nENV =b", "2:5: a value without a name"),
        ("FROM a\nENV", "2:1: `ENV` needs `name=value`"),
        ("FROM a\nARG =b", "2:5: an argument without a name"),
        ("FROM a\nRUN", "2:1: `RUN` needs a command"),
        ("FROM a\nRUN cat <<EOF\nb", "2:9: no line `EOF` ends this heredoc"),
        ("FROM a\nRUN --network=hots b", "2:15: unknown value `hots` (did you mean `host`?)"),
        ("FROM a\nSHELL bash", "2:7: this is not a JSON array of strings"),
        ("FROM a\nONBUILD FROM b", "2:9: `FROM` cannot be a trigger"),
        ("FROM a\nONBUILD RAN b", "2:9: unknown instruction `RAN` (did you mean `RUN`?)"),
        ("FROM a\nONBUILD COPY b", "2:9: `COPY` needs a source and a destination"),
        ("FROM a\nHEALTHCHECK --interval=5 CMD b", "2:24: `5` is not a duration"),
        ("FROM a\nHEALTHCHECK CMD", "2:13: there is no command after `CMD`"),
        ("FROM a\nHEALTHCHECK NONE x", "2:18: nothing follows `NONE`"),
        ("FROM a\nHEALTHCHECK --retries=-1 CMD b", "2:23: `-1` is not a number of retries"),
        ("FROM a\nVOLUME [\"\"]", "2:8: the path of a volume is empty"),
        ("FROM a\nRUN --mount=tpye=cache b", "2:13: unknown option `tpye` of a mount (did you mean `type`?)"),
        ("FROM a\nRUN --mount=type=cahce b", "2:18: unknown value `cahce` (did you mean `cache`?)"),
        ("FROM a\nUSER", "2:1: `USER` needs a user"),
    ] {
        assert_eq!(refusal(text).to_string(), format!("Containerfile:{expected}"), "{text:?}");
    }
}

#[test]
fn draws_the_line() {
    let report = refusal("FROM a\nRUN true \\\n  && true\nCOPY --form=b x y\n").render(false);
    let expected = "\
error: `COPY` has no flag `--form`
 --> Containerfile:4:6
  |
4 | COPY --form=b x y
  |      ^^^^^^^^ did you mean `--from`?";
    assert_eq!(report, expected);
}

proptest! {
    #[test]
    fn never_panics(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "\n", "\r\n", " ", "\t", "\\\n", "\\", "`", "# escape=`\n", "# c\n", "FROM a", "\nRUN ", "\nCOPY ", "\nENV ", "\nARG ",
            "\nONBUILD ", "\nLABEL ", "\nHEALTHCHECK ", "\nVOLUME ", "--mount=", "--from=", "type=cache,", "id=", "<<A", "<<-\"B\"",
            "\nA\n", "\n\tB\n", "[\"a\"]", "[", "$a", "${a", "}", "=", "\"", "'", "a", "\u{e4}", "\u{feff}",
        ]), 0..24),
    ) {
        let text = pieces.concat();
        match parse("Containerfile", &text) {
            Ok(file) => for step in file.stages.iter().flat_map(|stage| &stage.steps) {
                prop_assert!(text.get(step.span.clone()).is_some());
            },
            Err(error) => prop_assert!(!error.render(false).is_empty()),
        }
    }
}
