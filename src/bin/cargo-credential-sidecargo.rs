//! The `cargo-credential-sidecargo` program, which Cargo runs when it needs a token.

use std::process::ExitCode;

use sidecargo::credential;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_none_or(|word| word != "--cargo-plugin") {
        eprintln!("{}", credential::FOR_CARGO);
        return ExitCode::FAILURE;
    }
    let settings = credential::Settings::of_environment();
    match credential::serve(&settings, std::io::stdin().lock(), std::io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cargo-credential-sidecargo: {error}");
            ExitCode::FAILURE
        }
    }
}
