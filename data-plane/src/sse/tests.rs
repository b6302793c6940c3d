//! Events stay the same whatever the chunks, and exact streams stay the same to the byte.

use bytes::Bytes;
use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest},
    sample::Index,
};

use super::{Edit, Event, Framer, MAX_EVENT_BYTES, TooLong};

fn events(chunks: impl IntoIterator<Item = Vec<u8>>) -> Vec<Event> {
    let (mut framer, mut found) = (Framer::default(), Vec::new());
    for chunk in chunks {
        framer.push(chunk.into());
        while let Some(event) = framer.next().expect("the events are small") {
            found.push(event);
        }
    }
    found.extend(framer.finish());
    found
}

fn cut(stream: &[u8], cuts: &[Index]) -> Vec<Vec<u8>> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    at.extend([0, stream.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| stream[pair[0]..pair[1]].to_vec()).collect()
}

fn text_of(events: Vec<Event>) -> String {
    let bytes: Vec<u8> = events.into_iter().flat_map(Event::into_bytes).collect();
    String::from_utf8(bytes).expect("the streams are text")
}

fn data_of(stream: &str) -> Vec<String> {
    let texts = |event: &Event| event.data().map(|data| String::from_utf8_lossy(data).into_owned());
    events([stream.as_bytes().to_vec()]).iter().filter_map(texts).collect()
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        "data: ?[a-zä{}\":,]{0,12}",
        "event: [a-z.]{1,8}",
        ": [a-z]{0,4}",
        "id: [0-9]{1,3}",
        "retry: [0-9]{1,3}",
        Just("data".to_owned()),
    ]
}

fn stream(endings: &'static [&'static str]) -> impl Strategy<Value = String> {
    let ending = any::<Index>().prop_map(move |index| *index.get(endings));
    vec((vec((line(), ending.clone()), 0..4), ending), 0..6).prop_map(|events| {
        let block = |(lines, blank): (Vec<(String, &str)>, &str)| {
            lines.into_iter().map(|(line, end)| line + end).collect::<String>() + blank
        };
        events.into_iter().map(block).collect()
    })
}

proptest! {
    #[test]
    fn events_are_the_same_however_the_stream_is_cut(stream in stream(&["\n", "\r\n", "\r"]), cuts in vec(any::<Index>(), 0..12)) {
        let whole = events([stream.clone().into_bytes()]);
        prop_assert_eq!(events(cut(stream.as_bytes(), &cuts)), whole.clone());
        let bytewise = stream.bytes().map(|byte| vec![byte]);
        prop_assert_eq!(events(bytewise), whole);
    }

    #[test]
    fn what_goes_out_is_exact_and_says_the_same(stream in stream(&["\n", "\r\n", "\r"])) {
        let out = text_of(events([stream.clone().into_bytes()]));
        prop_assert!(!out.contains('\r') && (out.is_empty() || out.ends_with("\n\n")));
        prop_assert!(!out.lines().any(|line| line.starts_with("id") || line.starts_with("retry")));
        prop_assert_eq!(data_of(&out), data_of(&stream));
    }

    #[test]
    fn exact_streams_pass_untouched(texts in vec("[a-zä {}\":,]{0,20}", 0..8), cuts in vec(any::<Index>(), 0..12)) {
        let stream: String = texts.iter().map(|text| format!(": note\nevent: x\ndata: {text}\n\n")).collect();
        prop_assert_eq!(text_of(events(cut(stream.as_bytes(), &cuts))), stream);
    }
}

#[test]
fn odd_framing_is_understood_and_put_right() {
    for (case, stream, out) in [
        ("a byte order mark", "\u{feff}data: a\n\n", "data: a\n\n"),
        ("carriage returns with line feeds", "data: a\r\n\r\ndata: b\r\n\r\n", "data: a\n\ndata: b\n\n"),
        ("lone carriage returns", "data: a\r\rdata: b\r\r", "data: a\n\ndata: b\n\n"),
        ("no final blank line", "data: a\n\ndata: [DONE]\n", "data: a\n\ndata: [DONE]\n\n"),
        ("no final line end", "data: [DONE]", "data: [DONE]\n\n"),
        ("several lines of data", "data: {\ndata: }\n\n", "data: {\ndata: }\n\n"),
        ("an id and a retry time", "id: 7\nretry: 10\ndata: a\n\n", "data: a\n\n"),
        ("an id and nothing else", "id: 7\n\ndata: a\n\n", "data: a\n\n"),
        ("a field that only begins like one", "identity: 7\ndata: a\n\n", "identity: 7\ndata: a\n\n"),
        ("a comment", ": ping\n\ndata: a\n\n", ": ping\n\ndata: a\n\n"),
        ("blank lines between events", "\n\ndata: a\n\n\n\ndata: b\n\n", "\n\ndata: a\n\n\n\ndata: b\n\n"),
    ] {
        assert_eq!(text_of(events([stream.as_bytes().to_vec()])), out, "{case}");
    }
}

#[test]
fn data_is_what_the_standard_says_it_is() {
    assert_eq!(data_of("data: a\ndata:b\ndata\ndata:  c\n\n"), ["a\nb\n\n c"]);
    assert_eq!(data_of("event: x\n\n: note\n\ndatum: y\n\n"), [""; 0]);
}

#[test]
fn an_event_knows_its_name_and_keeps_it_with_other_data() {
    let event = events([b"event: error\ndata: {\n: note\ndata: }\n\n".to_vec()]).remove(0);
    assert!(event.is_named("error") && !event.is_named("err"));
    assert_eq!(event.with_data(b"[\n]"), "event: error\n: note\ndata: [\ndata: ]\n\n");
}

#[test]
fn edits_are_made_where_the_data_is_however_many_lines_it_has() {
    for (stream, edited) in [
        ("event: x\ndata: {\"a\":1}\n: note\n\n", "event: x\ndata: {\"a\":22}\n: note\n\n"),
        ("data:{\"a\":1}\r\n\r\n", "data: {\"a\":22}\n\n"),
        ("data: {\"a\":1\n: note\ndata: }\n\n", ": note\ndata: {\"a\":22\ndata: }\n\n"),
    ] {
        let event = events([stream.as_bytes().to_vec()]).remove(0);
        let edit = Edit { span: 5..6, value: Bytes::from_static(b"22") };
        assert_eq!(event.with_edits(vec![edit]), edited);
    }
}

#[test]
fn an_event_without_end_is_refused_at_the_limit() {
    let mut framer = Framer::default();
    framer.push(vec![b'x'; MAX_EVENT_BYTES].into());
    assert_eq!(framer.next(), Ok(None));
    framer.push("x".into());
    assert_eq!(framer.next(), Err(TooLong));
}
