//! The program `sluice`; see `sluice --help`.

use std::process::ExitCode;

/// Rows are made by one thread and freed by another, which the C library's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    sluice::cli::main()
}
