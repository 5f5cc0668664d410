//! Text that may come from an attacker (a model's answer, an event's fields) made into plain text
//! that nothing later takes for markup (RELIABILITY §E8). [`clean`] removes what could act: links,
//! control, bidi and invisible characters. [`escape`] is for the moment the text enters HTML.

use std::sync::LazyLock;

use regex::{Captures, Regex};
use unicode_normalization::UnicodeNormalization as _;
use url::Url;

/// Stands where a link was.
const REMOVED: &str = "(link removed)";

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a literal pattern")
}

/// `[text](target "title")` and the image form.
static INLINE: LazyLock<Regex> = LazyLock::new(|| regex(r"!?\[([^\[\]]*)\]\(\s*<?([^\s()<>]*)>?[^()]*\)"));
/// `[text][reference]` and the image form.
static REFERENCE: LazyLock<Regex> = LazyLock::new(|| regex(r"!?\[([^\[\]]*)\]\[[^\[\]]*\]"));
/// `[reference]: target`.
static DEFINITION: LazyLock<Regex> = LazyLock::new(|| regex(r"(?m)^[ >*+-]{0,8}\[[^\[\]\n]+\]:[^\n]*$"));
/// A bare URL of any scheme, a scheme that acts without `//`, `www.`, a scheme-relative URL, or a
/// host name with a path.
static BARE: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r#"(?xi)
        <? [a-z][a-z0-9+.-]{0,30} : [/\\]{2,} [^\s<>"]* >?
        | \b (?: javascript | vbscript | data | mailto | tel | sms | file | blob ) : [^\s<>"]+
        | \b www \. [^\s<>"]+
        | [/\\]{2} [a-z0-9\[][^\s<>"]*
        | \b (?: [\p{L}\p{N}-]+ \. )+ [\p{L}]{2,} / [^\s<>"]*
        "#,
    )
});
static BLANK_LINES: LazyLock<Regex> = LazyLock::new(|| regex(r"\n\s*\n\s*"));
static BLANKS: LazyLock<Regex> = LazyLock::new(|| regex(r"[\p{Zs}]+"));

/// Plain text in NFC without control, bidi and invisible characters and without links, but https
/// links to `allow_links` (exact host names); at most `max_chars` characters.
pub(crate) fn clean(text: &str, allow_links: &[String], max_chars: usize) -> String {
    let visible: String = text.replace("\r\n", "\n").chars().filter_map(visible).collect();
    let mut text: String = visible.nfc().collect();
    // What one pass removes can bring together what the next one finds.
    let mut passes = 0..8;
    loop {
        let next = without_links(&text, allow_links);
        if next == text {
            break;
        }
        // Nobody nests links that deep who means well.
        text = if passes.next().is_some() { next } else { REMOVED.to_owned() };
    }
    let text = BLANKS.replace_all(&text, " ");
    let text = BLANK_LINES.replace_all(text.trim(), "\n\n");
    text.chars().take(max_chars).collect::<String>().trim_end().to_owned()
}

/// As [`clean`], on one line.
pub(crate) fn clean_line(text: &str, allow_links: &[String], max_chars: usize) -> String {
    let line: String = text.chars().map(|c| if c == '\n' { ' ' } else { c }).collect();
    clean(&line, allow_links, max_chars)
}

/// For HTML text and attributes, and against shortcodes: `[` and `]` become entities as well.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '[' => escaped.push_str("&#91;"),
            ']' => escaped.push_str("&#93;"),
            other => escaped.push(other),
        }
    }
    escaped
}

fn visible(c: char) -> Option<char> {
    match c {
        '\t' => Some(' '),
        '\n' | '\u{2028}' | '\u{2029}' => Some('\n'),
        c if c.is_control() || is_invisible(c) => None,
        c => Some(c),
    }
}

