//! The image that the tests' containers stand on: busybox, a root and a `dev` with the id 1005.

use std::ops::Deref;

use crate::support::devbox::Devbox;

/// How the image is called.
pub const IMAGE: &str = "test-base";

const CONTAINERFILE: &str = r#"FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "sh", "-c", "/bin/busybox mkdir -p /usr/bin /sbin /etc /tmp /root && /bin/busybox --install -s /bin"]
RUN printf 'root:x:0:0:root:/root:/bin/sh\ndev:x:1005:1005::/home/dev:/bin/sh\n' >/etc/passwd && \
    printf 'root:x:0:\ndev:x:1005:\n' >/etc/group && printf 'ID=test\n' >/etc/os-release && \
    mkdir -p /home/dev && chown 1005:1005 /home/dev
ENV GREETING=hello
LABEL of.image=yes
CMD ["sh", "-c", "echo up; exec tail -f /dev/null"]
"#;

/// A user's directories in which the image was built. What runs there ends with it, also where a test fails.
pub struct Docker(Devbox);

impl Deref for Docker {
    type Target = Devbox;

    fn deref(&self) -> &Devbox {
        &self.0
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let ids = self.0.args(["docker", "ps", "-aq"]).output().stdout;
        for id in ids.split_whitespace() {
            self.0.args(["docker", "rm", "-f", id]).output();
        }
    }
}

/// A user's directories with the image in their store.
pub fn with_image() -> Docker {
    let test = Devbox::new();
    std::fs::create_dir(test.path("image")).expect("a directory");
    std::fs::copy("/bin/busybox", test.path("image/busybox")).expect("busybox");
    std::fs::write(test.path("image/Dockerfile"), CONTAINERFILE).expect("a file");
    let context = test.path("image");
    test.args(["docker", "build", "-t", IMAGE]).arg(context).any_stdout().any_stderr().run();
    Docker(test)
}
