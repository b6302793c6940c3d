//! Connections that break in the middle of a call: what was done is done once, and what is shown once is shown or said to be lost.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
};

use super::{Run, System};

/// Where connections break.
#[derive(Clone, Copy)]
enum Break {
    /// The first answer does not come; all others do.
    BeforeAnswer,
    /// The first answer comes, and nothing after it.
    AfterAnswer,
}

/// The address of somebody between a client and a control plane.
fn between(control_plane: &str, at: Break) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let control_plane = control_plane.to_owned();
    thread::spawn(move || {
        for (number, client) in listener.incoming().map_while(Result::ok).enumerate() {
            match (at, number) {
                (_, 0) => carry(client, &control_plane, Some(at)),
                (Break::BeforeAnswer, _) => carry(client, &control_plane, None),
                (Break::AfterAnswer, _) => drop(client),
            }
        }
    });
    address
}

/// Carries a connection, frame by frame on the way back (RFC 9113, section 4.1), until it is to break.
fn carry(mut client: TcpStream, control_plane: &str, at: Option<Break>) {
    let mut server = TcpStream::connect(control_plane).unwrap();
    let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    // Whichever side goes first, the other one is told.
    thread::spawn(move || io::copy(&mut from, &mut to).and_then(|_| to.shutdown(Shutdown::Write)));
    while let Ok(frame) = Frame::read(&mut server) {
        let (before, after) = (frame.is_head(), frame.is_head() && frame.ends_stream());
        if matches!(at, Some(Break::BeforeAnswer)) && before || client.write_all(&frame.bytes).is_err() {
            break;
        }
        if matches!(at, Some(Break::AfterAnswer)) && after {
            break;
        }
    }
    // Whoever has gone already is told nothing.
    drop(client.shutdown(Shutdown::Write));
}

/// A frame of HTTP/2, as it came.
struct Frame {
    bytes: Vec<u8>,
    kind: u8,
    flags: u8,
}

impl Frame {
    fn read(from: &mut TcpStream) -> io::Result<Self> {
        let mut head = [0; 9];
        from.read_exact(&mut head)?;
        let [high, middle, low, kind, flags, ..] = head;
        let length = u32::from_be_bytes([0, high, middle, low]);
        let mut bytes = head.to_vec();
        from.take(length.into()).read_to_end(&mut bytes)?;
        Ok(Self { bytes, kind, flags })
    }

    fn is_head(&self) -> bool {
        self.kind == 1
    }

    fn ends_stream(&self) -> bool {
        self.flags & 1 == 1
    }
}

fn through(system: &System, at: Break, words: &[&str]) -> Run {
    Run::of(system.command(words).env("SIGNALBOX_ADDR", between(&system.admin, at)))
}

#[test]
fn a_key_whose_answer_is_lost_is_made_once_and_said_to_be_lost() {
    let system = System::start();
    let run = through(&system, Break::BeforeAnswer, &["keys", "create", "ci", "-q"]);
    let run = run.ended(1, &["clientKeys/ci was made", "shown once only", "next: replace it: `signalbox keys rotate"]);
    assert_eq!(run.out, "");
    assert_eq!(system.run(&["get", "keys", "-o", "name"]).done(), "clientKeys/ci\nclientKeys/default\n");
    system.run(&["keys", "rotate", "ci", "--overlap", "0s", "-q"]).done();
}

#[test]
fn a_change_whose_answer_is_lost_is_asked_for_again_and_made_once() {
    let system = System::start();
    let file = system.file("config.yaml", super::DOCUMENT);
    let run = through(&system, Break::BeforeAnswer, &["apply", "-f", &file, "--comment", "once"]);
    run.ended(0, &["Applied as revision", "+ providers/local"]);
    let history = system.run(&["revisions"]).done();
    assert_eq!(history.lines().filter(|line| line.contains("| once ")).count(), 1, "{history}");
}

#[test]
fn a_key_is_shown_whatever_comes_of_the_wait_for_it() {
    let system = System::start();
    let run = through(&system, Break::AfterAnswer, &["keys", "create", "ci", "-q", "--wait=5s"]);
    let run = run.ended(7, &["it is not known who serves it", "no control plane answers"]);
    assert!(run.out.starts_with("sb_") && run.out.trim().len() > 20, "{run:?}");
    assert!(!run.err.contains(run.out.trim()), "{run:?}");
}
