//! What a provider keeps is found again by its id alone, and by nobody whose key may not use that provider.

use http::Method;
use serde_json::json;
use signalbox_proto::admin::v1::{ClientKey, Settings};
use signalbox_tests::{Answer, Client, Draft, Reply, System, Upstream, chat_streamed, draft::client_key};

/// Keys that the draft gives to clients of one provider, and of some of its models only.
const ONLY_B: &str = "sb_only-b";
const SOME_OF_A: &str = "sb_some-of-a";

async fn system() -> (System, Upstream, Upstream) {
    let (system, a, b) = (System::start().await, Upstream::start().await, Upstream::start().await);
    let allowed = |id: &str, secret: &str, model: &str| ClientKey {
        allowed_models: vec![model.to_owned()],
        ..client_key(id, secret)
    };
    let draft = Draft::new().upstream("a", &a.url()).upstream("b", &b.url());
    let draft =
        draft.client_key(allowed("only-b", ONLY_B, "b/*")).client_key(allowed("some-of-a", SOME_OF_A, "a/small"));
    system.apply(draft).await;
    (system, a, b)
}

async fn send(client: &Client, method: Method, path: &str) -> Reply {
    Reply::to(client.request(method, path)).await
}

async fn upload(client: &Client, form: &'static str) -> Reply {
    let request = client.request(Method::POST, "/v1/files").header("x-signalbox-provider", "b");
    Reply::to(request.header("content-type", "multipart/form-data; boundary=b").body(form)).await
}

#[tokio::test]
async fn a_file_goes_to_the_provider_named_and_comes_back_with_its_name() {
    let (system, a, b) = system().await;
    let client = system.client();
    let form = "--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--b--\r\n";
    b.answer(Answer::json(200, &json!({"id": "file-1", "object": "file"})));
    let reply = upload(&client, form).await;
    assert_eq!((reply.status, reply.json()), (200, json!({"id": "file-1~b", "object": "file"})));
    assert_eq!((reply.header("x-signalbox-provider"), reply.header("x-signalbox-model")), ("b", ""));
    let seen = b.only();
    assert_eq!((seen.target.as_str(), seen.text()), ("/v1/files", form));
    assert_eq!((seen.header("authorization"), seen.header("x-signalbox-provider")), (Some("Bearer sk-b"), None));

    b.answer(Answer::status(200).header("content-type", "application/octet-stream").body("{\"id\":\"as it is\"}"));
    let reply = client.get("/v1/files/file-1~b/content").await;
    assert_eq!(
        (reply.text(), b.request(1).await.target.as_str()),
        ("{\"id\":\"as it is\"}", "/v1/files/file-1/content")
    );
    b.answer(Answer::json(200, &json!({"id": "file-1", "deleted": true})));
    let reply = send(&client, Method::DELETE, "/v1/files/file-1~b").await;
    assert_eq!(reply.json(), json!({"id": "file-1~b", "deleted": true}));
    let listed = json!({"object": "list", "data": [{"id": "file-2"}], "first_id": "file-2", "last_id": "file-2"});
    b.answer(Answer::json(200, &listed));
    let reply = client.get("/v1/files?limit=1&after=file-1~b&api_key=").await;
    assert_eq!(b.request(3).await.target, "/v1/files?limit=1&after=file-1");
    assert_eq!(reply.json().pointer("/data/0/id").unwrap(), "file-2~b");
    assert_eq!(reply.json().get("last_id").unwrap(), "file-2~b");
    assert!(a.seen().is_empty());
}

