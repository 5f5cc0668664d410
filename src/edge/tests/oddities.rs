//! Requests that are rare or strange: what vendors' special answers look like on the wire, and what
//! hyper and we make of bytes that no vendor sends.

use super::*;
use crate::ingest::testing::BOT_SEED;

#[tokio::test]
async fn a_get_handshake_is_answered_with_its_challenge_and_only_under_its_token() {
    let edge = Listening::new();
    let ask = |source: &'static str, token: &'static str| {
        let target = format!("/webhooks/acme/{source}?hub.mode=subscribe&hub.verify_token={token}&hub.challenge=115");
        let edge = &edge;
        async move { edge.ask("GET", &target, "", "").await }
    };
    let answer = ask("hook", "open-sesame").await;
    assert_eq!(status(&answer), 200, "{answer}");
    assert!(answer.contains("content-type: text/plain\r\n") && answer.ends_with("\r\n\r\n115"), "{answer}");
    // Nothing tells a source that has such a handshake from one that has none, or from no source.
    let undated =
        |answer: &str| answer.lines().filter(|line| !line.starts_with("date: ")).collect::<Vec<_>>().join("\n");
    let wrong = undated(&ask("hook", "open-sesam").await);
    assert!(wrong.starts_with("HTTP/1.1 405 "), "{wrong}");
    assert_eq!(wrong, undated(&ask("app", "open-sesame").await));
    assert_eq!(wrong, undated(&ask("nothing", "open-sesame").await));
}

