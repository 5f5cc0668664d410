//! Who may do what at the admin listener: every route for every caller, sessions, the audit.

mod console;
mod live;
mod matrix;
pub(crate) mod sessions;

use std::{fmt::Write as _, fs, path::Path};

use sluice::api::{
    self,
    access::{Grant, Role},
};

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
fn the_table_of_permissions_is_current() {
    let mut text = "# Permissions\n\nMade from the code: every route, the permission that its handler takes, and whom \
                    that is for.\n\n| route | permission | for |\n|---|---|---|\n"
        .to_owned();
    for route in api::routes() {
        let roles = |roles: &[Role]| roles.iter().map(|role| format!("`{role}`")).collect::<Vec<_>>().join(" ");
        let whom = match route.grant {
            Grant::Anyone => "anyone".to_owned(),
            Grant::Scrapers => "scrapers; who sees all tenants".to_owned(),
            Grant::Roles(of) => format!("{} of its tenant", roles(of)),
            Grant::Whole(of) => format!("{} of all tenants", roles(of)),
        };
        writeln!(text, "| `{} {}` | {} | {whom} |", route.method, route.path, route.permission).unwrap();
    }
    is_current("permissions.md", &text);
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
