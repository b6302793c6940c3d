//! The table of errors: status, type, code and headers of each, and what passes through unchanged.

use http::{HeaderMap, Method};
use serde_json::{Value, json};
use signalbox_proto::{
    admin::v1::{Credential, Provider, Settings},
    config::v1::{Retry, Timeouts},
};
use signalbox_tests::{
    Answer, CLIENT_KEY, Draft, Reply, System, Upstream, chat, chat_streamed,
    draft::{credential, millis, provider},
    upstream::Refusing,
};

const CHAT: &str = "/v1/chat/completions";

/// What the table says of an error.
#[derive(Debug, PartialEq)]
struct Row {
    status: u16,
    kind: &'static str,
    code: &'static str,
    param: Option<&'static str>,
    headers: &'static [(&'static str, &'static str)],
}

const fn row(status: u16, kind: &'static str, code: &'static str) -> Row {
    Row { status, kind, code, param: None, headers: &[] }
}

impl Row {
    const fn param(self, param: &'static str) -> Self {
        Self { param: Some(param), ..self }
    }

    const fn headers(self, headers: &'static [(&'static str, &'static str)]) -> Self {
        Self { headers, ..self }
    }

    #[track_caller]
    fn holds(&self, reply: &Reply) {
        let error = reply.json();
        let told = |key| error.pointer(&format!("/error/{key}")).cloned();
        assert_eq!((reply.status, reply.code().as_str()), (self.status, self.code), "{}", reply.text());
        assert_eq!(told("type"), Some(self.kind.into()), "{}", reply.text());
        assert_eq!(told("param"), Some(self.param.map_or(Value::Null, Value::from)), "{}", reply.text());
        assert!(told("message").is_some_and(|message| message.as_str().is_some_and(|text| text.len() > 10)));
        assert_eq!(reply.header("content-type"), "application/json");
        assert!(reply.header("x-request-id").len() >= 32, "{:?}", reply.headers);
        for (name, value) in self.headers {
            assert_eq!(reply.header(name), *value, "{name} of {}", reply.text());
        }
    }
}

const NO_RETRY: &[(&str, &str)] = &[("x-should-retry", "false")];
const INVALID: &str = "invalid_request_error";
const SERVER: &str = "server_error";

/// One attempt for each request, so that what it comes to is what the client sees.
fn single(id: &str, url: &str) -> Provider {
    Provider { retry: Some(Retry { attempts: Some(1), ..Retry::default() }), ..provider(id, url) }
}

/// The same, with clocks that run out at once.
fn hasty(id: &str, url: &str) -> Provider {
    let timeouts = Timeouts { response_header: millis(50), first_event: millis(50), ..Timeouts::default() };
    Provider { timeouts: Some(timeouts), ..single(id, url) }
}

#[tokio::test]
async fn what_the_client_does_wrong_is_told_as_the_table_says() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    let draft = Draft::new().upstream("main", &upstream.url());
    system.apply(draft.settings(Settings { max_request_bytes: Some(1000), ..Settings::default() })).await;
    let client = system.client();
    let bearer: &[_] = &[("www-authenticate", "Bearer")];
    row(401, INVALID, "missing_api_key").headers(bearer).holds(&client.without_key().chat("main/m").await);
    row(401, INVALID, "invalid_api_key").holds(&client.with_key("sb_wrong").chat("main/m").await);
    row(404, INVALID, "model_not_found").param("model").holds(&client.chat("other/m").await);
    row(404, INVALID, "unknown_url").holds(&client.post("/v1/nothing/here", "{}").await);
    row(404, INVALID, "unknown_url").holds(&client.get("/nobody/mounted/this").await);
    row(405, INVALID, "method_not_allowed").headers(&[("allow", "POST")]).holds(&client.get(CHAT).await);
    row(400, INVALID, "invalid_json").holds(&client.post(CHAT, "{").await);
    row(400, INVALID, "missing_parameter").param("model").holds(&client.post(CHAT, "{}").await);
    row(413, INVALID, "request_too_large").holds(&client.post(CHAT, vec![b' '; 1001]).await);
    let chunked = reqwest::Body::wrap_stream(futures_util::stream::iter(
        [b' '; 2].map(|space| Ok::<_, std::io::Error>(vec![space; 600])),
    ));
    row(413, INVALID, "request_too_large").holds(&client.post(CHAT, chunked).await);
    let body = chat("main/m").to_string();
    let typed = |kind: &str| client.request(Method::POST, CHAT).header("content-type", kind).body(body.clone());
    row(415, INVALID, "unsupported_media_type").holds(&Reply::to(typed("text/plain")).await);
    let packed = typed("application/json").header("content-encoding", "gzip");
    row(415, INVALID, "unsupported_media_type").holds(&Reply::to(packed).await);
    assert!(upstream.seen().is_empty(), "nothing of this is the upstream's business: {:?}", upstream.seen());
}

