//! Bodies cut at every place, and bytes that are none.

use super::*;

/// A chunked body as it may be written, and what it says.
const CHUNKED: &[u8] = b"5\r\nhello\r\n00a ; name=\"value\"\r\n, bodies\r\n\r\n1\t\r\n!\r\n0;last\r\nx-late: 1\r\n\r\n";
const SAID: &[u8] = b"hello, bodies\r\n!";

fn chunked() -> Framing {
    Framing::Chunked(Chunks::default())
}

/// What is made of these reads, one after the other, and whether more came than belongs to the body.
fn data(framing: &mut Framing, reads: &[&[u8]]) -> (Vec<u8>, bool) {
    let mut surplus = false;
    let data = reads.iter().flat_map(|read| {
        let taken = framing.take(&Bytes::copy_from_slice(read));
        surplus |= taken.surplus;
        taken.data
    });
    (data.collect(), surplus)
}

#[test]
fn chunks_say_the_same_wherever_they_are_cut() {
    for first in 0..CHUNKED.len() {
        for second in first..CHUNKED.len() {
            let mut framing = chunked();
            let reads = [&CHUNKED[..first], &CHUNKED[first..second], &CHUNKED[second..]];
            assert_eq!(data(&mut framing, &reads), (SAID.to_vec(), false), "{first}, {second}");
            assert!(framing.is_over(), "{first}, {second}");
        }
    }
    let mut framing = chunked();
    let reads: Vec<&[u8]> = CHUNKED.chunks(1).collect();
    assert_eq!(data(&mut framing, &reads), (SAID.to_vec(), false));
    assert!(framing.is_over());
}

#[test]
fn only_the_last_byte_of_the_last_line_ends_chunks() {
    for length in 0..CHUNKED.len() {
        let mut framing = chunked();
        data(&mut framing, &[&CHUNKED[..length]]);
        assert!(!framing.is_over(), "{length}");
        assert!(framing.check().is_ok(), "{length}");
        assert!(matches!(framing.close(), Err(Error::Closed)), "{length}");
    }
}

#[test]
fn what_came_in_one_piece_is_not_copied() {
    let read = Bytes::from_static(b"5\r\nhello\r\n");
    let taken = chunked().take(&read);
    assert_eq!((taken.data.as_ptr(), &*taken.data), (read[3..].as_ptr(), &b"hello"[..]));
}

#[test]
fn what_is_no_chunk_is_told_after_what_came_before_it() {
    let bad: [&[u8]; 12] = [
        b"\r\n",
        b"x\r\n",
        b"-1\r\n",
        b"5\nhello",
        b"5 \n",
        b"5 z\r\n",
        b"5;a\n",
        b"10000000000000000\r\n",
        b"2\r\nhello\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"0\r\nx: 1\n\r\n",
        b"0\r\n\n",
    ];
    for bad in bad {
        let mut framing = chunked();
        let read = [b"2\r\nok\r\n", bad].concat();
        let (said, _) = data(&mut framing, &[&read]);
        assert!(said.starts_with(b"ok"), "{}", bad.escape_ascii());
        assert!(matches!(framing.check(), Err(Error::Chunk)), "{}", bad.escape_ascii());
        assert!(!framing.is_over(), "{}", bad.escape_ascii());
        assert_eq!(data(&mut framing, &[b"0\r\n\r\n"]).0, b"", "nothing mends it");
    }
}

#[test]
fn what_is_said_beside_the_data_has_an_end() {
    let limit = usize::try_from(MAX_ASIDE_BYTES).unwrap();
    for (before, fits, after) in [("1;", limit, "\r\nx\r\n0\r\n\r\n"), ("0\r\n", limit, "\r\n\r\n")] {
        for (length, is_good) in [(fits, true), (fits + 1, false)] {
            let mut framing = chunked();
            data(&mut framing, &[format!("{before}{}{after}", "a".repeat(length)).as_bytes()]);
            assert_eq!((framing.check().is_ok(), framing.is_over()), (is_good, is_good), "{before} {length}");
        }
    }
}

#[test]
fn what_follows_the_body_is_noticed_and_left_out() {
    let mut framing = chunked();
    assert_eq!(data(&mut framing, &[b"1\r\na\r\n0\r\n\r\nHTTP/1.1"]), (b"a".to_vec(), true));
    let mut framing = Framing::Length(3);
    assert_eq!(data(&mut framing, &[b"ab", b"cd"]), (b"abc".to_vec(), true));
    assert!(framing.is_over());
}

#[test]
fn a_length_is_counted_down_and_a_close_ends_what_has_none() {
    let mut framing = Framing::Length(3);
    assert_eq!((data(&mut framing, &[b"ab"]).0, framing.left()), (b"ab".to_vec(), Some(1)));
    assert!(matches!(framing.close(), Err(Error::Closed)));
    let mut framing = Framing::ToClose { over: false };
    assert_eq!(data(&mut framing, &[b"ab", b""]), (b"ab".to_vec(), false));
    assert!(!framing.is_over());
    framing.close().unwrap();
    assert!(framing.is_over());
}
