//! `COPY` and `ADD` as buildah does them.

use super::pair::{Pair, check};

const fn pair(name: &'static str, file: &'static str) -> Pair {
    Pair { name, file, options: &[], ignore: "", except: &[] }
}

#[test]
fn destinations() {
    crate::require!(Root, Overlay, Program("buildah"));
    check(&[
        pair("file-to-name", "COPY a.txt /x"),
        pair("file-to-new-directory", "COPY a.txt /new/deep/"),
        pair("file-to-directory", "COPY a.txt /srv"),
        pair("several", "COPY a.txt b.txt /srv/"),
        pair("relative", "WORKDIR /srv\nCOPY a.txt .\nCOPY b.txt sub/b"),
        pair("contents", "COPY dir /d"),
        pair("contents-into", "COPY dir /srv/"),
        pair("two-directories", "COPY dir dir2 /srv/"),
        pair("everything", "COPY . /all"),
        pair("glob", "COPY *.txt /srv/"),
        pair("glob-class", "COPY [ab].txt dir/su?/z* /srv/"),
        pair("spaces", "COPY [\"with space\", \"/srv/with space\"]"),
        pair("replace", "COPY a.txt /x\nCOPY b.txt /x"),
        pair("merge", "COPY dir /m\nCOPY dir2 /m"),
    ]);
}

#[test]
fn links_and_attributes() {
    crate::require!(Root, Overlay, Program("buildah"));
    check(&[
        pair("link-followed", "COPY link /l"),
        pair("link-to-directory", "COPY dirlink /l"),
        pair("through-link", "COPY a.txt /var/run/x"),
        pair("modes", "COPY run.sh b.txt /srv/"),
        pair("umlaut", "COPY ü /srv/"),
        pair("empty", "COPY empty /e"),
    ]);
}

#[test]
fn owners_and_modes() {
    crate::require!(Root, Overlay, Program("buildah"));
    check(&[
        pair("chown-names", "COPY --chown=app:apps a.txt /srv/"),
        pair("chown-user", "COPY --chown=app dir /d"),
        pair("chown-numbers", "COPY --chown=12:34 dir /d/"),
        pair("chown-name-number", "COPY --chown=app:99 a.txt /x"),
        pair("chmod", "COPY --chmod=750 a.txt /x"),
        pair("user-does-not-matter", "USER app\nCOPY a.txt /x"),
        pair("fails-unknown-user", "COPY --chown=nobody a.txt /x"),
    ]);
}

#[test]
fn stages_and_images() {
    crate::require!(Root, Overlay, Program("buildah"));
    check(&[
        pair(
            "from-stage",
            "FROM localhost/base AS one\nRUN mkdir /out && echo x > /out/x && chown -R app /out\nFROM localhost/base\nCOPY --from=one /out /srv",
        ),
        pair("from-number", "FROM localhost/base\nRUN echo x > /x\nFROM localhost/base\nCOPY --from=0 /x /y"),
        pair("from-image", "FROM scratch\nCOPY --from=localhost/base /etc/passwd /etc/"),
        pair("from-glob", "FROM localhost/base AS one\nCOPY dir /d\nFROM scratch\nCOPY --from=one /d/*.txt /x/"),
        pair(
            "from-removed",
            "FROM localhost/base AS one\nCOPY dir /d\nRUN rm /d/x /d/hard && rm -r /d/sub\nFROM scratch\nCOPY --from=one /d /x",
        ),
        pair(
            "stage-on-stage",
            "FROM localhost/base AS one\nENV A=1\nCOPY a.txt /a\nFROM one AS two\nENV B=2\nCOPY b.txt /b",
        ),
        Pair {
            options: &["--target", "one"],
            ..pair("target", "FROM localhost/base AS one\nCOPY a.txt /a\nFROM localhost/base\nRUN false")
        },
        pair("unreachable", "FROM localhost/base AS one\nRUN false\nFROM localhost/base\nCOPY a.txt /a"),
    ]);
}

#[test]
fn add() {
    crate::require!(Root, Overlay, Program("buildah"));
    check(&[
        pair("add-file", "ADD a.txt /srv/"),
        pair("add-tar", "ADD plain.tar /srv"),
        pair("add-tar-gz", "ADD packed.tar.gz /new/"),
        pair("add-tar-xz", "ADD packed.tar.xz /new"),
        pair("add-broken", "ADD broken.tar.gz /srv/"),
        pair("copy-tar", "COPY plain.tar /srv/"),
        pair("add-both", "ADD plain.tar a.txt /srv/"),
        pair("add-directory", "ADD dir /d"),
    ]);
}

#[test]
fn ignore_files() {
    crate::require!(Root, Overlay, Program("buildah"));
    check(&[
        Pair { ignore: "node_modules\n*.key\n", ..pair("ignore", "COPY . /all") },
        Pair { ignore: "*\n!dir/sub\n", ..pair("ignore-all-but", "COPY . /all") },
        Pair { ignore: "**/*.txt\n!dir/y.txt\n# comment\n", ..pair("ignore-exception", "COPY . /all") },
        Pair { ignore: "a.txt\n", ..pair("fails-ignored", "COPY a.txt /") },
    ]);
}
