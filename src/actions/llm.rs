//! The client of an OpenAI-compatible `/chat/completions` endpoint with a strict JSON answer.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderValue, Method, header};
use serde::Deserialize;
use serde_json::{Value, json};
use sluice_actors::domain::{CalleeId, Timestamp};

use super::{
    classify::{self, Fate, Health, Judged},
    prompt::Messages,
    run::End,
    summarize::{CATEGORIES, MAX_SUMMARY, MAX_TITLE},
};
use crate::{
    config::Llm,
    http_client::{Answer, Call, CallError, Tokens},
    json::parse_strict,
};

/// Tokens of an answer at most: the longest allowed summary in any script, with room for the JSON.
const MAX_TOKENS: u32 = 3072;
/// Low, so that the same event gives about the same summary.
const TEMPERATURE: f32 = 0.2;

/// The model's answer in the form the schema prescribes, otherwise as it came.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawSummary {
    pub(crate) title: String,
    pub(crate) summary: String,
    pub(crate) category: String,
}

/// What the endpoint answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    /// The text of the first choice; `Err` where the endpoint says that the model gave none.
    pub(crate) content: Result<String, String>,
    /// What it says the answer cost.
    pub(crate) tokens: Tokens,
}

/// The call for `messages`.
pub(crate) fn call(llm: &Llm, model: Option<&str>, messages: &Messages) -> Result<Call, String> {
    let url = format!("{}/chat/completions", llm.base_url.as_str().trim_end_matches('/'));
    let mut call = Call::new(Method::POST, url.parse().map_err(|_| "base_url cannot be extended".to_owned())?);
    call.timeout = llm.timeout;
    call.headers = headers(llm)?;
    let body = json!({
        "model": model.unwrap_or(&llm.model),
        "temperature": TEMPERATURE,
        "max_completion_tokens": MAX_TOKENS,
        "messages": [
            { "role": "system", "content": messages.system },
            { "role": "user", "content": messages.user },
        ],
        "response_format": {
            "type": "json_schema",
            "json_schema": { "name": "event_summary", "strict": true, "schema": schema() },
        },
    });
    call.body = Some(body.to_string().into());
    Ok(call)
}

fn headers(llm: &Llm) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(key) = &llm.api_key {
        let mut bearer = b"Bearer ".to_vec();
        bearer.extend_from_slice(key.expose());
        let mut value = HeaderValue::from_bytes(&bearer).map_err(|_| "api_key is not a header value".to_owned())?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
    Ok(headers)
}

fn schema() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["title", "summary", "category"],
        "properties": {
            "title": { "type": "string", "maxLength": MAX_TITLE },
            "summary": { "type": "string", "maxLength": MAX_SUMMARY },
            "category": { "type": "string", "enum": CATEGORIES },
        },
    })
}

/// Judges the endpoint's answer. One that is not of the API's form speaks against the endpoint; one
/// whose content disobeys the schema speaks only against the model: again later, by the job's cap.
pub(crate) fn judge(answer: Result<Answer, CallError>, now: Timestamp, callee: &CalleeId) -> Judged<Said> {
    let Judged { report, step } = classify::by_status(answer, now, callee, classify::of_llm_status);
    let answer = match step {
        Ok(answer) => answer,
        Err(end) => return Judged { report, step: Err(end) },
    };
    let body = match answer.whole() {
        Ok(body) => body,
        Err(error) => return Judged::error(&error, callee),
    };
    match said(body) {
        Some(said) => Judged::done(said),
        None => Judged::ends(Fate::Retry, Health::Ill, callee, "answered without a chat completion", None),
    }
}

fn said(body: &[u8]) -> Option<Said> {
    let body = parse_strict(body).ok()?;
    let content = content(body.pointer("/choices/0")?)?;
    let counted = |name| body.pointer(name).and_then(Value::as_u64).unwrap_or_default();
    let tokens = Tokens { input: counted("/usage/prompt_tokens"), output: counted("/usage/completion_tokens") };
    Some(Said { content, tokens })
}

fn content(choice: &Value) -> Option<Result<String, String>> {
    let message = choice.get("message")?;
    if message.get("refusal").is_some_and(|refusal| !refusal.is_null()) {
        return Some(Err("the model refused".to_owned()));
    }
    if choice.get("finish_reason").and_then(Value::as_str) == Some("length") {
        return Some(Err("the model's answer was cut off at its length limit".to_owned()));
    }
    match message.get("content") {
        Some(Value::String(text)) => Some(Ok(text.clone())),
        _ => Some(Err("the model answered without text".to_owned())),
    }
}

