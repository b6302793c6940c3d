//! When the client has gone, the upstream call is gone: dropping the future or the body closes the connection, in every phase.

use tokio::task::JoinHandle;

use super::{
    upstream::{Act, Step, Upstream, json, stream_of, then},
    *,
};

const ROLE: &str = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n";
const HI: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n";

fn start(upstream: &Upstream, call: Call) -> JoinHandle<(Result<Won, Failed>, Trail)> {
    let scene = Scene::new([provider("only", upstream.address, &["secret-key"])]);
    tokio::spawn(async move { scene.run(call).await })
}

#[tokio::test]
async fn before_the_answer_is_committed() {
    for (case, act) in [
        ("before the header", vec![Step::Hang]),
        ("before the first event", then(stream_of(&[]), Step::Hang)),
        ("after an empty delta", then(stream_of(&[ROLE]), Step::Hang)),
    ] {
        let upstream = Upstream::play([act]).await;
        let running = start(&upstream, streamed());
        upstream.has_seen(1).await;
        running.abort();
        assert!(running.await.is_err_and(|ended| ended.is_cancelled()), "{case}");
        upstream.was_left(1).await;
    }
}

#[tokio::test]
async fn in_the_middle_of_an_answer() {
    let half = vec![Step::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".to_vec()), Step::Hang];
    for (call, act) in [(streamed(), then(stream_of(&[HI]), Step::Hang)), (chat(), half)] {
        let upstream = Upstream::play([act]).await;
        let mut body = start(&upstream, call).await.unwrap().0.unwrap().body;
        body.frame().await.expect("a first piece").unwrap();
        drop(body);
        upstream.was_left(1).await;
    }
}

#[tokio::test]
async fn before_an_answer_that_was_won_is_read() {
    let act: Act = then(stream_of(&[HI]), Step::Hang);
    let upstream = Upstream::play([act]).await;
    drop(start(&upstream, streamed()).await.unwrap());
    upstream.was_left(1).await;
}

#[tokio::test]
async fn during_a_pause_between_attempts() {
    let upstream = Upstream::play([json("500 Internal Server Error", "{}")]).await;
    let mut patient = provider("only", upstream.address, &[]);
    (patient.retry.backoff_base, patient.retry.backoff_cap) = (3600 * SECOND, 3600 * SECOND);
    let scene = Scene::new([patient]);
    let running = tokio::spawn(async move { scene.run(streamed()).await.1 });
    upstream.has_seen(1).await;
    running.abort();
    assert!(running.await.is_err_and(|ended| ended.is_cancelled()));
    assert_eq!(upstream.seen().len(), 1);
}
