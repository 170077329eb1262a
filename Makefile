PREFIX ?= /usr/local
DESTDIR ?=
CARGO ?= cargo
bindir = $(DESTDIR)$(PREFIX)/bin
datadir = $(DESTDIR)$(PREFIX)/share

.PHONY: build test test-unit test-cli test-kernel lint bench install clean

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

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --locked -- -D warnings
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny --locked check; \
	else echo "lint: cargo-deny is not installed: licences and advisories were not checked"; fi

# BENCH_FLAGS=--quick takes fewer samples.
bench:
	scripts/bench $(BENCH_FLAGS)

install: build
	install -D -m 0755 target/release/devbox $(bindir)/devbox
	@if [ -d shell-completions ]; then \
	  set -e; cd shell-completions; \
	  [ ! -f devbox.bash ] || install -D -m 0644 devbox.bash $(datadir)/bash-completion/completions/devbox; \
	  [ ! -f _devbox ] || install -D -m 0644 _devbox $(datadir)/zsh/site-functions/_devbox; \
	  [ ! -f devbox.fish ] || install -D -m 0644 devbox.fish $(datadir)/fish/vendor_completions.d/devbox.fish; \
	fi

clean:
	$(CARGO) clean
