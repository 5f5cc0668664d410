//! Twilio: form fields of message (<https://www.twilio.com/docs/messaging/guides/webhook-request>)
//! and call (<https://www.twilio.com/docs/voice/twiml#request-parameters>) callbacks. New parameters
//! come without notice, so none is drift.

use super::super::{
    Catalog, Object, Schema,
    shape::{Text, fields},
};

pub(super) const CATALOG: Catalog = Catalog {
    vendor: "twilio",
    version: 1,
    body: "",
    context: &[],
    schemas: &[
        Schema {
            name: "message",
            types: &["message.*"],
            objects: &[Object {
                at: "",
                closed: false,
                fields: fields![
                    required Text ["MessageSid"],
                    usual Text ["AccountSid", "From", "To"],
                    optional Text [
                        "Body", "MessageStatus", "SmsStatus", "SmsSid", "MessagingServiceSid", "NumMedia", "NumSegments",
                        "ErrorCode", "ErrorMessage", "ApiVersion", "RawDlrDoneDate",
                    ],
                ],
            }],
        },
        Schema {
            name: "call",
            types: &["call.*"],
            objects: &[Object {
                at: "",
                closed: false,
                fields: fields![
                    required Text ["CallSid"],
                    usual Text ["AccountSid", "From", "To", "CallStatus"],
                    optional Text [
                        "Direction", "ApiVersion", "CallDuration", "Duration", "Timestamp", "SequenceNumber",
                        "RecordingSid", "RecordingUrl", "Digits", "SpeechResult", "Caller", "Called", "ParentCallSid",
                    ],
                ],
            }],
        },
    ],
};
