//! The program `sluice`; see `sluice --help`.

use std::process::ExitCode;

/// Rows are made by one thread and freed by another, which the C library's allocator is slow at. Line 2
/// of mimalloc (a feature in `Cargo.toml`), since line 3 keeps what an idle node has freed.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    sluice::cli::main()
}