#[tokio::test]
async fn what_the_upstream_does_wrong_is_told_as_the_table_says() {
    let (system, upstream, refusing) = (System::start().await, Upstream::start().await, Refusing::start());
    let one_at_a_time = Credential { max_in_flight: Some(1), ..credential("busy", "k", "sk-busy") };
    let mut draft = Draft::new()
        .provider(single("main", &upstream.url()))
        .provider(single("keyed", &upstream.url()))
        .credential("keyed", "k", "sk-keyed")
        .provider(single("limited", &upstream.url()))
        .credential("limited", "k", "sk-limited")
        .provider(single("busy", &upstream.url()))
        .provider(hasty("hasty", &upstream.url()))
        .provider(single("gone", &refusing.url()));
    draft.0.credentials.push(one_at_a_time);
    system.apply(draft).await;
    let client = system.client();

    row(502, SERVER, "upstream_error").headers(NO_RETRY).holds(&client.chat("gone/m").await);
    upstream.answer(Answer::hang());
    row(504, SERVER, "upstream_timeout").headers(NO_RETRY).holds(&client.chat("hasty/m").await);
    let _silent = upstream.stream_live();
    let streamed = client.post(CHAT, chat_streamed("hasty/m").to_string()).await;
    row(504, SERVER, "upstream_timeout").headers(NO_RETRY).holds(&streamed);
    let upgrade = Answer::raw("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n");
    let garbage = Answer::raw("SSH-2.0-OpenSSH_9.9\r\n");
    for answer in [Answer::error(500), Answer::error(503), Answer::reset(), garbage, upgrade] {
        upstream.answer(answer);
        row(502, SERVER, "upstream_error").headers(NO_RETRY).holds(&client.chat("main/m").await);
    }
    for status in [301, 302, 307, 308] {
        upstream.answer(Answer::status(status).header("location", "http://127.0.0.1:9/").body(""));
        row(502, SERVER, "upstream_error").headers(NO_RETRY).holds(&client.chat("main/m").await);
    }
    for _ in 0..2 {
        upstream.answer(Answer::error(401));
        row(502, SERVER, "upstream_credentials_exhausted").headers(NO_RETRY).holds(&client.chat("keyed/m").await);
    }
    let limited = Answer::status(429).header("retry-after", "7").body("{}");
    upstream.answer(limited);
    let reply = client.chat("limited/m").await;
    row(429, "requests", "rate_limit_exceeded").headers(&[("retry-after", "7")]).holds(&reply);
    assert!((1..=7000).contains(&reply.header("retry-after-ms").parse().unwrap()), "{:?}", reply.headers);
    let before = upstream.seen().len();
    row(429, "requests", "rate_limit_exceeded").holds(&client.chat("limited/m").await);
    assert_eq!(upstream.seen().len(), before, "a cooling credential is not tried");

    let live = upstream.answer_live();
    let under_way = tokio::spawn({
        let client = client.clone();
        async move { client.chat("busy/m").await.status }
    });
    upstream.request(before).await;
    let reply = client.chat("busy/m").await;
    row(503, SERVER, "no_available_target").holds(&reply);
    assert_ne!(reply.header("retry-after"), "");
    live.play(Answer::chat("m", "at last"));
    assert_eq!(under_way.await.unwrap(), 200);
}

#[tokio::test]
async fn a_long_wait_is_not_left_to_the_sdks() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    system.apply(Draft::new().provider(single("main", &upstream.url())).credential("main", "k", "sk-main")).await;
    upstream.answer(Answer::status(429).header("retry-after", "61").body("{}"));
    let reply = system.client().chat("main/m").await;
    row(429, "requests", "rate_limit_exceeded").headers(NO_RETRY).holds(&reply);
    assert_eq!(reply.header("retry-after"), "61");
}

#[tokio::test]
async fn an_upstreams_refusal_of_the_request_itself_passes_unchanged() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    system.apply(Draft::new().upstream("main", &upstream.url())).await;
    for status in [400, 404, 409, 413, 422, 451] {
        let body = json!({"error": {"message": "theirs", "code": status}, "more": [1, 2]}).to_string();
        let answer =
            Answer::status(status).header("content-type", "application/problem+json").header("x-theirs", "kept");
        upstream.answer(answer.body(&body));
        let reply = system.client().chat("main/m").await;
        assert_eq!((reply.status, reply.text()), (status, body.as_str()));
        assert_eq!((reply.header("content-type"), reply.header("x-theirs")), ("application/problem+json", "kept"));
        assert_eq!(reply.header("x-signalbox-attempts"), "1");
    }
    assert_eq!(upstream.seen().len(), 6, "none was tried again");
}

#[tokio::test]
async fn every_answer_has_a_request_id_of_its_own() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    system.apply(Draft::new().upstream("main", &upstream.url())).await;
    let client = system.client();
    let id = |headers: &HeaderMap| headers["x-request-id"].to_str().unwrap().to_owned();
    let mut ids = vec![
        id(&client.chat("main/m").await.headers),
        id(&client.chat_stream("main/m").await.headers),
        id(&client.chat("nobody/m").await.headers),
        id(&client.get("/v1/models").await.headers),
        id(&client.get("/").await.headers),
        id(&client.get("/nowhere").await.headers),
        id(&client.without_key().chat("main/m").await.headers),
    ];
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 7, "{ids:?}");
}

#[tokio::test]
async fn a_refused_key_is_never_echoed() {
    let system = System::start().await;
    for key in ["sb_a-distinctive-wrong-key", &CLIENT_KEY[..20], &CLIENT_KEY.to_uppercase(), &format!("{CLIENT_KEY}x")]
    {
        let reply = system.client().with_key(key).chat("main/m").await;
        row(401, INVALID, "invalid_api_key").holds(&reply);
        assert!(!reply.text().contains(key) && !format!("{:?}", reply.headers).contains(key), "{reply:?}");
    }
}
