//! Clients that read nothing for a while: the upstream waits with them, and nothing is lost, or held where they leave.

use std::time::Duration;

use http::Method;
use signalbox_tests::{
    Answer, Draft, System, Upstream, chat, chat_streamed,
    upstream::{self, DONE, finish, text},
    wait::soon,
};
use tokio::time::timeout;

async fn system() -> (System, Upstream) {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    let draft = Draft::new().upstream("main", &upstream.url());
    system.apply(draft.redirect("alias", "alias", &[("main", "m")])).await;
    (system, upstream)
}

/// Sends this again and again until nobody takes it any more; returns how often.
async fn fill(live: &upstream::Live, piece: &str) -> usize {
    for sent in 1..=160 {
        live.write(piece);
        if timeout(Duration::from_millis(500), live.taken()).await.is_err() {
            return sent;
        }
    }
    panic!("{} bytes were taken for a client that reads nothing", 160 * piece.len());
}

#[tokio::test]
async fn a_slow_reader_holds_the_upstream_back() {
    let (system, upstream) = system().await;
    let live = upstream.stream_live();
    live.write(text("m", "first"));
    let events = system.client().chat_stream("main/m").await;
    fill(&live, &text("m", &"x".repeat(512 * 1024))).await;
    drop(events);
    upstream.abandoned(0, Duration::from_secs(1)).await;
    system.data_plane().recorded("abandoned", 1).await;
}

#[tokio::test]
async fn who_reads_nothing_for_a_while_misses_nothing() {
    let long = "x".repeat(512 * 1024);
    for model in ["main/m", "alias"] {
        let (system, upstream) = system().await;
        let live = upstream.stream_live();
        live.write(text("m", "first"));
        let request = system.client().request(Method::POST, "/v1/chat/completions");
        let request = request.header("content-type", "application/json").body(chat_streamed(model).to_string());
        let answer = soon("the head", request.send()).await.unwrap();
        let sent = fill(&live, &text("m", &long)).await;
        live.write(finish("m"));
        live.write(DONE);
        live.end();
        let heard = soon("the rest", answer.text()).await.unwrap();
        let named = if model == "alias" { "alias" } else { "m" };
        let expected = [text(named, "first"), text(named, &long).repeat(sent), finish(named), DONE.to_owned()].concat();
        assert!(heard == expected, "{model}: {} bytes of {}", heard.len(), expected.len());
        system.data_plane().recorded("completed", 1).await;
    }
}

#[tokio::test]
async fn a_plain_answer_that_nobody_reads_for_a_while_is_whole_and_goes_with_who_leaves() {
    let long = "x".repeat(512 * 1024);
    let (system, upstream) = system().await;
    let ask = async || {
        let (answer, live) = Answer::status(200).header("content-type", "application/json").live();
        live.write("{\"model\":\"m\",\"long\":\"");
        upstream.answer(answer);
        let request = system.client().request(Method::POST, "/v1/chat/completions");
        let request = request.header("content-type", "application/json").body(chat("alias").to_string());
        let answer = soon("the head", request.send()).await.unwrap();
        let sent = fill(&live, &long).await;
        (answer, live, sent)
    };
    let (answer, live, sent) = ask().await;
    live.write("\"}");
    live.end();
    let heard = soon("the rest", answer.text()).await.unwrap();
    assert!(heard == format!("{{\"model\":\"alias\",\"long\":\"{}\"}}", long.repeat(sent)), "{} bytes", heard.len());
    system.data_plane().recorded("completed", 1).await;

    let (answer, _live, _) = ask().await;
    drop(answer);
    upstream.abandoned(1, Duration::from_secs(1)).await;
    system.data_plane().recorded("abandoned", 1).await;
}
