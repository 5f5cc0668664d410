//! Writing a new version of what a remote provider keeps: only over the version that was read, and
//! only of the one field.

use serde_json::value::RawValue;
use std::{borrow::Cow, collections::BTreeMap, sync::Arc};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::{
    Providers, Secret,
    reference::{RemoteReference, Version},
    remote::{Document, RemoteError},
    vault::Session,
};

/// What a document becomes.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// The field; none: all of it.
    pub field: Option<&'a str>,
    /// What stands there now.
    pub expected: &'a Secret,
    /// What is to stand there.
    pub value: &'a Secret,
    /// Random: names the new version where its provider wants a name.
    pub nonce: [u8; 16],
}

impl Change<'_> {
    /// The new content of a document.
    ///
    /// # Errors
    /// [`RemoteError::Changed`] where something else stands there than is expected; what the field
    /// cannot hold.
    pub fn applied_to(&self, document: &Document) -> Result<Secret, RemoteError> {
        if document.field(self.field)?.expose() != self.expected.expose() {
            return Err(RemoteError::Changed);
        }
        let Some(field) = self.field else { return Ok(self.value.clone()) };
        let text = self.value.expose_str().ok_or(RemoteError::NoText)?;
        let content = document.content.expose();
        let fields: BTreeMap<Cow<'_, str>, &RawValue> =
            serde_json::from_slice(content).map_err(|_| RemoteError::NoObject)?;
        // Room for the longest escape of each byte: a buffer that grows would leave copies of secrets.
        let mut json = Zeroizing::new(Vec::with_capacity(6 * (content.len() + text.len()) + 16));
        for (nth, (name, raw)) in fields.iter().enumerate() {
            json.push(if nth == 0 { b'{' } else { b',' });
            let written = serde_json::to_writer(&mut *json, name).and_then(|()| {
                json.push(b':');
                if name == field {
                    serde_json::to_writer(&mut *json, text)
                } else {
                    serde_json::to_writer(&mut *json, raw)
                }
            });
            written.map_err(|_| RemoteError::NoText)?;
        }
        json.push(b'}');
        Ok(Secret(json))
    }
}

impl Providers {
    /// Makes `value` the current version of what `reference` names, if `expected` is it now. `nonce`: random.
    ///
    /// # Errors
    /// Nothing was written, but for [`RemoteError::Unavailable`]: then it is not known.
    pub async fn write(
        &self,
        reference: &RemoteReference,
        (expected, value): (&Secret, &Secret),
        nonce: [u8; 16],
    ) -> Result<(), RemoteError> {
        let location = &reference.location;
        if location.version != Version::Current {
            return Err(RemoteError::NoVersion);
        }
        let provider = self.of(location.kind, &Arc::new(Session::default())).await?;
        let change = Change { field: reference.field.as_deref(), expected, value, nonce };
        // Not tried again: whether the first try took effect would not be known.
        match timeout(self.timeout, provider.write(location, change)).await {
            Ok(written) => written,
            Err(_) => Err(RemoteError::Unavailable(format!("no answer within {} s", self.timeout.as_secs_f32()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_field_changes_and_the_others_stay_as_they_were_written() {
        let secret = |text: &str| Secret::new(text.into());
        let document = |text: &str| Document { content: secret(text), created: None };
        let object = document("{\"port\": 5432.0, \"pay\": \"ol\\u0064\", \"deep\": {\"a\" : [1e3]}, \"ü\\n\": \"\"}");
        let (old, new) = (secret("old"), secret("n\"e\nw"));
        let change = Change { field: Some("pay"), expected: &old, value: &new, nonce: [0; 16] };
        let changed = change.applied_to(&object).unwrap();
        let text = changed.expose_str().unwrap();
        assert_eq!(text, "{\"deep\":{\"a\" : [1e3]},\"pay\":\"n\\\"e\\nw\",\"port\":5432.0,\"ü\\n\":\"\"}");
        assert_eq!(document(text).field(Some("pay")).unwrap().expose(), new.expose());

        let whole = Change { field: None, ..change };
        assert_eq!(whole.applied_to(&document("old")).unwrap().expose(), new.expose());
        for (change, content, error) in [
            (change, "{\"pay\":\"other\"}", RemoteError::Changed),
            (whole, "other", RemoteError::Changed),
            (change, "{\"shop\":\"old\"}", RemoteError::NoField),
            (change, "old", RemoteError::NoObject),
            (Change { value: &Secret::new(vec![0xff]), ..change }, "{\"pay\":\"old\"}", RemoteError::NoText),
        ] {
            assert_eq!(change.applied_to(&document(content)).unwrap_err(), error, "{content}");
        }
    }
}
