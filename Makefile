PREFIX ?= /usr/local
DESTDIR ?=
CARGO ?= cargo
bindir = $(DESTDIR)$(PREFIX)/bin
datadir = $(DESTDIR)$(PREFIX)/share
# Where zsh looks; distributions have a place of their own for what packages bring.
ZSHDIR ?= $(PREFIX)/share/zsh/site-functions

.PHONY: build test test-unit test-cli test-kernel test-egress test-images test-build test-security test-ssh test-docker test-vm lint bench fuzz install deb completions clean

build:
	$(CARGO) build --release --locked

# As root also installs what the tests need, and runs them as two ordinary users too. FILTER=text selects tests.
test:
	scripts/test-run

test-unit:
	scripts/test-run unit

test-cli:
	scripts/test-run cli

test-kernel:
	scripts/test-run kernel

# On a host of their own in a network namespace; as root.
test-egress:
	scripts/test-run egress

test-images:
	scripts/test-run images

test-build:
	scripts/test-run build

test-security:
	scripts/test-run security

test-ssh:
	scripts/test-run ssh

test-docker:
	scripts/test-run docker

# In a virtual machine with systemd and cgroups of version 2; as root.
test-vm:
	scripts/test-run vm

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --locked -- -D warnings
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny --locked check; \
	else echo "lint: cargo-deny is not installed: licences and advisories were not checked"; fi

# BENCH_FLAGS=--quick takes fewer samples, "--only host,cold" measures these parts alone.
bench:
	scripts/bench $(BENCH_FLAGS)

# FUZZ_SECONDS is for each parser; FUZZ_TARGETS names some of `fuzz/targets/` only.
FUZZ_SECONDS ?= 600
fuzz:
	scripts/fuzz $(FUZZ_SECONDS) $(FUZZ_TARGETS)

# BIN=path installs a binary that is built already.
BIN ?= target/release/devbox

install: $(if $(filter command line,$(origin BIN)),,build)
	install -D -m 0755 $(BIN) $(bindir)/devbox
	install -D -m 0644 shell-completions/devbox.bash $(datadir)/bash-completion/completions/devbox
	install -D -m 0644 shell-completions/_devbox $(DESTDIR)$(ZSHDIR)/_devbox
	install -D -m 0644 shell-completions/devbox.fish $(datadir)/fish/vendor_completions.d/devbox.fish
	install -d -m 0755 $(datadir)/devbox/profiles
	install -m 0644 profiles/*.toml $(datadir)/devbox/profiles
	$(BIN) profile schema >$(datadir)/devbox/devbox.schema.json
	chmod 0644 $(datadir)/devbox/devbox.schema.json
	umask 022 && $(BIN) man $(datadir)/man

# target/devbox_VERSION_ARCHITECTURE.deb
deb: $(if $(filter command line,$(origin BIN)),,build)
	@scripts/deb $(BIN) target

# After a change of the commands; `tests/cli` compares.
completions:
	mkdir -p shell-completions
	$(CARGO) run --quiet --locked -- completions bash >shell-completions/devbox.bash
	$(CARGO) run --quiet --locked -- completions zsh >shell-completions/_devbox
	$(CARGO) run --quiet --locked -- completions fish >shell-completions/devbox.fish

clean:
	$(CARGO) clean
