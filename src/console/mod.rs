//! The operators' console at `/`: files of the binary, without a build step. What it shows it asks of
//! the API, as the user who is signed in; nothing here knows a secret or a tenant.
//!
//! To add a file, put it into `web/` and add a line to `FILES`. No script or style stands in the
//! page itself: the policy allows only files of this gateway.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method, header};

use crate::api::{
    Api,
    access::{Allowed, Public},
    answer::{Answer, Content},
    request::{Call, Route, route},
};

/// Scripts, styles, pictures and connections of this origin only, nothing inline; no page may frame
/// it; a script cannot make markup of text.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

struct File {
    path: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
}

macro_rules! files {
    ($($path:literal $name:literal $content_type:literal;)*) => {
        &[$(File { path: $path, content_type: $content_type, bytes: include_bytes!(concat!("web/", $name)) }),*]
    };
}

const FILES: &[File] = files! {
    "/" "index.html" "text/html; charset=utf-8";
    "/console/style.css" "style.css" "text/css; charset=utf-8";
    "/console/icon.svg" "icon.svg" "image/svg+xml";
    "/console/accounts.js" "accounts.js" "text/javascript; charset=utf-8";
    "/console/add.js" "add.js" "text/javascript; charset=utf-8";
    "/console/api.js" "api.js" "text/javascript; charset=utf-8";
    "/console/app.js" "app.js" "text/javascript; charset=utf-8";
    "/console/chart.js" "chart.js" "text/javascript; charset=utf-8";
    "/console/dom.js" "dom.js" "text/javascript; charset=utf-8";
    "/console/event.js" "event.js" "text/javascript; charset=utf-8";
    "/console/events.js" "events.js" "text/javascript; charset=utf-8";
    "/console/jobs.js" "jobs.js" "text/javascript; charset=utf-8";
    "/console/lanes.js" "lanes.js" "text/javascript; charset=utf-8";
    "/console/list.js" "list.js" "text/javascript; charset=utf-8";
    "/console/live.js" "live.js" "text/javascript; charset=utf-8";
    "/console/may.js" "may.js" "text/javascript; charset=utf-8";
    "/console/preview.js" "preview.js" "text/javascript; charset=utf-8";
    "/console/source.js" "source.js" "text/javascript; charset=utf-8";
    "/console/sources.js" "sources.js" "text/javascript; charset=utf-8";
    "/console/subjects.js" "subjects.js" "text/javascript; charset=utf-8";
    "/console/time.js" "time.js" "text/javascript; charset=utf-8";
    "/console/traffic.js" "traffic.js" "text/javascript; charset=utf-8";
    "/console/uplot.js" "uplot.js" "text/javascript; charset=utf-8";
};

/// The routes of its files.
pub fn routes() -> Vec<Route> {
    let of = |file: &'static File| {
        let handler = move |_: Arc<Api>, _: Allowed<Public>, _: Call<()>| async move { Ok(answer(file)) };
        route(&Method::GET, file.path, "A file of the console", handler)
    };
    FILES.iter().map(of).collect()
}

fn answer(file: &'static File) -> Answer {
    Answer::new(file.content_type, Content::File(file.bytes))
        .with(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY))
        .with(HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin"))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn every_file_of_the_folder_is_served() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/console/web");
        let there: BTreeSet<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        let name = |file: &File| match file.path {
            "/" => "index.html".to_owned(),
            path => path.trim_start_matches("/console/").to_owned(),
        };
        assert_eq!(FILES.iter().map(name).collect::<BTreeSet<_>>(), there);
    }

    /// The first line of `uplot.js`.
    const VENDORED: &str = "/*! https://github.com/leeoniya/uPlot (v1.6.32) */";

    #[test]
    fn what_is_not_ours_is_as_its_maker_published_it() {
        let uplot = FILES.iter().find(|file| file.path == "/console/uplot.js").unwrap();
        let digest = "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f";
        assert_eq!(hex::encode(Sha256::digest(uplot.bytes)), digest, "src/console/vendored.md");
        assert!(std::str::from_utf8(uplot.bytes).unwrap().starts_with(VENDORED));
    }

    #[test]
    fn no_file_makes_markup_of_text_or_asks_another_host() {
        for file in FILES {
            let text = std::str::from_utf8(file.bytes).unwrap();
            for banned in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "style=",
                "onclick=\"",
                "https://",
            ] {
                // What is not ours names where it comes from.
                let text = text.strip_prefix(VENDORED).unwrap_or(text);
                assert!(!text.contains(banned), "{}: {banned}", file.path);
            }
        }
    }
}
