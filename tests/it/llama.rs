//! The LLM action against servers that others wrote: llama.cpp's own HTTP server with a model of
//! random weights, and a server of failures. `scripts/test` installs both.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use sluice_actors::domain::{CallResult, DeadReason, HoldReason, Outcome};
use url::Url;

use crate::{
    actions::bench::{Bench, LLM_KEY},
    harness::python,
};

const ROUTE: &str = "[[sources.payments.routes]]\nname = 'sum'\naction = 'summarize_and_publish'\n";

/// A server of `tests/tools/llama_server.py`; it ends with its standard input, so at the latest with
/// this process.
struct Server {
    child: Child,
    base_url: Url,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let python = python("xllamacpp, gguf, mock-ai-api");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/llama_server.py");
        let mut child = Command::new(&python)
            .arg(script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{python} does not start: {error}"));
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("LISTEN ").map(str::to_owned));
        let address = address.unwrap_or_else(|| {
            panic!("the server did not start: are xllamacpp, gguf and mock-ai-api installed for {python}?")
        });
        let base_url = format!("{}/v1", address.trim_end_matches('/')).parse().expect("an address");
        Self { child, base_url }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn llama_cpp_answers_in_the_schema_and_its_words_are_published() {
    let server = Server::start(&["llama", LLM_KEY]);
    let bench = Bench::with_llm(ROUTE, server.base_url.clone()).await;
    let mut published = 0;
    // By chance none of few may fit.
    for number in 0..40 {
        if number >= 5 && published > 0 {
            break;
        }
        let mut job = bench.job("sum", Some(&format!("in_{number}")));
        match bench.attempt(&mut job).await {
            Outcome::Delivered(result) => {
                let (title, summary) = (result.title.unwrap(), result.summary.unwrap());
                assert!(!title.is_empty() && title.chars().count() <= 120, "{title}");
                assert!(!summary.is_empty() && summary.chars().count() <= 2000, "{summary}");
                assert_eq!(
                    job.reports(),
                    [("llm".to_owned(), CallResult::Success), ("wordpress".to_owned(), CallResult::Success)]
                );
                published += 1;
            }
            // A model of random weights may write nothing but blanks, or never end: contained.
            Outcome::Retry { error, .. } => {
                assert!(error.contains("the model's answer"), "{error}");
                assert_eq!(job.reports(), [("llm".to_owned(), CallResult::Success)]);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(published > 0, "the schema is enforced by the server, so some answer fits");
    assert_eq!(bench.site.posts().len(), published);
}

#[tokio::test]
async fn llama_cpp_refuses_another_key_and_the_job_is_held() {
    let server = Server::start(&["llama", "another-key"]);
    let bench = Bench::with_llm(ROUTE, server.base_url.clone()).await;
    let mut job = bench.job("sum", None);
    let outcome = bench.attempt(&mut job).await;
    assert!(matches!(outcome, Outcome::Hold { reason: HoldReason::Unauthorized(_), .. }), "{outcome:?}");
    assert!(bench.site.requests().is_empty());
}

#[tokio::test]
async fn a_server_of_failures_is_contained() {
    let server = Server::start(&["failures"]);
    let models = ["mock-400", "mock-401", "mock-429", "mock-500", "mock-503", "mock-text", "mock-tool-call"];
    let route = |model: &str| format!("{}model = 'gpt-4.1:{model}'\n", ROUTE.replace("'sum'", &format!("'{model}'")));
    let routes = models.map(route).concat();
    let bench = Bench::with_llm(&routes, server.base_url.clone()).await;
    let ill = CallResult::Failure { retry_after: None };
    for model in models {
        let mut job = bench.job(model, None);
        let outcome = bench.attempt(&mut job).await;
        let report = match (model, &outcome) {
            ("mock-400", Outcome::Dead { reason: DeadReason::Rejected, .. })
            | ("mock-401", Outcome::Hold { reason: HoldReason::Unauthorized(_), .. }) => CallResult::Neutral,
            ("mock-429" | "mock-500" | "mock-503", Outcome::Retry { .. }) => ill,
            // Words or a tool call instead of the schema: the endpoint is well, the model is not.
            ("mock-text" | "mock-tool-call", Outcome::Retry { error, .. }) => {
                assert!(error.contains("the model"), "{error}");
                CallResult::Success
            }
            _ => panic!("{model}: {outcome:?}"),
        };
        assert_eq!(job.reports(), [("llm".to_owned(), report)], "{model}");
    }
    assert!(bench.site.requests().is_empty(), "nothing was published");
}
