//! Many deliveries at fixed moments, as `sluice send` makes them, into the real binary on its default
//! limits. Only counts are demanded: how fast it was is measured by `scripts/bench`.

use std::{fmt::Write as _, time::Duration};

use crate::harness::{Folder, Process, SECRET, series, sluice, within};

/// Sources, each with a route that only logs.
const SOURCES: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes more than a minute; scripts/test --long runs it"]
async fn under_load_at_fixed_moments_nothing_is_refused_or_lost_and_no_backlog_is_left() {
    let folder = Folder::on_disk();
    folder.secret("load.secret", SECRET);
    let mut tenant = String::new();
    for n in 0..SOURCES {
        let source = format!(
            "[sources.s{n}]\nvendor = \"generic\"\nsecrets = [\"file:load.secret\"]\n\
             [[sources.s{n}.routes]]\nname = \"log\"\naction = \"log\"\n"
        );
        tenant.write_str(&source).unwrap();
    }
    folder.tenant("acme", &tenant);
    let process = Process::start_in(folder.path(), &[("SLUICE_TELEMETRY__FILTER", "warn")]).await;
    let urls: Vec<String> = (0..SOURCES).map(|n| format!("{}/webhooks/acme/s{n}", process.runtime.public)).collect();
    let mut arguments = vec!["send", "generic", "--json", "--secret", SECRET];
    arguments.extend(["--rate", "1000", "--seconds", "60", "--connections", "100"]);
    arguments.extend(urls.iter().flat_map(|url| ["--url", url]));
    let report = sluice(folder.path(), &arguments).await.json();
    assert_eq!(report["offered"], 60_000, "{report}");
    assert_eq!(report["accepted"], report["offered"], "{report}");

    let scrape = || async { reqwest::get(format!("{}/metrics", process.runtime.admin)).await?.text().await };
    within(Duration::from_mins(1), "the backlog is zero", || async {
        let done = series(&scrape().await.ok()?, "sluice_job_attempts_total", &["outcome=\"succeeded\""]);
        (done == 60_000).then_some(())
    })
    .await;
    let accepted = series(&scrape().await.unwrap(), "sluice_webhook_events_total", &["outcome=\"accepted\""]);
    assert_eq!(accepted, 60_000);
    process.terminate();
    assert!(process.ended().await.0.success());
}