/// Characters without a picture of their own that hide, reorder or join text, private use and
/// noncharacters (Unicode general categories Cf, Co and parts of Cn and Mn).
fn is_invisible(c: char) -> bool {
    const RANGES: [(u32, u32); 19] = [
        (0x00ad, 0x00ad),
        (0x034f, 0x034f),
        (0x061c, 0x061c),
        (0x115f, 0x1160),
        (0x17b4, 0x17b5),
        (0x180b, 0x180f),
        (0x200b, 0x200f),
        (0x202a, 0x202e),
        (0x2060, 0x206f),
        (0x3164, 0x3164),
        (0xe000, 0xf8ff),
        (0xfdd0, 0xfdef),
        (0xfe00, 0xfe0f),
        (0xfeff, 0xfeff),
        (0xffa0, 0xffa0),
        (0xfff0, 0xfffc),
        (0x1d173, 0x1d17a),
        (0xe0000, 0xe0fff),
        (0xf0000, 0x0010_ffff),
    ];
    let code = u32::from(c);
    RANGES.iter().any(|(first, last)| (first..=last).contains(&&code)) || code & 0xfffe == 0xfffe
}

fn without_links(text: &str, allow_links: &[String]) -> String {
    let text = DEFINITION.replace_all(text, "");
    let text = INLINE.replace_all(&text, |found: &Captures<'_>| match allowed(&found[2], allow_links) {
        Some(url) => format!("{} ({url})", &found[1]),
        None => found[1].to_owned(),
    });
    let text = REFERENCE.replace_all(&text, "$1");
    let bare = |found: &Captures<'_>| bare(&found[0], allow_links);
    BARE.replace_all(&text, bare).into_owned()
}

/// A bare link, kept if its host is allowed; the punctuation of the sentence around it stays.
fn bare(found: &str, allow_links: &[String]) -> String {
    let link = found.trim_matches(['<', '>']);
    let link = link.trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '\'', '*', '_']);
    match allowed(link, allow_links) {
        Some(url) => {
            let rest = found.find(link).map_or("", |at| &found[at + link.len()..]);
            format!("{url}{}", rest.trim_start_matches('>'))
        }
        None => REMOVED.to_owned(),
    }
}

