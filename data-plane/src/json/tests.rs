//! That exactly what `serde_json` reads is read, and what is handed out.

use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest},
    sample::Index,
};

use super::*;

fn read(text: &str) -> Result<&str, Error> {
    let mut reader = Reader::new(text);
    let value = reader.value()?;
    reader.end().map(|()| value)
}

fn is_read_by_serde(text: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(text).is_ok()
}

#[test]
fn what_is_no_json_is_refused() {
    let (deep, deeper) = (nested(MAX_DEPTH), nested(MAX_DEPTH + 1));
    for (text, expected) in [
        ("{}", true),
        (" [ ] ", true),
        (r#"{"a":[1,2.5,-0,1e5,2E-3,0.0],"b":{"c":null},"d":true,"e":false,"f":"\u00e9\ud83d\ude00\n\/"}"#, true),
        (&deep, true),
        (&deeper, false),
        ("", false),
        ("{", false),
        ("[1,]", false),
        (r#"{"a":1,}"#, false),
        (r#"{"a" 1}"#, false),
        (r#"{a:1}"#, false),
        ("[1 2]", false),
        ("{} {}", false),
        ("\u{feff}{}", false),
        ("nul", false),
        ("NaN", false),
        ("01", false),
        ("-", false),
        ("1.", false),
        (".5", false),
        ("+1", false),
        ("1e", false),
        ("1e+", false),
        ("1e999", false),
        ("1e-999", true),
        ("\"a\nb\"", false),
        ("\"\u{7f}\"", true),
        (r#""\x""#, false),
        (r#""\u12g4""#, false),
        (r#""\u+123""#, false),
        (r#""\ud800""#, false),
        (r#""\ud800\u0041""#, false),
        (r#""\udc00""#, false),
        (r#""\"#, false),
        ("\"a", false),
    ] {
        assert_eq!(read(text).is_ok(), expected, "{text}");
        assert_eq!(is_read_by_serde(text), expected, "{text}, by serde");
    }
}

fn nested(levels: usize) -> String {
    "[".repeat(levels) + &"]".repeat(levels)
}

#[test]
fn a_fault_is_told_by_its_place() {
    for (text, told) in [
        ("{\"a\":1,\n\"b\":?}", "there is something else than expected at line 2 column 5"),
        ("[1,", "it ends too early at line 1 column 4"),
        ("[1e999]", "there is no such number at line 1 column 2"),
        (r#"["\x"]"#, "a string holds what none may hold at line 1 column 3"),
        (&nested(200), "it is nested too deep at line 1 column 129"),
    ] {
        assert_eq!(read(text).unwrap_err().to_string(), told, "{text}");
    }
}

#[test]
fn names_and_values_are_handed_out_as_they_are_written() {
    let mut found = Vec::new();
    let mut reader = Reader::new(r#" {"a" : [1, {"b":2}] , "\u0063" : "d\"e", "f":-1.5e3 } "#);
    reader.members(|reader, name| reader.value().map(|value| found.push((name, value)))).unwrap();
    reader.end().unwrap();
    assert_eq!(found, [(r#""a""#, r#"[1, {"b":2}]"#), (r#""\u0063""#, r#""d\"e""#), (r#""f""#, "-1.5e3")]);
    assert_eq!((text(found[1].0), text(found[1].1), text(r#""""#)), ("c".into(), "d\"e".into(), "".into()));
}

fn scrap() -> impl Strategy<Value = String> {
    let token = |text: &'static str| Just(text.to_owned());
    prop_oneof![
        prop_oneof![token("{"), token("}"), token("["), token("]"), token(","), token(":"), token("\""), token("\\")],
        prop_oneof![
            token("\"a\""),
            token("1"),
            token("-0.5e1"),
            token("null"),
            token("true"),
            token(" "),
            token("\\u")
        ],
        "[0-9.eE+-]{0,6}",
        ".{0,3}",
    ]
}

proptest! {
    #[test]
    fn exactly_what_serde_reads_is_read(scraps in vec(scrap(), 0..12)) {
        let text = scraps.concat();
        prop_assert_eq!(read(&text).is_ok(), is_read_by_serde(&text), "{}", text);
    }

    #[test]
    fn a_string_goes_on_up_to_the_first_byte_that_is_special(text in vec(prop_oneof![Just(b'a'), Just(0x80), any::<u8>()], 0..100)) {
        let special = text.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..b' '));
        prop_assert_eq!(super::plain(&text), special.unwrap_or(text.len()));
    }

    #[test]
    fn a_string_says_what_serde_says(said in any::<String>(), cut in any::<Index>(), scrap in scrap()) {
        let written = serde_json::to_string(&said).unwrap();
        prop_assert_eq!(read(&written), Ok(written.as_str()));
        prop_assert_eq!(text(&written), said.as_str());
        let mut broken = written;
        let at = (0..=broken.len()).filter(|at| broken.is_char_boundary(*at)).collect::<Vec<_>>();
        broken.insert_str(at[cut.index(at.len())], &scrap);
        prop_assert_eq!(read(&broken).is_ok(), is_read_by_serde(&broken), "{}", broken);
    }
}
