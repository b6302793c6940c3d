//! Committed streams: what the client reads, to the byte, and how each ends.

use super::{
    upstream::{Act, Step, Upstream, stream, stream_of, then},
    *,
};
use crate::usage::Usage;

const ROLE: &str =
    "data: {\"model\":\"served\",\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
const HI: &str = "data: {\"model\":\"served\",\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n";
const STOP: &str = "data: {\"model\":\"served\",\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";

async fn won(act: Act) -> Won {
    let falls_silent = act.iter().any(|step| matches!(step, Step::Hang));
    let upstream = Upstream::play([act]).await;
    let mut provider = provider("only", upstream.address, &[]);
    if falls_silent {
        provider.timeouts.stream_idle = Duration::from_millis(300);
    }
    Scene::new([provider]).win(streamed()).await
}

/// What the client reads, and what the gateway knows of its end.
async fn told(act: Act) -> (String, Option<String>) {
    let mut body = won(act).await.body;
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        bytes.extend(frame.expect("a stream ends in an event").into_data().expect("no trailers"));
    }
    (String::from_utf8(bytes).unwrap(), body.broken().map(ToString::to_string))
}

#[tokio::test]
async fn a_well_formed_stream_passes_untouched_however_it_is_cut() {
    let whole = [": hello\n\n", ROLE, HI, STOP, "data: {\"choices\":[],\"usage\":{}}\n\n", DONE].concat();
    for size in [1, 7, 64, 4096] {
        let pieces: Vec<&str> =
            whole.as_bytes().chunks(size).map(|piece| std::str::from_utf8(piece).unwrap()).collect();
        assert_eq!(told(stream(&pieces)).await, (whole.clone(), None), "in pieces of {size}");
    }
}

#[tokio::test]
async fn odd_framing_is_put_right_and_ids_are_stripped() {
    let odd = format!("\u{feff}id: 1\r\n{}retry: 5\r{}", HI.replace('\n', "\r\n"), STOP.replace('\n', "\r"));
    let (told, broken) = told(stream(&[&odd, "data: [DONE]"])).await;
    assert_eq!((told, broken), ([HI, STOP, DONE].concat(), None));
}

#[tokio::test]
async fn a_stream_is_complete_with_its_terminator_or_a_finish_reason() {
    for (case, act, read) in [
        ("both", stream(&[HI, STOP, DONE]), [HI, STOP, DONE].concat()),
        ("the terminator alone", stream(&[HI, DONE]), [HI, DONE].concat()),
        ("the terminator, then a break", then(stream_of(&[HI, DONE]), Step::Close), [HI, DONE].concat()),
        ("the terminator, then silence", then(stream_of(&[HI, DONE]), Step::Hang), [HI, DONE].concat()),
        ("the terminator, then more", stream(&[HI, DONE, HI]), [HI, DONE].concat()),
        ("a finish reason alone", stream(&[HI, STOP]), [HI, STOP].concat()),
        ("a finish reason, and no final newline", stream(&[HI, STOP.trim_end()]), [HI, STOP].concat()),
    ] {
        assert_eq!(told(act).await, (read, None), "{case}");
    }
}

#[tokio::test]
async fn a_stream_that_breaks_ends_in_an_error_event_and_never_in_the_terminator() {
    for (case, act, whole, reason) in [
        ("broken off", then(stream_of(&[HI]), Step::Close), HI.to_owned(), "broke off"),
        ("reset", then(stream_of(&[HI]), Step::Reset), HI.to_owned(), "broke off"),
        ("broken off within an event", then(stream_of(&[HI, "data: {\"cho"]), Step::Close), HI.to_owned(), "broke off"),
        (
            "broken off after a finish reason",
            then(stream_of(&[HI, STOP]), Step::Close),
            [HI, STOP].concat(),
            "broke off",
        ),
        ("ended too early", stream(&[HI]), HI.to_owned(), "before it was complete"),
        ("ended within an event", stream(&[HI, "data: {\"cho"]), HI.to_owned(), "before it was complete"),
        ("silent", then(stream_of(&[HI]), Step::Hang), HI.to_owned(), "silent"),
    ] {
        let (told, broken) = told(act).await;
        let last = told.strip_prefix(&whole).unwrap_or_else(|| panic!("{case}: {told}"));
        assert!(last.starts_with("data: {\"error\":{") && last.ends_with("}}\n\n"), "{case}: {last}");
        assert_eq!(last.matches("data: ").count(), 1, "{case}: {last}");
        assert!(broken.as_ref().is_some_and(|broken| broken.contains(reason)), "{case}: {broken:?}");
    }
}

#[tokio::test]
async fn an_error_of_the_upstream_s_own_is_not_followed_by_ours() {
    let error = "data: {\"error\":{\"message\":\"overloaded\"}}\n\n";
    let (told, broken) = told(stream(&[HI, error])).await;
    assert_eq!(told, [HI, error].concat());
    assert!(broken.is_some_and(|broken| broken.contains("reported an error")));
}

