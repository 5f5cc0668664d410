//! A callee that refuses, and says in its answer all that it was sent: credentials too.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// What it answers, by the first word of the path; `huge` is 200 with a body past any limit, `words` is 200 that is no JSON.
pub(super) const ANSWERS: [&str; 13] =
    ["200", "302", "400", "401", "403", "404", "409", "422", "429", "500", "503", "huge", "words"];

/// Listens on all of loopback, so that each answer has a host of its own; ends with the test's runtime.
pub(super) async fn start() -> u16 {
    let listener = TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], 0))).await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    port
}

/// The origin whose answers are this one.
pub(super) fn origin(port: u16, answer: &str) -> String {
    let at = ANSWERS.iter().position(|known| *known == answer).expect("one of them");
    format!("http://127.0.0.{}:{port}/{answer}", at + 2)
}

/// One request a connection.
async fn answer(mut stream: TcpStream) -> Option<()> {
    let mut request = Vec::new();
    let body_at = loop {
        if let Some(at) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&request[..body_at]).into_owned();
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    while request.len() < body_at + length.unwrap_or(0) {
        if stream.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
    }
    let kind = head.split(['/', ' ']).filter(|part| !part.is_empty()).nth(1).unwrap_or_default().to_owned();
    let said = String::from_utf8_lossy(&request).into_owned();
    let status: u16 = kind.parse().unwrap_or(200);
    let json = serde_json::json!({
        "error": { "message": format!("Incorrect API key provided: {head}"), "param": said },
        "authorization": said,
        "code": "rest_forbidden",
        "message": said,
    });
    let body = match kind.as_str() {
        "words" => said.clone(),
        "huge" => said.repeat(12 * 1024 * 1024 / said.len()),
        _ if status.is_multiple_of(2) => json.to_string(),
        _ => format!("<html><title>{status}</title><pre>{said}</pre>"),
    };
    // In headers as well: of the first credential that was sent.
    let credential = head.lines().find(|line| line.to_ascii_lowercase().contains("auth")).unwrap_or_default();
    let more = format!(
        "location: /?{}\r\nwww-authenticate: {credential}\r\nretry-after: {credential}\r\n",
        hex::encode(credential)
    );
    let answer =
        format!("HTTP/1.1 {status} {credential}\r\n{more}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
    stream.write_all(answer.as_bytes()).await.ok()?;
    stream.write_all(body.as_bytes()).await.ok()
}
