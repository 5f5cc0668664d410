//! The arrows between the parts (DESIGN §4), held by a scan of the sources.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn every_file(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files.extend(every_file(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

fn is_of(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    every_file(folder).into_iter().filter(|path| is_of(path, "rs") && !is_test(path)).collect()
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs")))
}

/// The code of a file without comments and without its unit tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a source file");
    let production = text.split("#[cfg(test)]").next().unwrap_or_default();
    production.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The first path segment after `root`, or `lib` for the crate's root file.
fn part_of(path: &Path, root: &Path) -> String {
    let relative = path.strip_prefix(root).expect("below the root");
    let first = relative.components().next().expect("a component").as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// The names that follow `prefix` in `code`; groups in braces are opened.
fn names_after(code: &str, prefix: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 1;
            let mut item = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 1 => names.extend(first_name(&std::mem::take(&mut item))),
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
                if c != ',' || depth > 1 {
                    item.push(c);
                }
            }
            names.extend(first_name(&item));
        } else {
            names.extend(first_name(rest));
        }
    }
    names
}

fn first_name(text: &str) -> Option<String> {
    let name: String = text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

/// Which parts of a crate each part may name.
fn check_arrows(root: &Path, allowed: &[(&str, &[&str])]) {
    let parts: BTreeSet<String> = rust_files(root).iter().map(|path| part_of(path, root)).collect();
    let mut wrong = Vec::new();
    for path in rust_files(root) {
        let part = part_of(&path, root);
        if part == "lib" || part == "main" {
            continue;
        }
        let Some((_, may)) = allowed.iter().find(|(name, _)| *name == part) else {
            wrong.push(format!("{}: `{part}` has no line in the architecture test", path.display()));
            continue;
        };
        if may.contains(&"*") {
            continue;
        }
        for name in names_after(&code(&path), "crate::") {
            if parts.contains(&name) && name != part && !may.contains(&name.as_str()) {
                wrong.push(format!("{}: `{part}` may not know `{name}`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_actors_know_each_other_only_downwards() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("actors/src");
    check_arrows(
        &root,
        &[
            ("domain", &[]),
            ("policy", &["domain"]),
            ("ports", &["domain", "policy"]),
            ("contained", &["domain", "policy", "ports"]),
            ("world", &["domain", "policy", "ports"]),
            ("snapshot", &["domain", "policy", "ports", "world"]),
            ("callee", &["domain", "policy", "ports", "contained", "world", "snapshot"]),
            ("admission", &["domain", "policy", "ports", "contained", "world", "snapshot", "callee"]),
            ("dead_letter", &["domain", "policy", "ports", "contained", "world", "snapshot", "callee", "admission"]),
            (
                "lane",
                &["domain", "policy", "ports", "contained", "world", "snapshot", "callee", "admission", "dead_letter"],
            ),
            (
                "supervisor",
                &[
                    "domain",
                    "policy",
                    "ports",
                    "contained",
                    "world",
                    "snapshot",
                    "callee",
                    "admission",
                    "dead_letter",
                    "lane",
                ],
            ),
            (
                "drain",
                &[
                    "domain",
                    "policy",
                    "ports",
                    "contained",
                    "world",
                    "snapshot",
                    "callee",
                    "admission",
                    "dead_letter",
                    "lane",
                    "supervisor",
                ],
            ),
            (
                "handle",
                &[
                    "domain",
                    "policy",
                    "ports",
                    "contained",
                    "world",
                    "snapshot",
                    "callee",
                    "admission",
                    "dead_letter",
                    "lane",
                    "supervisor",
                    "drain",
                ],
            ),
            ("testing", &["*"]),
        ],
    );
}

#[test]
fn the_parts_of_the_gateway_know_each_other_only_as_designed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    check_arrows(
        &root,
        &[
            ("json", &[]),
            ("clock", &[]),
            ("error_code", &[]),
            ("ids", &[]),
            ("trace", &["ids"]),
            ("secrets", &["http_client"]),
            ("http_client", &[]),
            ("vendors", &["json", "secrets"]),
            ("schema", &["json", "vendors"]),
            ("redact", &["json", "config"]),
            ("seal", &[]),
            ("brokers", &["http_client", "secrets"]),
            ("config", &["secrets", "vendors", "actions", "brokers", "error_code", "http_client", "seal"]),
            ("ingest", &["json", "ids", "config", "vendors", "schema", "redact", "api", "secrets", "trace"]),
            ("artifacts", &["api", "config", "ids", "json", "secrets"]),
            ("store", &["artifacts", "ingest", "api", "vendors", "seal", "ids"]),
            (
                "actions",
                &["artifacts", "brokers", "config", "http_client", "json", "ids", "redact", "secrets", "trace"],
            ),
            ("alerts", &["api", "config", "http_client", "ids", "redact", "secrets", "telemetry", "vendors"]),
            (
                "telemetry",
                &[
                    "artifacts",
                    "config",
                    "ingest",
                    "vendors",
                    "schema",
                    "clock",
                    "ids",
                    "trace",
                    "redact",
                    "http_client",
                ],
            ),
            ("edge", &["artifacts", "clock", "config", "ingest", "vendors", "secrets"]),
            ("oidc", &["config", "http_client", "ids", "secrets"]),
            (
                "api",
                &[
                    "artifacts",
                    "config",
                    "edge",
                    "ingest",
                    "vendors",
                    "telemetry",
                    "schema",
                    "ids",
                    "seal",
                    "secrets",
                    "oidc",
                ],
            ),
            ("console", &["api"]),
            ("standins", &["json"]),
            ("app", &["*"]),
            ("lifecycle", &["*"]),
            ("cli", &["*"]),
        ],
    );
}

#[test]
fn each_library_has_one_home() {
    let homes: &[(&str, &[&str])] = &[
        ("warp", &["edge", "api", "console", "standins"]),
        ("sqlx", &["store"]),
        ("rusqlite", &["store"]),
        ("prometheus", &["telemetry"]),
        ("opentelemetry", &["telemetry"]),
        ("opentelemetry_sdk", &["telemetry"]),
        ("opentelemetry_otlp", &["telemetry"]),
        ("sentry", &["telemetry"]),
        ("reqwest", &["http_client"]),
        ("lettre", &["alerts", "config"]),
        ("jsonwebtoken", &["actions", "standins"]),
        ("minijinja", &["actions"]),
        ("openidconnect", &["oidc"]),
        ("rustix", &["cli", "lifecycle", "telemetry"]),
        ("redis", &["brokers"]),
        ("lapin", &["brokers"]),
        ("async_nats", &["brokers"]),
        ("aws_config", &["artifacts", "secrets"]),
        ("aws_sigv4", &["artifacts"]),
        ("object_store", &["artifacts"]),
        ("aws_sdk_secretsmanager", &["secrets"]),
        ("ractor", &[]),
        ("governor", &[]),
        ("failsafe", &[]),
        ("anyhow", &["app", "cli", "main", "lifecycle"]),
    ];
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for path in rust_files(&root) {
        let part = part_of(&path, &root);
        let code = code(&path);
        for (library, parts) in homes {
            let named = !names_after(&code, &format!("{library}::")).is_empty();
            if named && !parts.contains(&part.as_str()) {
                wrong.push(format!("{}: `{library}` is not for `{part}`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_actors_do_not_depend_on_the_world() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("actors/Cargo.toml"))
        .expect("the manifest of the actors");
    for world in ["warp", "sqlx", "rusqlite", "reqwest", "prometheus", "hyper", "opentelemetry", "sentry"] {
        assert!(!manifest.lines().any(|line| line.starts_with(world)), "the actors depend on {world}");
    }
}

/// The documents of the root and of `docs/`.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let of_root = fs::read_dir(root).expect("the root").map(|entry| entry.expect("an entry").path());
    let below = ["docs", "deploy"].iter().flat_map(|folder| every_file(&root.join(folder)));
    of_root.chain(below).filter(|path| is_of(path, "md")).collect()
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).expect("a document");
        for (at, _) in text.match_indices("](") {
            let target: String = text[at + 2..].chars().take_while(|c| *c != ')' && *c != '#' && *c != ' ').collect();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            if !document.parent().expect("a folder").join(&target).exists() {
                broken.push(format!("{}: {target}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
}

/// Source files may be named by the end of their path: `edge/accept.rs`.
#[test]
fn files_that_documents_name_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["src", "actors", "tests", "benches", "docs", "scripts", "migrations", "examples", "deploy"];
    let sources: Vec<PathBuf> =
        ["src", "actors", "tests", "benches"].iter().flat_map(|f| every_file(&root.join(f))).collect();
    let mut missing = Vec::new();
    let mut named = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).expect("a document").replace("```", "");
        for span in text.split('`').skip(1).step_by(2) {
            if span.contains(|c: char| c.is_whitespace() || "<>{}*…".contains(c)) {
                continue;
            }
            let path = Path::new(span);
            let is_source = is_of(path, "rs");
            let is_path = span.contains('/') && folders.iter().any(|folder| path.starts_with(folder));
            if !is_source && !is_path {
                continue;
            }
            named += 1;
            let is_there =
                root.join(path).exists() || (is_source && sources.iter().any(|source| source.ends_with(path)));
            if !is_there {
                missing.push(format!("{}: {span}", document.display()));
            }
        }
    }
    assert!(missing.is_empty(), "files that are not there:\n{}", missing.join("\n"));
    assert!(named > 20, "{named}");
}
