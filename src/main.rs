//! The program `sluice`; see `sluice --help`.

use std::process::ExitCode;

/// Rows are made by one thread and freed by another, which the C library's allocator is slow at. Line 2
/// of mimalloc (a feature in `Cargo.toml`), since line 3 keeps what an idle node has freed. What is freed is
/// zeroed: libraries copy credentials into headers and buffers of their own.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<mimalloc::MiMalloc> = zeroizing_alloc::ZeroAlloc(mimalloc::MiMalloc);

fn main() -> ExitCode {
    sluice::cli::main()
}
