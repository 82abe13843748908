//! The `lictor` command.

fn main() -> std::process::ExitCode {
    lictor_cli::main()
}
