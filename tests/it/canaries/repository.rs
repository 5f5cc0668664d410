//! What people copy: deployment files, examples and documents hold no value that could be a secret.

use std::{
    fs,
    path::{Path, PathBuf},
};

use regex::Regex;

/// What secrets of well-known makers look like, and any value where a password is asked for.
const SHAPES: [&str; 12] = [
    r"\b(AKIA|ASIA)[0-9A-Z]{16}\b",
    r"\b[sr]k[-_](live_|test_|proj-)?[A-Za-z0-9_-]{16,}",
    r"\bwhsec_[A-Za-z0-9+/=]{20,}",
    r"\bwhsk_[A-Za-z0-9+/=]{20,}",
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
    r"hooks\.slack\.com/services/T[A-Z0-9]+/B[A-Z0-9]+/[A-Za-z0-9]{16,}",
    r"\b(ghp|gho|ghs|glpat|github_pat)[-_][A-Za-z0-9_]{16,}",
    r"\bAIza[0-9A-Za-z_-]{30,}",
    r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}",
    r"\bhvs\.[A-Za-z0-9]{16,}",
    // A URL with a password, and a key of a configuration with a value.
    r#"(?i)://[^/\s:@"']+:[^@/\s"']{4,}@|\b(password|passwd|secret|token|api_?key|secret_access_key)"?\s*[=:]\s*["'][^"'\s]{6,}["']"#,
];

/// What may stand there: references, variables of the tool, words that say what to write, and the labels of a metric.
const PLACEHOLDERS: [&str; 14] = [
    "env:",
    "file:",
    "vault:",
    "aws-sm:",
    "arn:",
    "$",
    "{{",
    "<",
    "…",
    "...",
    ":PASSWORD@",
    "changeme",
    "secret=\"current\"",
    "secret=\"previous\"",
];

fn secrets(text: &str) -> Vec<String> {
    let shapes = SHAPES.map(|shape| Regex::new(shape).expect("an expression"));
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for shape in &shapes {
            for hit in shape.find_iter(line) {
                if !PLACEHOLDERS.iter().any(|placeholder| hit.as_str().contains(placeholder)) {
                    found.push(format!("{}: {}", number + 1, hit.as_str()));
                }
            }
        }
    }
    found
}

fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        // What tools leave behind is not of the repository.
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".terraform"));
        if path.is_dir() && !hidden {
            files(&path, into);
        } else if path.is_file() {
            into.push(path);
        }
    }
}

#[test]
fn deployment_files_examples_and_documents_hold_no_secret() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all: Vec<PathBuf> = ["README.md", "SECURITY.md", "CONTRIBUTING.md"].map(|name| root.join(name)).into();
    for folder in ["deploy", "examples", "docs", "scripts"] {
        files(&root.join(folder), &mut all);
    }
    let mut found = Vec::new();
    let mut read = 0;
    for path in all {
        // Pictures are no text.
        let Ok(text) = fs::read_to_string(&path) else { continue };
        read += 1;
        found.extend(
            secrets(&text).into_iter().map(|hit| format!("{}:{hit}", path.strip_prefix(root).unwrap().display())),
        );
    }
    assert!(read > 150, "{read} files");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_secret_in_such_a_file_would_be_found() {
    let key = "0123456789abcdefABCD";
    for text in [
        "access = \"AKIAABCDEFGHIJKLMNOP\"".to_owned(),
        format!("OPENAI=sk-proj-{key}"),
        format!("stripe sk_live_{key}"),
        format!("secret whsec_{key}="),
        "-----BEGIN PRIVATE KEY-----".to_owned(),
        "-----BEGIN EC PRIVATE KEY-----".to_owned(),
        format!("xoxb-{key}"),
        format!("https://hooks.slack.com/services/T012AB/B012AB/{key}"),
        format!("ghp_{key}"),
        format!("AIza{key}{key}"),
        format!("eyJhbGciOiJFZERTQSJ9.eyJ{key}.sig"),
        format!("VAULT_TOKEN=hvs.{key}"),
        "DATABASE_URL=postgres://sluice:hunter2hunter2@db/sluice".to_owned(),
        "password = \"hunter2hunter2\"".to_owned(),
        "  password: 'hunter2hunter2'".to_owned(),
        "{\"api_key\": \"hunter2hunter2\"}".to_owned(),
    ] {
        assert!(!secrets(&text).is_empty(), "{text}");
    }
    for text in [
        "api_key = \"file:llm.key\"",
        "password = \"${random_password.this.result}\"",
        "postgres://USER:PASSWORD@HOST/DATABASE",
        "--set token=<the token>",
        "secret = \"…\"",
    ] {
        assert!(secrets(text).is_empty(), "{text}: {:?}", secrets(text));
    }
}
