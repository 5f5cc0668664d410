//! An LLM and a WordPress site for `scripts/bench`: they answer at once, or with `--hang` never.
//!
//! Prints the LLM's base URL and the site, one a line. The first line of its input is the key set
//! that the site trusts; it serves until its input ends. Under `cargo bench` without `--serve` it
//! does nothing.

use std::{
    io::{BufRead, Read},
    sync::Arc,
};

use sluice::{
    clock::SystemClock,
    standins::{Fault, StandInLlm, StandInWordPress},
};

fn given(name: &str) -> bool {
    std::env::args().any(|argument| argument == name)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    if !given("--serve") {
        return Ok(());
    }
    let llm = StandInLlm::start("bench-llm-key").await?;
    let nobody = serde_json::json!({ "keys": [] });
    let site_uuid = "8f14e45f-ceea-467f-a3c0-5a0d9f0c2b11";
    let wordpress = StandInWordPress::start(site_uuid, &nobody, Arc::new(SystemClock)).await?;
    if given("--hang") {
        llm.fail_always(Some(Fault::Hang));
        wordpress.fail_always(Some(Fault::Hang));
    }
    #[expect(clippy::print_stdout, reason = "the URLs are this program's output")]
    {
        println!("{}\n{}", llm.base_url(), wordpress.site());
    }
    tokio::task::spawn_blocking(move || {
        let mut keys = String::new();
        let mut input = std::io::stdin().lock();
        input.read_line(&mut keys)?;
        wordpress.trust(&serde_json::from_str(&keys)?);
        input.read_to_end(&mut Vec::new())
    })
    .await??;
    Ok(())
}
