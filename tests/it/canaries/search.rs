//! Finds a secret in whatever form it was written.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use regex::bytes::{Regex, RegexBuilder};

/// Bytes beside a find that are shown.
const BESIDE: usize = 60;

/// What is looked for.
pub(crate) struct Search(Regex);

impl Search {
    /// For these texts: as they are, in hex, in base64 at any place of what was encoded, and as numbers.
    pub(crate) fn of(texts: &[&str]) -> Self {
        let forms: Vec<String> = texts.iter().flat_map(|text| forms(text.as_bytes())).collect();
        let any = forms.iter().map(|form| regex::escape(form)).collect::<Vec<_>>().join("|");
        Self(RegexBuilder::new(&any).unicode(false).build().expect("an expression"))
    }

    /// Where it is found, with what is beside it: the first five places.
    pub(crate) fn find(&self, bytes: &[u8]) -> Vec<String> {
        let shown = |found: regex::bytes::Match<'_>| {
            let (from, to) = (found.start().saturating_sub(BESIDE), (found.end() + BESIDE).min(bytes.len()));
            bytes[from..to].escape_ascii().to_string()
        };
        self.0.find_iter(bytes).take(5).map(shown).collect()
    }

    /// How often it is found.
    pub(super) fn count(&self, bytes: &[u8]) -> usize {
        self.0.find_iter(bytes).count()
    }
}

fn forms(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8(bytes.to_vec()).expect("text");
    let numbers: Vec<String> = bytes.iter().map(ToString::to_string).collect();
    let mut forms = vec![hex::encode(bytes), hex::encode_upper(bytes), numbers.join(", "), numbers.join(",")];
    let percent: String = url::form_urlencoded::byte_serialize(bytes).collect();
    if percent != text {
        forms.push(percent);
    }
    forms.push(text);
    for before in 0..3 {
        let padded = [&vec![0; before][..], bytes].concat();
        for engine in [&STANDARD, &URL_SAFE] {
            let encoded = engine.encode(&padded);
            // The digits that hold nothing but these bytes.
            let (from, to) = ((before * 8).div_ceil(6), padded.len() * 8 / 6);
            forms.push(encoded[from..to].to_owned());
        }
    }
    forms.sort();
    forms.dedup();
    forms
}

#[test]
fn a_secret_is_found_in_each_of_its_forms_and_nothing_else_is() {
    let secret = "canary+hunter/1";
    let search = Search::of(&[secret]);
    let mut written = vec![
        secret.to_owned(),
        format!("Basic {}", STANDARD.encode(format!("user:{secret}"))),
        hex::encode(secret),
        hex::encode_upper(format!("x{secret}y")),
        format!("{:?}", format!(".{secret}.").as_bytes()),
        format!("token={}&x", url::form_urlencoded::byte_serialize(secret.as_bytes()).collect::<String>()),
    ];
    written.extend((0..4).map(|n| STANDARD.encode(format!("{}{secret}-and-more", "x".repeat(n)))));
    written.extend((0..4).map(|n| URL_SAFE.encode(format!("{}{secret}\u{ff}", "?".repeat(n)))));
    for text in written {
        assert_eq!(search.find(text.as_bytes()).len(), 1, "{text}");
    }
    for text in ["canary+hunter/", &STANDARD.encode("canary+hunter"), "", "63616e617279"] {
        assert!(search.find(text.as_bytes()).is_empty(), "{text}");
    }
}
