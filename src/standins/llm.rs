//! A stand-in for an OpenAI-compatible chat endpoint.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use http::StatusCode;
use serde_json::{Value, json};
use url::Url;
use warp::reply::Response;

use super::{
    fault::Fault,
    server::{Running, Seen, Work, json as json_answer, serve},
};

/// One request of the chat API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chat {
    /// The model asked for.
    pub model: String,
    /// The system prompt.
    pub system: String,
    /// The user message.
    pub user: String,
}

type Answers = dyn Fn(&Chat) -> String + Send + Sync;

struct State {
    key: String,
    answers: Mutex<Arc<Answers>>,
    next: Mutex<VecDeque<String>>,
    chats: Mutex<Vec<Chat>>,
}

/// A model that summarises honestly unless it is told otherwise. Stops when dropped.
pub struct StandInLlm {
    state: Arc<State>,
    running: Running,
}

impl StandInLlm {
    /// Listens on a free loopback port; accepts only `key` as bearer token.
    pub async fn start(key: &str) -> io::Result<Self> {
        let state = Arc::new(State {
            key: key.to_owned(),
            answers: Mutex::new(Arc::new(honest)),
            next: Mutex::default(),
            chats: Mutex::default(),
        });
        let running = serve(Arc::clone(&state) as Arc<dyn Work>).await?;
        Ok(Self { state, running })
    }

    /// The base URL for `[llm] base_url`.
    pub fn base_url(&self) -> Url {
        format!("http://{}/v1", self.running.address).parse().expect("an address makes a URL")
    }

    /// The next request meets this.
    pub fn fail_next(&self, fault: Fault) {
        self.running.faults.push(fault);
    }

    /// Every request meets this until `None`.
    pub fn fail_always(&self, fault: Option<Fault>) {
        self.running.faults.always(fault);
    }

    /// This share of the requests meets the fault, by a seeded chance.
    pub fn fail_sometimes(&self, share: f64, seed: u64, fault: Fault) {
        self.running.faults.sometimes(share, seed, fault);
    }

    /// The model's next answer is this text, whatever was asked.
    pub fn say_next(&self, content: &str) {
        self.state.next.lock().unwrap_or_else(PoisonError::into_inner).push_back(content.to_owned());
    }

    /// The model answers so from now on.
    pub fn answer_with(&self, answers: impl Fn(&Chat) -> String + Send + Sync + 'static) {
        *self.state.answers.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(answers);
    }

    /// The chats that were answered (and would be billed), oldest first.
    pub fn chats(&self) -> Vec<Chat> {
        self.state.chats.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every request, failed ones included.
    pub fn requests(&self) -> Vec<Seen> {
        self.running.seen()
    }
}

impl Work for State {
    fn answer(&self, seen: &Seen) -> Response {
        let error = |status, message: &str| json_answer(status, &json!({ "error": { "message": message } }));
        if seen.path != "/v1/chat/completions" {
            return error(StatusCode::NOT_FOUND, "no such path");
        }
        if seen.header("authorization") != format!("Bearer {}", self.key) {
            return error(StatusCode::UNAUTHORIZED, "incorrect API key");
        }
        let Some(chat) = serde_json::from_slice::<Value>(&seen.body).ok().and_then(|body| read(&body)) else {
            return error(StatusCode::BAD_REQUEST, "not a chat request with a strict schema");
        };
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let content = next.unwrap_or_else(|| {
            let answers = Arc::clone(&self.answers.lock().unwrap_or_else(PoisonError::into_inner));
            answers(&chat)
        });
        let model = chat.model.clone();
        self.chats.lock().unwrap_or_else(PoisonError::into_inner).push(chat);
        json_answer(
            StatusCode::OK,
            &json!({
                "id": "chatcmpl-stand-in",
                "object": "chat.completion",
                "model": model,
                "choices": [{
                    "index": 0,
                    "finish_reason": "stop",
                    "message": { "role": "assistant", "content": content },
                }],
                "usage": { "prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150 },
            }),
        )
    }
}

fn read(body: &Value) -> Option<Chat> {
    let strict = body.pointer("/response_format/json_schema/strict")? == &json!(true);
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let roles = [text("/messages/0/role")?, text("/messages/1/role")?];
    let chat =
        Chat { model: text("/model")?, system: text("/messages/0/content")?, user: text("/messages/1/content")? };
    (strict && roles == ["system", "user"]).then_some(chat)
}

/// A summary of the event in the prompt.
fn honest(chat: &Chat) -> String {
    let event: Value = chat
        .user
        .split_once('\n')
        .and_then(|(_, rest)| rest.rsplit_once('\n'))
        .and_then(|(event, _)| serde_json::from_str(event).ok())
        .unwrap_or_default();
    let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or("unknown").to_owned();
    let title: String = format!("{}: {}", text("type"), text("subject")).chars().take(120).collect();
    json!({
        "title": title,
        "summary": format!("{} happened to {} at {}.", text("type"), text("subject"), text("occurred_at")),
        "category": "other",
    })
    .to_string()
}
