//! What each rule finds, and what it does not mind.

use super::*;
use crate::build::language::{parse, platform_arguments};
use crate::image::platform::Platform;

/// `RULE LINE:COLUMN` of everything that is found. Images that are called `known` have variables, others are unknown.
fn found(text: &str, given: &[(&str, &str)]) -> Vec<String> {
    let file = parse("Containerfile", text).expect(text);
    let predefined = platform_arguments(&Platform::linux("amd64", None), &Platform::linux("amd64", None), None);
    let given: BTreeMap<_, _> = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let checks = Checks::of(&file, given.get(CHECK_ARGUMENT).map(String::as_str)).expect(text);
    let globals = Arc::new(Globals::new(&file, given, predefined.clone()).expect(text));
    let environment = |name: &str| (name == "known").then(|| Environment::from_config(["PATH=/bin", "HOME=/"]));
    let is_ignored = |path: &Path| path.starts_with("hidden");
    let around = Surroundings { globals: &globals, predefined, environment: &environment, is_ignored: &is_ignored };
    let shown = |warning: &Warning| {
        let (line, column) = warning.diagnostic.position();
        format!("{} {line}:{column}", warning.rule.name())
    };
    lint(&file, &checks, &around).iter().map(shown).collect()
}

#[test]
fn each_rule_finds_what_it_is_for() {
    for (text, expected) in [
        ("FROM a AS Base\n", "StageNameCasing 1:11"),
        ("FROM a as base\n", "FromAsCasing 1:8"),
        ("from a AS base\n", "FromAsCasing 1:8"),
        ("FROM a\nrun x\nRUN y\n", "ConsistentInstructionCasing 2:1"),
        ("from a\nrun x\nRUN y\n", "ConsistentInstructionCasing 3:1"),
        ("FROM a\nRun x\n", "ConsistentInstructionCasing 2:1"),
        ("FROM a\nRUN x \\\n\n  y\n", "NoEmptyContinuation 3:1"),
        ("FROM a AS x\nFROM b AS x\n", "DuplicateStageName 2:11"),
        ("FROM a AS scratch\n", "ReservedStageName 1:11"),
        ("FROM a AS context\n", "ReservedStageName 1:11"),
        ("FROM a\nCMD x y\n", "JSONArgsRecommended 2:1"),
        ("FROM a\nENTRYPOINT x y\n", "JSONArgsRecommended 2:1"),
        ("FROM a\nCMD [\"x\"]\nRUN z\nCMD [\"y\"]\n", "MultipleInstructionsDisallowed 2:1"),
        ("FROM a\nHEALTHCHECK NONE\nHEALTHCHECK CMD x\n", "MultipleInstructionsDisallowed 2:1"),
        ("FROM a\nMAINTAINER me\n", "MaintainerDeprecated 2:1"),
        ("FROM a\nENV x y z\n", "LegacyKeyValueFormat 2:1"),
        ("FROM a\nLABEL x y\n", "LegacyKeyValueFormat 2:1"),
        ("FROM a\nWORKDIR x\n", "WorkdirRelativePath 2:9"),
        ("FROM a\nENV DB_PASSWORD=x\n", "SecretsUsedInArgOrEnv 2:5"),
        ("FROM a\nARG X=1 API_TOKEN\n", "SecretsUsedInArgOrEnv 2:9"),
        ("FROM known\nCOPY $sourc /\n", "UndefinedVar 2:6"),
        ("FROM known\nARG A=1\nENV B=${A}${C}\n", "UndefinedVar 3:7"),
        ("FROM scratch\nFROM known AS x\nENV Y=1\nFROM x\nLABEL z=$Y$Z\n", "UndefinedVar 5:9"),
        ("ARG V=1\nFROM a:1$W\n", "UndefinedArgInFrom 2:6"),
        ("ARG P\nFROM --platform=$Q a\n", "UndefinedArgInFrom 2:17"),
        ("ARG TAG\nFROM a:$TAG\n", "InvalidDefaultArgInFrom 2:6"),
        ("FROM --platform=linux/arm64 a\n", "FromPlatformFlagConstDisallowed 1:17"),
        ("FROM --platform=$TARGETPLATFORM a\n", "RedundantTargetPlatform 1:17"),
        ("FROM a\nEXPOSE 127.0.0.1:80:80\n", "ExposeInvalidFormat 2:8"),
        ("FROM a\nEXPOSE 80 53/UDP\n", "ExposeProtoCasing 2:11"),
        ("# check=experimental=CopyIgnoredFile\nFROM a\nCOPY x ./hidden/y /\n", "CopyIgnoredFile 3:8"),
        ("# check=experimental=all\nFROM a\nADD hidden /\n", "CopyIgnoredFile 3:5"),
        ("# check=experimental=all\n\n# the first\nFROM a AS one\n", "InvalidDefinitionDescription 3:1"),
        ("# check=experimental=all\n\n# the first\nARG A=1\nFROM a\n", "InvalidDefinitionDescription 3:1"),
    ] {
        assert_eq!(found(text, &[]), [expected], "{text}");
    }
}