/// The model's text as the schema prescribes it. The reason names no part of the text.
pub(crate) fn parse(content: &str) -> Result<RawSummary, String> {
    let value = parse_strict(content.as_bytes()).map_err(|error| format!("the model's answer is {error}"))?;
    let raw: RawSummary =
        serde_json::from_value(value).map_err(|_| "the model's answer does not fit the schema".to_owned())?;
    let mut wrong = String::new();
    for (name, text, max) in [("title", &raw.title, MAX_TITLE), ("summary", &raw.summary, MAX_SUMMARY)] {
        let length = text.chars().count();
        if text.trim().is_empty() {
            let _ = write!(wrong, "; {name} is empty");
        } else if length > max {
            let _ = write!(wrong, "; {name} has {length} characters instead of at most {max}");
        }
    }
    if !CATEGORIES.contains(&raw.category.as_str()) {
        wrong.push_str("; category is none of the schema's");
    }
    if wrong.is_empty() { Ok(raw) } else { Err(format!("the model's answer does not fit the schema{wrong}")) }
}

/// A disobedient answer: the attempt counts, the job is tried again until its cap.
pub(crate) fn disobedient(callee: &CalleeId, reason: &str) -> End {
    End::from(classify::outcome(Fate::Retry, callee, reason, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_must_fit_the_schema_exactly() {
        let good = json!({ "title": "A title", "summary": "A summary.", "category": "billing" });
        assert_eq!(parse(&good.to_string()).unwrap().title, "A title");
        let mut disobedient = vec![
            "plain words".to_owned(),
            format!("```json\n{good}\n```"),
            format!("{good} and more"),
            "[]".to_owned(),
            "null".to_owned(),
            r#"{"title":"a","title":"b","summary":"s","category":"billing"}"#.to_owned(),
        ];
        for (pointer, value) in [
            ("/title", json!("t".repeat(121))),
            ("/title", json!("  ")),
            ("/title", json!(7)),
            ("/summary", json!("s".repeat(2001))),
            ("/summary", json!("")),
            ("/category", json!("drop_tables")),
            ("/category", json!(null)),
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(pointer).unwrap() = value;
            disobedient.push(bad.to_string());
        }
        let mut extra = good.clone();
        extra["status"] = json!("publish");
        disobedient.push(extra.to_string());
        for text in disobedient {
            let reason = parse(&text).unwrap_err();
            assert!(!reason.contains("publish") && !reason.contains("drop"), "{reason}");
        }
    }

    #[test]
    fn limits_are_inclusive() {
        let edge = json!({ "title": "é".repeat(120), "summary": "é".repeat(2000), "category": "other" });
        assert!(parse(&edge.to_string()).is_ok());
    }

    #[test]
    fn what_is_no_chat_completion_is_told_apart_from_a_model_without_an_answer() {
        let content = |body: &[u8]| said(body).map(|said| said.content);
        assert!(content(b"<html>").is_none());
        assert!(content(b"{}").is_none());
        assert!(content(br#"{"choices":[]}"#).is_none());
        assert!(content(br#"{"choices":[{"message":{"content":null}}]}"#).unwrap().is_err());
        assert!(content(br#"{"choices":[{"message":{"content":"x","refusal":"no"}}]}"#).unwrap().is_err());
        assert!(content(br#"{"choices":[{"finish_reason":"length","message":{"content":"x"}}]}"#).unwrap().is_err());
        assert_eq!(content(br#"{"choices":[{"message":{"content":"x"}}]}"#).unwrap().unwrap(), "x");
    }

    #[test]
    fn an_answer_costs_what_its_endpoint_says_and_nothing_where_it_says_nothing_usable() {
        let of = |usage: &str| {
            let body = format!(r#"{{"choices":[{{"message":{{"content":"x"}}}}]{usage}}}"#);
            said(body.as_bytes()).unwrap().tokens
        };
        let counted = of(r#","usage":{"prompt_tokens":100,"completion_tokens":7}"#);
        assert_eq!(counted, Tokens { input: 100, output: 7 });
        for odd in ["", r#","usage":null"#, r#","usage":{"prompt_tokens":-1,"completion_tokens":"many"}"#] {
            assert_eq!(of(odd), Tokens::default(), "{odd}");
        }
    }
}
