//! Text with a NUL character, which Postgres cannot store in a `text`: written as U+10FFFF (no
//! character, and never will be) and a digit, so that every text comes back as it was and a prefix
//! stays a prefix.

use std::borrow::Cow;

const MARK: char = '\u{10FFFF}';

/// As it is stored.
pub(in crate::store) fn escape(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.contains(['\0', MARK]) {
        return text;
    }
    text.replace(MARK, "\u{10FFFF}1").replace('\0', "\u{10FFFF}0").into()
}

/// As it was.
pub(in crate::store) fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains(MARK) {
        return text.into();
    }
    text.replace("\u{10FFFF}0", "\0").replace("\u{10FFFF}1", "\u{10FFFF}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_comes_back_as_it_was() {
        for text in
            ["", "plain", "\0", "a\0b\0", "\u{10FFFF}", "\u{10FFFF}0", "\0\u{10FFFF}1\0", "\u{10FFFF}\u{10FFFF}0"]
        {
            let stored = escape(text.into());
            assert!(!stored.contains('\0'), "{text:?}");
            assert_eq!(unescape(&stored), text);
        }
    }
}