#[test]
fn what_is_well_is_left_alone() {
    for text in [
        "FROM a AS base\nRUN x\n",
        "from a as base\nrun x\n",
        "FROM a\nRUN x \\\n  # a comment\n  y\nRUN <<E\n\nx\nE\n",
        "FROM a\nSHELL [\"sh\", \"-c\"]\nCMD x y\n",
        "FROM a AS x\nSHELL [\"sh\", \"-c\"]\nFROM x\nCMD x y\n",
        "FROM a\nCMD [\"x\"]\nFROM a\nCMD [\"y\"]\n",
        "FROM a\nENV x=\"y z\" v=\\ w=\nENV one=\\\ntwo\n",
        "FROM a\nWORKDIR /x\nWORKDIR y\nFROM a\nWORKDIR $HOME\n",
        "FROM a AS x\nWORKDIR /x\nFROM x\nWORKDIR y\n",
        "FROM a\nENV PUBLIC_KEY=x MONKEY=y TOKENIZER=z\n",
        "FROM known\nARG A\nENV B=$PATH:$A:${C:-c}:${D+d} E=\\$F\nRUN echo $G $1\n",
        "FROM unknown\nCOPY $x /\n",
        "ARG V=1\nFROM a:$V\nFROM --platform=$BUILDPLATFORM b\n",
        "ARG TAG=1\nFROM a AS one\nFROM a:$TAG\nFROM ${X:-one}\n",
        "FROM --platform=linux/arm64 a AS arm64\n",
        "FROM a\nEXPOSE 80 53/udp $PORT 80-90/tcp\n",
        "FROM a\nCOPY hidden /\n",
        "# check=experimental=all\nFROM a AS one\nCOPY --from=one hidden /\n",
        "# check=experimental=all\n\n# one is the first\nFROM a AS one\n\n# of all\n\nARG x\n",
    ] {
        assert_eq!(found(text, &[]), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn a_file_says_what_is_looked_at() {
    let rest = "FROM a AS Base\nMAINTAINER x\n";
    for (directive, expected) in [
        ("", &["StageNameCasing 2:11", "MaintainerDeprecated 3:1"][..]),
        ("skip=stagenamecasing", &["MaintainerDeprecated 3:1"]),
        ("skip=StageNameCasing,MaintainerDeprecated,OfTomorrow;error=true", &[]),
        ("skip=all", &[]),
    ] {
        assert_eq!(found(&format!("# check={directive}\n{rest}"), &[]), expected, "{directive}");
    }
    let given = [(CHECK_ARGUMENT, "skip=MaintainerDeprecated")];
    assert_eq!(found(&format!("# check=skip=all\n{rest}"), &given), ["StageNameCasing 2:11"]);
    for (directive, expected) in [
        ("skip=", "Containerfile:1:9: no rule is named"),
        ("skip=all;eror=true", "Containerfile:1:18: `eror` is no option of `check` (did you mean `error`?)"),
        ("error=maybe", "Containerfile:1:9: `error` is `true` or `false`"),
    ] {
        let file = parse("Containerfile", &format!("# check={directive}\nFROM a\n")).unwrap();
        assert_eq!(Checks::of(&file, None).unwrap_err().to_string(), expected);
    }
}
