//! The `sluice` binary: `sluice serve --config PATH`.

use std::path::PathBuf;

fn main() -> anyhow::Result<()> {
    let path = std::env::args_os().skip_while(|argument| argument != "--config").nth(1);
    let path = path.map_or_else(|| PathBuf::from("sluice.toml"), PathBuf::from);
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(sluice::app::serve(&path))
}