/// The URL in its normal form, if it is https to exactly one of the allowed hosts.
fn allowed(link: &str, allow_links: &[String]) -> Option<String> {
    let url: Url = link.parse().ok()?;
    let plain =
        url.scheme() == "https" && url.username().is_empty() && url.password().is_none() && url.port().is_none();
    let host = url.host_str()?;
    (plain && allow_links.iter().any(|allowed| allowed.eq_ignore_ascii_case(host))).then(|| url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        escape(&clean(text, &[], 2000))
    }

    #[test]
    fn links_of_every_form_are_removed() {
        let corpus = [
            "see https://evil.example/x?d=secret now",
            "see HTTPS://EVIL.EXAMPLE now",
            "see <https://evil.example/x> now",
            "[click](https://evil.example/x)",
            "[click]( <https://evil.example/x> \"title\")",
            "![pixel](https://evil.example/p.png?d=secret)",
            "[click][1]\n\n[1]: https://evil.example/x",
            "![pixel][p]\n[p]: https://evil.example/p.png",
            "> [p]: https://evil.example/p.png",
            "www.evil.example/x",
            "//evil.example/x",
            "\\\\evil.example\\share",
            "https:\\\\evil.example/x",
            "evil.example/x?d=secret",
            "javascript:alert(1)",
            "data:text/html;base64,PHNjcmlwdD4=",
            "mailto:evil@evil.example",
            "ht\u{200b}tps://evil.example/x",
            "ht\u{202e}tps:\u{2060}//evil.example/x",
            "hthttps://a.exampletps://evil.example/x",
            "[a[b](https://evil.example/1)](https://evil.example/2)",
            "<a href=\"https://evil.example\">x</a>",
            "<img src=//evil.example/p.png>",
            "ftp://evil.example/x",
            "https://allowed.example@evil.example/",
            "https://allowed.example.evil.example/",
            "http://allowed.example/plain-http",
        ];
        for text in corpus {
            let cleaned = clean(text, &["allowed.example".to_owned()], 2000);
            for trace in ["evil", "://", "secret"] {
                assert!(!cleaned.to_lowercase().contains(trace), "{text:?} became {cleaned:?}");
            }
        }
    }

    #[test]
    fn links_nested_without_end_leave_nothing() {
        let nested = (0..40).fold("/".to_owned(), |inner, _| format!("[{inner}](x)"));
        assert_eq!(clean(&format!("https:{nested}/evil.example"), &[], 2000), REMOVED);
    }

    #[test]
    fn a_link_to_an_allowed_host_stays_in_every_form() {
        let hosts = ["docs.example".to_owned()];
        for text in ["see https://docs.example/a.", "see <https://docs.example/a>.", "[see](https://docs.example/a)."] {
            let cleaned = clean(text, &hosts, 2000);
            assert!(cleaned.contains("https://docs.example/a"), "{text:?} became {cleaned:?}");
            assert!(cleaned.ends_with('.'), "{text:?} became {cleaned:?}");
        }
    }

    #[test]
    fn markup_shortcodes_and_blocks_become_text() {
        for text in [
            "<script>alert(1)</script>",
            "<!-- wp:latest-posts /-->",
            "[gallery ids=\"1\"]",
            "\" onmouseover=\"alert(1)",
            "&#60;script&#62;",
            "<svg/onload=alert(1)>",
        ] {
            let shown = shown(text);
            for acting in ['<', '>', '"', '\'', '[', ']'] {
                assert!(!shown.contains(acting), "{text:?} became {shown:?}");
            }
            assert!(!shown.contains("&#60;"), "{text:?} became {shown:?}");
        }
    }

    #[test]
    fn invisible_bidi_and_control_characters_vanish_and_the_rest_is_nfc() {
        let hidden = "a\u{0}b\u{1b}[31mc\u{202e}d\u{2066}e\u{200b}f\u{feff}g\u{e0041}h\u{fe0f}i\u{e123}j\u{7f}k\u{9b}l";
        assert_eq!(clean(hidden, &[], 2000), "ab[31mcdefghijkl");
        assert_eq!(clean("e\u{301}", &[], 10), "\u{e9}");
        assert_eq!(clean("a\r\n\r\n\r\n\r\nb\u{2028}c\td", &[], 2000), "a\n\nb\nc d");
        assert_eq!(clean_line("a\nb\r\nc", &[], 2000), "a b c");
    }

    #[test]
    fn ordinary_text_is_left_as_it_is() {
        for text in [
            "Invoice 4711 (paid): 1 < 2 & \"so\" on; 50 % off e.g. and/or v1.2.3 [sic] C:\\new",
            "Größe, naïve, 日本語, עברית, emoji 🎉",
            "First paragraph.\n\nSecond: a - b.",
            "ratio 3/4, file.txt, user@company.example",
        ] {
            assert_eq!(clean(text, &[], 2000), text);
        }
    }

    #[test]
    fn length_is_counted_in_characters() {
        assert_eq!(clean(&"é".repeat(200), &[], 120).chars().count(), 120);
    }

    /// Pieces that links and markup are made of, to be put together in any order.
    const PIECES: [&str; 24] = [
        "http",
        "s",
        ":",
        "//",
        "/",
        "\\",
        "evil.example",
        "docs.example",
        "www.",
        "javascript:",
        "[",
        "]",
        "(",
        ")",
        "](",
        "]:",
        "!",
        "<",
        ">",
        "\u{200b}",
        "\u{202e}",
        " ",
        "\n",
        "a",
    ];

    proptest::proptest! {
        #[test]
        fn however_the_pieces_are_put_together_no_foreign_link_is_left(
            order in proptest::collection::vec(0..PIECES.len(), 0..40)
        ) {
            let text: String = order.into_iter().map(|piece| PIECES[piece]).collect();
            let hosts = ["docs.example".to_owned()];
            let cleaned = clean(&text, &hosts, 2000);
            let foreign = cleaned.replace("https://docs.example", "");
            for trace in ["://", "www.", "javascript:", "evil.example/", "\u{200b}", "\u{202e}"] {
                // Inside a word, or with nothing behind it, it is no link.
                let acts = foreign.match_indices(trace).any(|(at, _)| {
                    let before = foreign[..at].chars().next_back().is_some_and(char::is_alphanumeric);
                    let behind = foreign[at + trace.len()..].starts_with(char::is_alphanumeric);
                    behind && (trace == "://" || !before)
                });
                proptest::prop_assert!(!acts, "{:?} became {:?}", text, cleaned);
            }
        }
    }
}
