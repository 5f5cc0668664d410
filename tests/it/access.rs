//! Who may do what at the admin listener: every route for every caller, sessions, the audit.

mod matrix;
mod sessions;

use std::{fs, path::Path};

use sluice::api;

/// Compares a document with what the code says; `SLUICE_WRITE_DOCS=1` writes it.
fn is_current(name: &str, said: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    if std::env::var_os("SLUICE_WRITE_DOCS").is_some() {
        fs::write(&path, said).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == said, "docs/{name} is not what the code says; SLUICE_WRITE_DOCS=1 writes it anew");
}

#[test]
fn the_openapi_document_is_current() {
    let text = api::openapi::document().to_pretty_json().unwrap() + "\n";
    assert!(text.contains("\"openapi\": \"3.1"), "{}", &text[..200]);
    is_current("openapi.json", &text);
}

#[test]
fn every_reference_of_the_openapi_document_leads_somewhere() {
    let document = serde_json::to_value(api::openapi::document()).unwrap();
    let text = document.to_string();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let mut seen = 0;
    for (at, _) in text.match_indices("#/components/schemas/") {
        let name: String = text[at + 21..].chars().take_while(|c| *c != '"').collect();
        assert!(schemas.contains_key(&name), "{name}");
        seen += 1;
    }
    assert!(seen > 50, "{seen}");
}
