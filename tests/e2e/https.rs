//! An upstream behind TLS that is to be spoken to by HTTP/1.1. Each story runs in a process of its own, since whom a process trusts is
//! taken from its environment.

use std::{
    env,
    num::NonZeroUsize,
    path::Path,
    process::{Command, Stdio},
};

use http::Method;
use serde_json::json;
use signalbox_control_plane::certificate::{self, Files, Outcome};
use signalbox_proto::{
    admin::v1::Provider,
    config::v1::{HttpVersion, Pool},
};
use signalbox_tests::{
    Draft, Setup, System, TlsFront, Upstream, chat,
    draft::provider,
    upstream::{self, Answer, DONE, REPLY, finish, text},
};

/// Where a story that runs in a process of its own finds its certificates.
const CERTIFICATES: &str = "SIGNALBOX_STORY_CERTIFICATES";

/// Tells a story, which is the test of this name, in a process that trusts whom the story's certificates are from.
fn trusting(name: &str, story: impl AsyncFnOnce(Files)) {
    if let Some(dir) = env::var_os(CERTIFICATES) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        return runtime.block_on(story(certificates(Path::new(&dir))));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut again = Command::new(env::current_exe().unwrap());
    again.args([name, "--exact", "--nocapture"]).stdin(Stdio::null());
    again.env(CERTIFICATES, dir.path()).env("SSL_CERT_FILE", certificates(dir.path()).ca).env_remove("SSL_CERT_DIR");
    let told = again.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    assert!(told.status.success() && out.contains("1 passed"), "{out}\n{err}");
}

fn certificates(dir: &Path) -> Files {
    match certificate::make(dir, &["127.0.0.1".to_owned()]).unwrap() {
        Outcome::Made(files) | Outcome::AlreadyThere(files) => files,
    }
}

async fn system(files: Files) -> (System, Upstream, TlsFront) {
    // Each worker keeps connections of its own.
    let setup = Setup { workers: NonZeroUsize::new(1), ..Setup::default() };
    let (system, upstream) = (setup.start().await, Upstream::start().await);
    let front = TlsFront::start(&upstream, &files.cert, &files.key).await;
    let pool = Pool { http_version: HttpVersion::Http1.into(), ..Pool::default() };
    let main = Provider { pool: Some(pool), ..provider("main", &front.url()) };
    system.apply(Draft::new().provider(main).credential("main", "main", "sk-main")).await;
    (system, upstream, front)
}

#[test]
fn one_connection_carries_chats_and_streams() {
    trusting("https::one_connection_carries_chats_and_streams", async |files| {
        let (system, upstream, _front) = system(files).await;
        let client = system.client();
        assert_eq!(client.chat("main/m").await.content(), REPLY);
        assert_eq!(upstream.only().header("authorization"), Some("Bearer sk-main"));

        let live = upstream.stream_live();
        live.write(text("m", "a"));
        let mut events = client.chat_stream("main/m").await;
        assert_eq!(events.next().await, Some(text("m", "a")), "it passes while the rest is awaited");
        let rest = [finish("m"), DONE.to_owned()];
        rest.iter().for_each(|frame| live.write(frame));
        live.end();
        assert_eq!(events.rest().await, rest);

        // More than one record of TLS holds.
        let long = "x".repeat(1024 * 1024);
        upstream.answer(Answer::chat("m", &long));
        let asked = json!({"model": "main/m", "messages": [{"role": "user", "content": long}]});
        let reply = client.post("/v1/chat/completions", asked.to_string()).await;
        assert!(reply.content() == long && upstream.request(2).await.text().contains(&long));
        assert_eq!((upstream.seen().len(), upstream.connections()), (3, 1));
    });
}

#[test]
fn an_answer_that_breaks_off_is_broken() {
    trusting("https::an_answer_that_breaks_off_is_broken", async |files| {
        let (system, upstream, _front) = system(files).await;
        // With a farewell, and without.
        for (number, end) in [upstream::Live::cut, upstream::Live::reset].into_iter().enumerate() {
            let live = upstream.answer_live();
            live.write_raw(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"half\":",
            );
            let request = system.client().request(Method::POST, "/v1/chat/completions");
            let request = request.header("content-type", "application/json").body(chat("main/m").to_string());
            let sending = tokio::spawn(request.send());
            upstream.request(2 * number).await;
            let response = sending.await.unwrap().unwrap();
            end(live);
            assert!(response.bytes().await.is_err(), "half an answer must not look whole");

            let live = upstream.stream_live();
            live.write(text("m", "a"));
            let mut events = system.client().chat_stream("main/m").await;
            assert_eq!(events.next().await, Some(text("m", "a")));
            end(live);
            let last = events.rest().await.concat();
            assert!(last.contains("\"error\"") && last.contains("upstream_error"), "{last}");
        }
        system.data_plane().recorded("broken", 4).await;
        assert_eq!(system.client().chat("main/m").await.content(), REPLY);
        assert_eq!((upstream.seen().len(), upstream.connections()), (5, 5), "what broke is not used again");
    });
}
