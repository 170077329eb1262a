//! The configuration as buildah makes it.

use super::pair::{Pair, check};

const fn pair(name: &'static str, file: &'static str) -> Pair {
    Pair { name, file, options: &[], ignore: "", except: &[] }
}

#[test]
fn instructions() {
    crate::require!(Root, Overlay, Program("buildah"));
    check(&[
        pair("cmd-shell", "CMD echo hi"),
        pair("cmd-exec", "CMD [\"echo\", \"hi\"]"),
        pair("entrypoint-resets-cmd", "ENTRYPOINT [\"/run.sh\"]"),
        pair("entrypoint-and-cmd", "CMD [\"a\"]\nENTRYPOINT [\"/run.sh\"]"),
        pair("entrypoint-shell", "ENTRYPOINT exec top"),
        pair("env", "ENV A=1\nENV B $A-x\nENV A=2 C=${A}y"),
        pair("label", "LABEL a=1 \"b c\"=\"d e\"\nLABEL a=2"),
        pair("expose", "EXPOSE 80 53/udp\nEXPOSE 8000"),
        // buildah makes the directories, docker does not.
        Pair { except: &["data", "a", "b c"], ..pair("volume", "VOLUME /data\nVOLUME [\"/a\", \"/b c\"]") },
        pair("user", "USER app:apps"),
        pair("workdir", "WORKDIR /a\nWORKDIR b\nWORKDIR ../c"),
        pair("stopsignal", "STOPSIGNAL SIGINT"),
        pair("healthcheck", "HEALTHCHECK --interval=5s --timeout=3s --retries=2 CMD curl -f http://localhost/"),
        pair("healthcheck-none", "HEALTHCHECK NONE"),
        pair("shell", "SHELL [\"/bin/ash\", \"-c\"]"),
        pair("onbuild", "ONBUILD RUN echo later"),
        Pair { options: &["--label", "given=yes"], ..pair("label-given", "LABEL own=1") },
        pair("expansion", "ENV A=abc\nENV B=${A:-x} C=${N:-def} D=${A:+set} E=${N:+set}\nLABEL l=$A\nWORKDIR /$A"),
    ]);
}