#[tokio::test]
async fn a_vendor_that_wants_204_gets_it_without_a_body() {
    let edge = Listening::new();
    let event = r#"{"version":1,"application_id":"1","type":1,"event":{"type":"APPLICATION_AUTHORIZED","timestamp":"2026-01-01T11:59:00.000000","data":{}}}"#;
    for (sent, stored) in [(r#"{"version":1,"application_id":"1","type":0}"#, 0), (event, 1), (event, 1)] {
        let headers = lines(&edge.world.signed_with("bot", BOT_SEED, "e1", sent.as_bytes()));
        let answer = edge.ask("POST", "/webhooks/acme/bot", &headers, sent).await;
        assert_eq!(status(&answer), 204, "{answer}");
        assert!(answer.ends_with("\r\n\r\n") && !answer.contains("content-type"), "{answer}");
        assert_eq!(edge.world.store.count(), stored);
    }
}

/// RFC 9110 §8.6 lets a recipient take identical lengths for one, and hyper does. Different ones are
/// refused (see `ambiguous_framing_never_makes_two_requests`).
#[tokio::test]
async fn a_length_that_is_there_twice_and_identical_is_one_length() {
    let edge = Listening::new();
    let sent = body(1);
    let twice = format!("content-length: {}\r\n{}", sent.len(), edge.signed("app", "e1", &sent));
    let answer = edge.ask("POST", "/webhooks/acme/app", &twice, &sent).await;
    assert_eq!(status(&answer), 200, "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
}

/// RFC 9112 §6.3: the chunks count, and the connection ends with the answer, so that nothing that a
/// proxy counted by the length is ever taken for a request.
#[tokio::test]
async fn of_chunks_and_a_length_the_chunks_count_and_the_connection_ends() {
    let (length, chunks) = ("content-length: 4\r\n", "transfer-encoding: chunked\r\n");
    for framing in [[length, chunks], [chunks, length]] {
        let edge = Listening::new();
        let sent = body(1);
        let (headers, framing) = (edge.signed("app", "e1", &sent), framing.concat());
        let request = format!(
            "POST /webhooks/acme/app HTTP/1.1\r\nhost: x\r\n{headers}{framing}\r\n{:x}\r\n{sent}\r\n0\r\n\r\n\
             GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n",
            sent.len()
        );
        let answers = edge.exchange(request).await;
        assert_eq!(status(&answers), 200, "{answers}");
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
    }
}

/// RFC 9112 §3.2.
#[tokio::test]
async fn a_request_without_a_host_or_with_two_is_refused_and_the_connection_ends() {
    let edge = Listening::new();
    let (sent, next) = (body(1), "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
    let headers = edge.signed("app", "e1", &sent);
    for (version, hosts, expected) in [
        ("1.1", "", 400),
        ("1.1", "host: x\r\nhost: x\r\n", 400),
        ("1.0", "host: x\r\nhost: y\r\n", 400),
        ("1.0", "", 200),
    ] {
        let length = sent.len();
        let request = format!(
            "POST /webhooks/acme/app HTTP/{version}\r\n{hosts}{headers}content-length: {length}\r\n\r\n{sent}{next}"
        );
        let answers = edge.exchange(request).await;
        assert_eq!(status(&answers), expected, "{version} {hosts:?}: {answers}");
        assert_eq!(answers.matches("HTTP/1.").count(), 1, "{answers}");
    }
}

#[tokio::test]
async fn zero_bytes_are_no_json_and_escaped_ones_are_stored_as_they_came() {
    let edge = Listening::new();
    let raw = body(1).replace("t1", "t\0");
    assert_eq!(status(&edge.deliver("app", "e1", &raw).await), 400);
    let only = "\0\0\0\0";
    assert_eq!(status(&edge.deliver("app", "e2", only).await), 400);
    let escaped = body(1).replace(r#"{"n":1}"#, r#"{"n":"\u0000"}"#);
    assert_eq!(status(&edge.deliver("app", "e3", &escaped).await), 200);
    let events = edge.world.store.events.lock().unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].raw, escaped.as_bytes());
}

#[tokio::test]
async fn an_empty_body_is_refused_and_stored_nowhere() {
    let edge = Listening::new();
    for (source, sources_key) in [("app", "app-secret"), ("pay", "whsec_test_pay_secret"), ("bot", BOT_SEED)] {
        let headers = lines(&edge.world.signed_with(source, sources_key, "e1", b""));
        let target = format!("/webhooks/acme/{source}");
        for framing in ["", "content-length: 0\r\n", "transfer-encoding: chunked\r\n"] {
            let end = if framing.starts_with("transfer") { "0\r\n\r\n" } else { "" };
            let request =
                format!("POST {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}{framing}\r\n{end}");
            let answer = edge.exchange(request).await;
            assert_eq!(status(&answer), 400, "{source} {framing:?}: {answer}");
        }
    }
    assert_eq!(edge.world.store.count(), 0);
}

#[tokio::test]
async fn ten_thousand_headers_are_refused_before_they_are_all_read() {
    let edge = Listening::new();
    let many: String = (0..10_000).map(|n| format!("x-{n}: 1\r\n")).collect();
    let few: String = (0..120).map(|n| format!("x-{n}: 1\r\n")).collect();
    for headers in [many, few] {
        let answer = edge.ask("POST", "/webhooks/acme/app", &headers, "{}").await;
        assert_eq!(status(&answer), 431, "{answer}");
    }
    assert_eq!(status(&edge.deliver("app", "e1", &body(1)).await), 200, "others are served as ever");
}

#[tokio::test]
async fn a_header_that_is_no_text_is_refused_where_it_is_signed_and_dropped_elsewhere() {
    let edge = Listening::new();
    let sent = body(1);
    let signed = edge.signed("app", "e1", &sent);
    let ask = |headers: Vec<u8>| {
        let head = format!(
            "POST /webhooks/acme/app HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n",
            sent.len()
        );
        let request = [head.as_bytes(), &headers, b"\r\n", sent.as_bytes()].concat();
        let edge = &edge;
        async move { status(&edge.exchange(request).await) }
    };
    for name in ["x-signature: ", "x-timestamp: ", "x-event-id: "] {
        let mut headers = Vec::new();
        for line in signed.split_inclusive("\r\n") {
            headers.extend_from_slice(if line.starts_with(name) { name.as_bytes() } else { line.as_bytes() });
            headers.extend_from_slice(if line.starts_with(name) { b"\xff\xfe\r\n" } else { b"" });
        }
        let answer = ask(headers).await;
        assert!(matches!(answer, 400 | 401), "{name}: {answer}");
    }
    assert_eq!(edge.world.store.count(), 0);
    let agent = [signed.as_bytes(), b"user-agent: \xff\xfe\r\ntraceparent: \xff\r\n"].concat();
    assert_eq!(ask(agent).await, 200);
    let events = edge.world.store.events.lock().unwrap();
    assert!(!events[0].headers.contains("user-agent"), "{}", events[0].headers);
    assert_eq!(events[0].trace_link, None);
}
