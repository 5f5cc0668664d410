//! The text that a custom scheme signs, as a template that can be read in one way only.
//!
//! `{id}.{body}` signs `a.b` + `c` and `a` + `b.c` alike. So variables never stand side by side, and
//! one that stands before the body may not contain the character that ends it, one behind the body
//! not the character that begins it; then every signed text has one reading.

use http::HeaderName;

use crate::vendors::{Refusal, Request, header};

/// Pieces in order. The default, empty, is that of a scheme that signs nothing.
#[derive(Debug, Default)]
pub(super) struct Template(Vec<Piece>);

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Timestamp,
    Id,
    Body,
    Url,
    Method,
    Header(HeaderName),
}

impl Template {
    /// Parses a template; the error says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let (literal, tail) = rest.split_at(open);
            let close = tail.find('}').ok_or("has a `{` without its `}`")?;
            if !literal.is_empty() {
                pieces.push(Piece::Literal(literal.to_owned()));
            }
            let piece = variable(&tail[1..close])?;
            if !matches!(pieces.last(), None | Some(Piece::Literal(_))) {
                return Err("has two variables side by side: the signed text could be read in two ways".to_owned());
            }
            pieces.push(piece);
            rest = &tail[close + 1..];
        }
        if !rest.is_empty() {
            pieces.push(Piece::Literal(rest.to_owned()));
        }
        if pieces.iter().any(|piece| matches!(piece, Piece::Literal(text) if text.contains('}'))) {
            return Err("has a `}` without its `{`".to_owned());
        }
        match pieces.iter().filter(|piece| **piece == Piece::Body).count() {
            1 => Ok(Self(pieces)),
            0 => Err("must contain {body}: else anybody could change it".to_owned()),
            _ => Err("contains {body} twice".to_owned()),
        }
    }

    /// The signed text of a request; `None` if it could be read in two ways.
    pub(super) fn fill(&self, request: &Request<'_>, timestamp: &str, id: &str) -> Result<Option<Vec<u8>>, Refusal> {
        let mut text = Vec::with_capacity(request.body.len() + 128);
        let mut body_passed = false;
        for (position, piece) in self.0.iter().enumerate() {
            let value = match piece {
                Piece::Literal(literal) => {
                    text.extend_from_slice(literal.as_bytes());
                    continue;
                }
                Piece::Body => {
                    body_passed = true;
                    text.extend_from_slice(request.body);
                    continue;
                }
                Piece::Timestamp => timestamp,
                Piece::Id => id,
                Piece::Url => request.url,
                Piece::Method => request.method.as_str(),
                Piece::Header(name) => header::needed(request, name)?,
            };
            // Of the URL only the query is the sender's; the rest is the source's own address.
            let foreign = match piece {
                Piece::Url => value.split_once('?').map_or("", |(_, query)| query),
                _ => value,
            };
            if self.border(position, body_passed).is_some_and(|border| foreign.as_bytes().contains(&border)) {
                return Ok(None);
            }
            text.extend_from_slice(value.as_bytes());
        }
        Ok(Some(text))
    }

    /// The character between a variable and the body's side of the template.
    fn border(&self, position: usize, body_passed: bool) -> Option<u8> {
        let neighbour = if body_passed { position.checked_sub(1)? } else { position + 1 };
        match self.0.get(neighbour)? {
            Piece::Literal(literal) if body_passed => literal.bytes().last(),
            Piece::Literal(literal) => literal.bytes().next(),
            _ => None,
        }
    }

    pub(super) fn contains_timestamp(&self) -> bool {
        self.0.contains(&Piece::Timestamp)
    }

    pub(super) fn contains_id(&self) -> bool {
        self.0.contains(&Piece::Id)
    }

    pub(super) fn contains_url(&self) -> bool {
        self.0.contains(&Piece::Url)
    }

    pub(super) fn contains_header(&self, name: &HeaderName) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Header(header) if header == name))
    }
}

fn variable(name: &str) -> Result<Piece, String> {
    match name {
        "timestamp" => Ok(Piece::Timestamp),
        "id" => Ok(Piece::Id),
        "body" => Ok(Piece::Body),
        "url" => Ok(Piece::Url),
        "method" => Ok(Piece::Method),
        _ => match name.strip_prefix("header:").map(str::parse) {
            Some(Ok(header)) => Ok(Piece::Header(header)),
            _ => Err(format!(
                "`{{{name}}}` is not one of {{timestamp}} {{id}} {{body}} {{url}} {{method}} {{header:NAME}}"
            )),
        },
    }
}