#[tokio::test]
async fn each_event_names_the_model_as_requested() {
    let upstream = Upstream::play([stream(&[ROLE, HI, STOP, DONE])]).await;
    let scene = Scene::new([provider("only", upstream.address, &[])]).naming_the_model_as_requested();
    assert_eq!(
        text(scene.win(streamed()).await.body).await,
        [ROLE, HI, STOP, DONE].concat().replace("served", "asked")
    );

    let event = |kind: &str| {
        format!("event: {kind}\ndata: {{\"type\":\"{kind}\",\"response\":{{\"error\":null,\"model\":\"served\"}}}}\n\n")
    };
    let events = [
        event("response.created"),
        "data: {\"type\":\"x\",\"delta\":\"served\"}\n\n".into(),
        event("response.completed"),
    ];
    let upstream = Upstream::play([stream(&[&events[0], &events[1], &events[2]])]).await;
    let scene =
        Scene::new([provider("only", upstream.address, &[])]).at(Endpoint::Responses).naming_the_model_as_requested();
    let call = Call { endpoint: Endpoint::Responses, ..streamed() };
    let expected = events.concat().replace("\"model\":\"served\"", "\"model\":\"asked\"");
    assert_eq!(text(scene.win(call).await.body).await, expected);
}

#[tokio::test]
async fn a_response_is_complete_with_its_last_event() {
    let created = "data: {\"type\":\"response.created\"}\n\n";
    let completed = "data: {\"type\":\"response.completed\"}\n\n";
    let call = || Call { endpoint: Endpoint::Responses, ..streamed() };
    for (act, expected) in [
        (stream(&[created, completed]), Some([created, completed].concat())),
        (stream(&[created, completed, DONE]), Some([created, completed].concat())),
        (then(stream_of(&[created, completed]), Step::Close), Some([created, completed].concat())),
        (stream(&[created]), None),
    ] {
        let upstream = Upstream::play([act]).await;
        let told = text(Scene::new([provider("only", upstream.address, &[])]).win(call()).await.body).await;
        match expected {
            Some(expected) => assert_eq!(told, expected),
            None => assert!(told.starts_with(created) && told.contains("\"error\""), "{told}"),
        }
    }
}

#[tokio::test]
async fn early_events_are_held_back_only_up_to_a_limit() {
    let silent = vec![ROLE; 64];
    let won = won(then(stream_of(&silent), Step::Hang)).await;
    let (told, _) = read(won.body).await;
    assert!(told.starts_with(&silent.concat()));

    let large = format!("data: {{\"choices\":[],\"x\":\"{}\"}}\n\n", "x".repeat(256 * 1024));
    let (told, _) = told_of(then(stream_of(&[&large]), Step::Hang)).await;
    assert!(told.starts_with(&large));
}

async fn told_of(act: Act) -> (String, Option<Broken>) {
    read(won(act).await.body).await
}

#[tokio::test]
async fn an_event_does_not_wait_for_the_next_one() {
    let mut body =
        won(then(stream_of(&[HI, "data: {\"choices\":[{\"delta\":{\"content\":\"there\"}}]}\n\n"]), Step::Hang))
            .await
            .body;
    let mut told = String::new();
    while !told.contains("there") {
        let frame = body.frame().await.expect("an event").unwrap().into_data().unwrap();
        told += std::str::from_utf8(&frame).unwrap();
    }
    assert!(!told.contains("error"), "it came before the silence was given up: {told}");
}

#[tokio::test]
async fn a_chunk_for_the_usage_alone_goes_on_only_to_who_asked() {
    let account = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4},\"x\":{}}\n\n";
    let filter = "data: {\"choices\":[],\"prompt_filter_results\":[]}\n\n";
    let unasked = UsageWish::Unasked { span: 1..1, ask: "" };
    for (usage, before, after) in [(UsageWish::Asked, account, account), (unasked, "", "")] {
        let upstream = Upstream::play([stream(&[account, filter, HI, STOP, account, DONE])]).await;
        let call = Call { usage, ..streamed() };
        let mut body = Scene::new([provider("only", upstream.address, &[])]).win(call).await.body;
        let mut told = Vec::new();
        while let Some(frame) = body.frame().await {
            told.extend(frame.unwrap().into_data().unwrap());
        }
        assert_eq!(String::from_utf8(told).unwrap(), [before, filter, HI, STOP, after, DONE].concat());
        assert_eq!(body.usage(), Some(Usage { prompt: 3, completion: 4 }));
    }
}

#[tokio::test]
async fn the_connection_of_a_finished_stream_is_used_again() {
    let upstream = Upstream::play([stream(&[HI, STOP, DONE])]).await;
    let scene = Scene::new([provider("only", upstream.address, &[])]);
    for _ in 0..3 {
        text(scene.win(streamed()).await.body).await;
    }
    assert_eq!(upstream.connections(), 1);
}
