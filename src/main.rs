//! The `devbox` program.

fn main() -> std::process::ExitCode {
    devbox::cli::run()
}
