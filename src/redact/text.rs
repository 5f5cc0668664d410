//! The built-in patterns over free text.

use std::borrow::Cow;

use super::{MASK, escapes, numbers, secrets};
use crate::config::PiiPattern;

/// Which patterns are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patterns(u8);

const fn bit(pattern: PiiPattern) -> u8 {
    match pattern {
        PiiPattern::Secret => 1,
        PiiPattern::Card => 2,
        PiiPattern::Email => 4,
        PiiPattern::Phone => 8,
        PiiPattern::Iban => 16,
    }
}

/// A text that still changes after this many passes is hostile and masked as a whole.
const MAX_PASSES: usize = 8;

/// Escapes within escapes are undone this many times.
const MAX_ESCAPED: usize = 4;

/// What one pass over a text saw: enough to leave most texts alone.
#[derive(Debug, Default)]
struct Hints {
    /// The classes of its bytes together.
    seen: u8,
    digits: usize,
    dashes: usize,
    /// The longest run of characters that tokens are made of.
    run: usize,
}

const DIGIT: u8 = 1;
const DASH: u8 = 2;
/// What tokens are made of.
const TOKEN: u8 = 4;
const AT_SIGN: u8 = 8;
const PLUS: u8 = 16;
/// Begins an escape.
const ESCAPE: u8 = 32;
/// Stands between a name and its value.
const ASSIGNMENT: u8 = 64;
const SPACE: u8 = 128;

/// The classes of every byte.
static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'0'..=b'9' => DIGIT | TOKEN,
            b'-' => DASH | TOKEN,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'.' | b'/' => TOKEN,
            b'@' => AT_SIGN,
            b'+' => PLUS,
            b'%' | b'\\' | b'&' => ESCAPE,
            b':' | b'=' => ASSIGNMENT,
            b' ' => SPACE,
            _ => 0,
        };
        byte += 1;
    }
    classes
};

impl Hints {
    fn of(text: &str) -> Self {
        let mut hints = Self::default();
        let mut run = 0;
        for byte in text.bytes() {
            let class = CLASSES[usize::from(byte)];
            hints.seen |= class;
            hints.digits += usize::from(class & DIGIT != 0);
            hints.dashes += usize::from(class & DASH != 0);
            run = if class & TOKEN != 0 { run + 1 } else { 0 };
            hints.run = hints.run.max(run);
        }
        hints
    }

    const fn has(&self, class: u8) -> bool {
        self.seen & class != 0
    }
}

impl Patterns {
    /// All of them.
    pub const ALL: Self = Self(31);

    /// These.
    pub fn of(patterns: &[PiiPattern]) -> Self {
        Self(patterns.iter().fold(0, |bits, pattern| bits | bit(*pattern)))
    }

    /// Whether none is on.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether this one is on.
    pub const fn has(self, pattern: PiiPattern) -> bool {
        self.0 & bit(pattern) != 0
    }

    /// Masks what the patterns find. Borrowed: nothing was found.
    pub fn redact(self, text: &str) -> Cow<'_, str> {
        let mut redacted = Cow::Borrowed(text);
        // What one pattern masks can bring to light what another looks for.
        for _ in 0..=MAX_PASSES {
            match self.pass(&redacted).or_else(|| self.hidden(&redacted)) {
                Some(further) => redacted = Cow::Owned(further),
                None => return redacted,
            }
        }
        Cow::Owned(MASK.to_owned())
    }

    /// What is found only with escapes undone. Then the text is kept without them, as there is no
    /// telling which escapes made which part.
    fn hidden(self, text: &str) -> Option<String> {
        let mut undone = escapes::undone(text)?;
        for _ in 0..MAX_ESCAPED {
            if let Some(redacted) = self.pass(&undone) {
                return Some(redacted);
            }
            undone = escapes::undone(&undone)?;
        }
        None
    }

    fn pass(self, text: &str) -> Option<String> {
        let hints = Hints::of(text);
        let mut text = Cow::Borrowed(text);
        let scheme = || hints.has(SPACE) && (text.contains("earer ") || text.contains("asic "));
        let told = || hints.has(ASSIGNMENT) || hints.dashes >= 10 || scheme();
        if self.has(PiiPattern::Secret) && (hints.run >= secrets::MIN_TOKEN || told()) {
            replace(&mut text, secrets::find);
        }
        if self.has(PiiPattern::Email) && hints.has(AT_SIGN | ESCAPE) {
            replace(&mut text, numbers::emails);
        }
        if self.has(PiiPattern::Iban) && hints.digits >= 8 && text.len() >= 15 {
            replace(&mut text, numbers::ibans);
        }
        if self.has(PiiPattern::Card) && hints.digits >= 13 {
            replace(&mut text, numbers::cards);
        }
        if self.has(PiiPattern::Phone) && hints.has(PLUS | ESCAPE) && hints.digits >= 8 {
            replace(&mut text, numbers::phones);
        }
        match text {
            Cow::Borrowed(_) => None,
            Cow::Owned(redacted) => Some(redacted),
        }
    }

    /// Masks only tokens in a well-known form.
    pub(super) fn tokens(self, text: &str) -> Option<String> {
        if !self.has(PiiPattern::Secret) || text.len() < secrets::MIN_TOKEN {
            return None;
        }
        let mut text = Cow::Borrowed(text);
        replace(&mut text, secrets::find_tokens);
        match text {
            Cow::Borrowed(_) => None,
            Cow::Owned(text) => Some(text),
        }
    }

    /// Whether a number is one of a card.
    pub(super) fn number(self, number: &serde_json::Number) -> bool {
        self.has(PiiPattern::Card) && whole(number).is_some_and(numbers::is_card_number)
    }

    /// Whether a text is an e-mail address or a telephone number.
    pub(super) fn names_a_person(self, text: &str) -> bool {
        let whole = |found: Vec<(usize, usize)>| !found.is_empty();
        (self.has(PiiPattern::Email) && whole(numbers::emails(text)))
            || (self.has(PiiPattern::Phone) && whole(numbers::phones(text)))
    }
}

/// A number without its sign, if it is whole however it is written (`4111111111111111.0`, `4.1e15`).
fn whole(number: &serde_json::Number) -> Option<u64> {
    let float = || {
        let float = number.as_f64()?.abs();
        // Every whole number of a card's length below 2^53 is exact; beyond, none could be told.
        (float.fract() == 0.0 && float < 9_007_199_254_740_992.0).then_some(float as u64)
    };
    number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs)).or_else(float)
}

fn replace(text: &mut Cow<'_, str>, find: fn(&str) -> Vec<(usize, usize)>) {
    let found = find(text);
    if found.is_empty() {
        return;
    }
    let mut redacted = String::with_capacity(text.len());
    let mut done = 0;
    for (start, end) in found {
        redacted.push_str(&text[done..start]);
        redacted.push_str(MASK);
        done = end;
    }
    redacted.push_str(&text[done..]);
    *text = Cow::Owned(redacted);
}
