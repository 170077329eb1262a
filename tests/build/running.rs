//! `RUN` as buildah does it.

use super::pair::{Pair, check};

const fn pair(name: &'static str, file: &'static str) -> Pair {
    Pair { name, file, options: &[], ignore: "", except: &[] }
}

#[test]
fn what_commands_leave() {
    crate::require!(Root, Overlay, Program("buildah"));
    check(&[
        pair("shell-form", "RUN echo a > /a && chmod 600 /a"),
        pair("exec-form", "RUN [\"touch\", \"/a b\"]"),
        pair("remove", "COPY dir /d\nRUN rm -r /d/sub && rm /d/x"),
        pair("replace-directory", "COPY dir /d\nRUN rm -r /d && mkdir /d && echo n > /d/n"),
        pair("rename", "COPY dir /d\nRUN mv /d /e"),
        pair("owner", "RUN mkdir /o && chown app:apps /o && touch /o/f && chown 5:6 /o/f && ln -s f /o/l"),
        pair("setuid", "RUN cp /bin/busybox /su && chmod 4755 /su"),
        pair("hard-links", "RUN echo x > /x && ln /x /y"),
        pair("fifo", "RUN mkfifo /f"),
        pair("mode-of-existing", "RUN chmod 700 /srv && chmod 755 /root"),
        pair("tmp-stays", "RUN echo t > /tmp/t"),
        pair("nothing", "RUN true"),
        pair("fails", "RUN exit 3"),
    ]);
}

#[test]
fn how_commands_run() {
    crate::require!(Root, Overlay, Program("buildah"));
    check(&[
        pair("environment", "ENV A=1 B=\"two words\"\nRUN echo \"$A $B $BASE $PATH\" > /e"),
        pair("directory", "WORKDIR /srv/deep\nRUN pwd > here"),
        pair("user", "USER app\nRUN id -u > /tmp/u; id -g >> /tmp/u; echo $HOME >> /tmp/u"),
        pair("user-group", "USER app:extra\nRUN id -g > /tmp/u"),
        pair("user-number", "USER 77:88\nRUN id -u > /tmp/u; id -g >> /tmp/u"),
        pair("fails-shell", "SHELL [\"/bin/sh\", \"-ec\"]\nRUN false; true\n"),
        pair("shell-other", "SHELL [\"/bin/ash\", \"-c\"]\nRUN echo $0 > /s"),
        pair("argument", "ARG V=1\nARG W\nRUN echo \"$V-$W\" > /v"),
        Pair {
            options: &["--build-arg", "V=2", "--build-arg", "SOME"],
            ..pair("argument-given", "ARG V=1\nARG SOME\nRUN echo \"$V-$SOME\" > /v")
        },
        pair("argument-and-environment", "ARG V=1\nENV V=e\nRUN echo $V > /v"),
        pair("global-argument", "ARG TAG=base\nFROM localhost/$TAG\nARG TAG\nRUN echo $TAG > /v"),
        pair("workdir-made", "USER app\nWORKDIR /srv/w\nRUN ls -ldn /srv/w | cut -c1-10 > /tmp/w"),
        pair("line-continuation", "RUN echo one \\\n  # comment\n  two > /l"),
    ]);
}