#[tokio::test]
async fn a_batch_goes_where_its_file_is() {
    let (system, _a, b) = system().await;
    let made = json!({"id": "batch_1", "input_file_id": "file-1", "output_file_id": null, "error_file_id": "file-3"});
    b.answer(Answer::json(200, &made));
    let client = system.client();
    let reply = client.post("/v1/batches", r#"{ "input_file_id" : "file-1~b", "endpoint":"/v1/embeddings"}"#).await;
    let told =
        json!({"id": "batch_1~b", "input_file_id": "file-1~b", "output_file_id": null, "error_file_id": "file-3~b"});
    assert_eq!((reply.status, reply.json()), (200, told));
    assert_eq!(b.only().text(), r#"{ "input_file_id" : "file-1", "endpoint":"/v1/embeddings"}"#);
    b.answer(Answer::error(503));
    b.answer(Answer::json(200, &made));
    let reply = client.get("/v1/batches/batch_1~b").await;
    assert_eq!((reply.status, reply.header("x-signalbox-attempts")), (200, "2"));
    b.answer(Answer::json(200, &made));
    assert_eq!(send(&client, Method::POST, "/v1/batches/batch_1~b/cancel").await.status, 200);
    assert_eq!(b.request(3).await.target, "/v1/batches/batch_1/cancel");
}

#[tokio::test]
async fn a_response_is_continued_where_it_was_made() {
    let (system, a, b) = system().await;
    let draft = Draft::new().redirect("both", "both", &[("a", "m"), ("b", "m")]);
    system.apply(draft).await;
    let client = system.client();
    b.answer(Answer::json(200, &json!({"id": "resp_2", "model": "m", "previous_response_id": "resp_1"})));
    let request =
        r#"{"model":"both","previous_response_id":"resp_1~b","input":[{"content":[{"file_id":"file-1~b"}]}]}"#;
    let reply = client.post("/v1/responses", request).await;
    assert_eq!(reply.json().get("id").unwrap(), "resp_2~b");
    assert_eq!(reply.json().get("previous_response_id").unwrap(), "resp_1~b");
    let sent = r#"{"model":"m","previous_response_id":"resp_1","input":[{"content":[{"file_id":"file-1"}]}]}"#;
    assert_eq!(b.only().text(), sent);
    let reply = client.post("/v1/responses", r#"{"model":"a/m","previous_response_id":"resp_1~b"}"#).await;
    assert_eq!((reply.status, reply.code().as_str()), (404, "model_not_found"));
    let mixed = r#"{"model":"both","previous_response_id":"resp_1~b","input":[{"file_id":"f~a"}]}"#;
    assert_eq!(client.post("/v1/responses", mixed).await.code(), "mixed_providers");
    assert!(a.seen().is_empty());

    let event = |id: &str| format!("data: {{\"type\":\"response.completed\",\"response\":{{\"id\":\"{id}\"}}}}\n\n");
    b.answer(Answer::stream([event("resp_2").as_str()]));
    let streamed = client.request(Method::GET, "/v1/responses/resp_2~b?stream=true").send().await.unwrap();
    assert_eq!(signalbox_tests::Events::of(streamed).rest().await, [event("resp_2~b")]);
    assert_eq!(b.request(1).await.target, "/v1/responses/resp_2?stream=true");
    b.answer(Answer::json(200, &json!({"data": [{"id": "msg_1"}], "first_id": "msg_1"})));
    let items = client.get("/v1/responses/resp_2~b/input_items").await;
    assert_eq!(items.json(), json!({"data": [{"id": "msg_1"}], "first_id": "msg_1"}));
}

#[tokio::test]
async fn an_id_is_no_authorisation() {
    let (system, a, b) = system().await;
    let stranger = system.client().with_key(ONLY_B);
    for (method, path) in [
        (Method::GET, "/v1/files/file-1~a"),
        (Method::DELETE, "/v1/files/file-1~a"),
        (Method::GET, "/v1/files/file-1~a/content"),
        (Method::GET, "/v1/batches/batch_1~a"),
        (Method::GET, "/v1/responses/resp_1~a"),
        (Method::GET, "/v1/files/file-1~nobody"),
        (Method::GET, "/v1/files?after=file-1~a"),
    ] {
        let reply = send(&stranger, method, path).await;
        assert_eq!((reply.status, reply.code().as_str()), (404, "not_found"), "{path}");
    }
    for body in
        [r#"{"model":"b/m","previous_response_id":"resp_1~a"}"#, r#"{"model":"b/m","input":[{"file_id":"file-1~a"}]}"#]
    {
        assert_eq!(stranger.post("/v1/responses", body).await.status, 404, "{body}");
    }
    let named = stranger.request(Method::GET, "/v1/files").header("x-signalbox-provider", "a");
    assert_eq!(Reply::to(named).await.status, 404);
    assert_eq!(system.client().without_key().get("/v1/files/file-1~a").await.status, 401);
    // A batch could ask for any model.
    let some = system.client().with_key(SOME_OF_A);
    assert_eq!(some.post("/v1/batches", r#"{"input_file_id":"file-1~a"}"#).await.status, 404);
    assert!(a.seen().is_empty() && b.seen().is_empty());
}

#[tokio::test]
async fn who_is_meant_must_be_clear() {
    let (system, a, b) = system().await;
    let client = system.client();
    let reply = client.get("/v1/files/file-1").await;
    assert_eq!((reply.status, reply.code().as_str()), (400, "provider_required"));
    let reply = send(&client, Method::PUT, "/v1/files/file-1~a").await;
    assert_eq!((reply.status, reply.header("allow")), (405, "GET, HEAD, DELETE"));
    b.answer(Answer::status(200).header("content-type", "application/json").bodiless());
    assert_eq!(send(&client, Method::HEAD, "/v1/files/file-1~b").await.status, 200);
    assert_eq!((b.only().method.as_str(), b.only().target.as_str()), ("HEAD", "/v1/files/file-1"));
    let reply = send(&client, Method::OPTIONS, "/v1/batches").await;
    assert_eq!((reply.status, reply.header("allow")), (405, "GET, HEAD, POST"));
    a.answer(Answer::json(200, &json!({"id": "file-1"})));
    system
        .apply(Draft::new().settings(Settings { default_provider: "providers/a".to_owned(), ..Settings::default() }))
        .await;
    assert_eq!(client.get("/v1/files/file-1").await.json(), json!({"id": "file-1~a"}));
    assert_eq!(b.seen().len(), 1);
}

#[tokio::test]
async fn a_header_names_the_provider_of_a_model_too() {
    let (system, a, b) = system().await;
    system.apply(Draft::new().redirect("both", "both", &[("a", "m"), ("b", "m")])).await;
    let client = system.client();
    let named = |name: &str| {
        let request = client.request(Method::POST, "/v1/chat/completions").header("content-type", "application/json");
        request.header("x-signalbox-provider", name).body(chat_streamed("both").to_string())
    };
    let reply = Reply::to(named("b")).await;
    assert_eq!((reply.status, reply.header("x-signalbox-provider")), (200, "b"));
    assert_eq!(b.only().header("x-signalbox-provider"), None);
    assert_eq!(Reply::to(named("nobody")).await.status, 404);
    assert!(a.seen().is_empty());
}
