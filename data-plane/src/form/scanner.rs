//! Reads a multipart form as it goes by, however it is cut: where its parts begin and end, and what the few say that are read. It is
//! stricter than RFC 2046, since an upstream that reads a form otherwise would be told what nobody has judged.

use std::{ops::Range, str};

use memchr::memmem;

use super::{Error, Fault, part::Part};
use crate::openai::envelope::{self, Field, MAX_MODEL_BYTES};

/// Longest head of a part.
const MAX_HEAD_BYTES: usize = 8 * 1024;

/// A form that is read as it goes by.
#[derive(Debug)]
pub(crate) struct Scanner {
    /// `--` and the boundary.
    delimiter: memmem::Finder<'static>,
    state: State,
    /// What was taken and is not judged yet: never more than a head, a short value or a delimiter takes, once a push is over.
    held: Vec<u8>,
    /// Where what is held begins in the form.
    at: usize,
    model: Option<Box<str>>,
    /// Where the model's name is in the form; there as soon as the model is.
    model_span: Range<usize>,
    stream: Option<bool>,
    has_file: bool,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The first delimiter.
    Start,
    /// What follows a delimiter: a part, or nothing.
    Delimited,
    /// The head of a part.
    Head,
    /// The content of a part, from this place on.
    Content { from: usize, field: Option<Field> },
    /// Nothing.
    Closed,
}

/// What is to be done after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Go,
    /// Nothing, before more has come.
    Wait,
}

impl Scanner {
    /// A form of which nothing has come.
    pub(super) fn new(boundary: &str) -> Self {
        Self {
            delimiter: memmem::Finder::new(&format!("--{boundary}")).into_owned(),
            state: State::Start,
            held: Vec::new(),
            at: 0,
            model: None,
            model_span: 0..0,
            stream: None,
            has_file: false,
        }
    }

    /// Whether the model has come.
    pub(super) fn has_model(&self) -> bool {
        self.model.is_some()
    }

    /// The model, once it has come, and where its name is in the form.
    pub(super) fn model(&self) -> Option<(&str, Range<usize>)> {
        self.model.as_deref().map(|model| (model, self.model_span.clone()))
    }

    /// Whether a stream is asked for, as far as has come.
    pub(super) fn stream(&self) -> bool {
        self.stream.unwrap_or(false)
    }

    /// Whether a file has begun.
    pub(super) fn has_file(&self) -> bool {
        self.has_file
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// [`Error`] where the form is broken, or says something twice that may be said once.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), Error> {
        // A delimiter may be cut anywhere, so the end of each piece is kept for the next one.
        self.held.extend_from_slice(piece);
        while self.step()? == Step::Go {}
        Ok(())
    }

    /// Takes the end.
    ///
    /// # Errors
    /// [`Error`] where the form is not over.
    pub(super) fn finish(&self) -> Result<(), Error> {
        if self.state == State::Closed { Ok(()) } else { Err(self.broken(Fault::Unfinished)) }
    }

    fn step(&mut self) -> Result<Step, Error> {
        match self.state {
            State::Start => self.start(),
            State::Delimited => self.delimited(),
            State::Head => self.head(),
            State::Content { from, field } => self.content(from, field),
            State::Closed if b"\r\n".starts_with(&self.held) => Ok(Step::Wait),
            State::Closed => Err(self.broken(Fault::Surplus)),
        }
    }

    fn start(&mut self) -> Result<Step, Error> {
        let length = self.delimiter.needle().len();
        match self.held.get(..length) {
            Some(begun) if begun == self.delimiter.needle() => {
                self.drop_held(length);
                self.state = State::Delimited;
                Ok(Step::Go)
            }
            None if self.delimiter.needle().starts_with(&self.held) => Ok(Step::Wait),
            Some(_) | None => Err(self.broken(Fault::Start)),
        }
    }

    fn delimited(&mut self) -> Result<Step, Error> {
        self.state = match self.held.get(..2) {
            Some(b"\r\n") => State::Head,
            Some(b"--") => State::Closed,
            Some(_) => return Err(self.broken(Fault::Delimiter)),
            None => return Ok(Step::Wait),
        };
        self.drop_held(2);
        Ok(Step::Go)
    }

    fn head(&mut self) -> Result<Step, Error> {
        if self.held.starts_with(b"\r\n") {
            return Err(self.broken(Fault::Head));
        }
        let Some(length) = memmem::find(&self.held, b"\r\n\r\n") else {
            return if self.held.len() > MAX_HEAD_BYTES { Err(self.broken(Fault::Head)) } else { Ok(Step::Wait) };
        };
        let head = self.held.get(..length).unwrap_or_default();
        let part = Part::parse(head).ok_or_else(|| self.broken(Fault::Head))?;
        let field =
            [Field::Model, Field::Stream].into_iter().find(|field| field.as_str().eq_ignore_ascii_case(part.name));
        if let Some(field) = field {
            let is_taken = match field {
                Field::Model => self.model.is_some(),
                _ => self.stream.is_some(),
            };
            if is_taken || part.name != field.as_str() {
                return Err(envelope::Error::Repeated(field).into());
            }
            if part.is_file || part.is_encoded {
                return Err(envelope::Error::Type(field).into());
            }
        }
        self.has_file |= part.is_file;
        self.drop_held(length + 4);
        self.state = State::Content { from: self.at, field };
        Ok(Step::Go)
    }

    fn content(&mut self, from: usize, field: Option<Field>) -> Result<Step, Error> {
        let mut searched = 0;
        while let Some(found) = self.held.get(searched..).and_then(|rest| self.delimiter.find(rest)) {
            let found = searched + found;
            let line_end = self.held.get(found.saturating_sub(2)..found).unwrap_or_default();
            match line_end {
                b"\r\n" => return self.end(from, field, found),
                // A lenient reader may take this for a delimiter.
                [.., b'\r' | b'\n'] => return Err(self.broken(Fault::Delimiter)),
                [] if self.at == from => return Err(self.broken(Fault::Delimiter)),
                _ => searched = found + 1,
            }
        }
        // What may be the beginning of a delimiter stays, and the end of the line before it.
        let kept = self.delimiter.needle().len() + 1;
        match field {
            None => self.drop_held(self.held.len().saturating_sub(kept)),
            Some(_) if self.held.len() > MAX_MODEL_BYTES + kept => return Err(envelope::Error::ModelLength.into()),
            Some(_) => {}
        }
        Ok(Step::Wait)
    }

    /// The content of a part ends before the delimiter that was found.
    fn end(&mut self, from: usize, field: Option<Field>, delimiter: usize) -> Result<Step, Error> {
        if let Some(field) = field {
            let value = self.held.get(..delimiter.saturating_sub(2)).unwrap_or_default();
            let value = str::from_utf8(value).map_err(envelope::Error::Encoding)?;
            self.read(field, value.into(), from)?;
        }
        self.drop_held(delimiter + self.delimiter.needle().len());
        self.state = State::Delimited;
        Ok(Step::Go)
    }

    fn read(&mut self, field: Field, value: Box<str>, from: usize) -> Result<(), Error> {
        if field != Field::Model {
            let stream = match &*value {
                "true" | "True" | "1" => true,
                "false" | "False" | "0" | "" => false,
                _ => return Err(envelope::Error::Type(field).into()),
            };
            self.stream = Some(stream);
        } else if value.is_empty() || value.len() > MAX_MODEL_BYTES {
            return Err(envelope::Error::ModelLength.into());
        } else {
            self.model_span = from..from + value.len();
            self.model = Some(value);
        }
        Ok(())
    }

    fn drop_held(&mut self, length: usize) {
        self.held.drain(..length.min(self.held.len()));
        self.at += length;
    }

    fn broken(&self, fault: Fault) -> Error {
        Error::Malformed { at: self.at, fault }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FORM: &str = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nx--b\r\ny\r\n--b\r\n\
                        Content-Disposition: form-data; name=\"model\"\r\n\r\ngpt\r\n--b\r\n\
                        Content-Disposition: form-data; name=\"stream\"\r\n\r\ntrue\r\n--b--\r\n";

    fn scan<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Result<Scanner, Error> {
        let mut scanner = Scanner::new("b");
        for piece in pieces {
            scanner.push(piece)?;
        }
        scanner.finish().map(|()| scanner)
    }

    fn refusal(form: &str) -> String {
        let whole = scan([form.as_bytes()]).unwrap_err();
        let cut = scan(form.as_bytes().chunks(1)).unwrap_err();
        assert_eq!(format!("{whole:?}"), format!("{cut:?}"), "{form}");
        match whole {
            Error::Malformed { fault, .. } => format!("{fault:?}"),
            Error::Field(error) => format!("{error:?}"),
            other => format!("{other:?}"),
        }
    }

    fn part(name: &str, value: &str) -> String {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    }

    #[test]
    fn a_form_is_read_however_it_is_cut() {
        for size in 1..FORM.len() {
            let scanner = scan(FORM.as_bytes().chunks(size)).unwrap();
            let (model, span) = scanner.model().unwrap();
            assert_eq!((model, &FORM[span], scanner.stream(), scanner.has_file()), ("gpt", "gpt", true, true));
        }
    }

    #[test]
    fn what_the_gateway_reads_may_be_said_once() {
        let end = "--b--";
        for (form, expected) in [
            (part("model", "a") + &part("model", "b") + end, "Repeated(Model)"),
            (part("model", "a") + &part("model", "a") + end, "Repeated(Model)"),
            (part("model", "a") + &part("Model", "b") + end, "Repeated(Model)"),
            (part("stream", "true") + &part("stream", "false") + end, "Repeated(Stream)"),
            (part("model", "") + end, "ModelLength"),
            (part("model", &"m".repeat(MAX_MODEL_BYTES + 1)) + end, "ModelLength"),
            (part("model", &"m".repeat(MAX_MODEL_BYTES + 100)) + end, "ModelLength"),
            (part("stream", "maybe") + end, "Type(Stream)"),
            (part("model\"; filename=\"m", "a") + end, "Type(Model)"),
            (
                part("model", "a").replace("\r\n\r\n", "\r\nContent-Transfer-Encoding: base64\r\n\r\n") + end,
                "Type(Model)",
            ),
        ] {
            assert_eq!(refusal(&form), expected, "{form}");
        }
    }

    #[test]
    fn what_a_lenient_reader_could_take_otherwise_is_refused() {
        let model = part("model", "a");
        for (form, expected) in [
            (String::new(), "Unfinished"),
            (model.clone(), "Unfinished"),
            (format!("{model}--b"), "Unfinished"),
            (format!("preamble\r\n{model}--b--"), "Start"),
            (format!("\r\n{model}--b--"), "Start"),
            (format!("{model}--b \r\n--b--"), "Delimiter"),
            (format!("{model}--bc\r\n--b--"), "Delimiter"),
            (format!("{model}--b-"), "Unfinished"),
            (format!("{model}--b-x"), "Delimiter"),
            (format!("{model}--b--\r\n{model}"), "Surplus"),
            (part("x", "y\n--b\nContent-Disposition: form-data; name=model\n\nz") + "--b--", "Delimiter"),
            (part("x", "y\r--b") + "--b--", "Delimiter"),
            (part("x", "--b") + "--b--", "Delimiter"),
            ("--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n--b--".to_owned(), "Delimiter"),
            ("--b\n\ny\n--b--".to_owned(), "Delimiter"),
            ("--b\r\n\r\ny\r\n--b--".to_owned(), "Head"),
            (format!("--b\r\nA: {}", "a".repeat(MAX_HEAD_BYTES)), "Head"),
        ] {
            assert_eq!(refusal(&form), expected, "{form}");
        }
    }

    #[test]
    fn little_is_held_of_a_large_file() {
        let mut scanner = Scanner::new("b");
        scanner.push(b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n").unwrap();
        for _ in 0..1000 {
            scanner.push(&[b'-'; 1000]).unwrap();
            assert!(scanner.held.len() <= 4);
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(form in "(--b|\r\n|\n|-|Content-Disposition: form-data; name=model|x){0,24}", size in 1_usize..9) {
            let _ = scan(form.as_bytes().chunks(size));
        }

        #[test]
        fn any_content_is_only_content(content: Vec<u8>, size in 1_usize..64) {
            let boundary = "3d5f0a6e-not-in-there";
            let mut form = format!("--{boundary}\r\nContent-Disposition: form-data; name=f; filename=f\r\n\r\n").into_bytes();
            form.extend_from_slice(&content);
            form.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
            let mut scanner = Scanner::new(boundary);
            for piece in form.chunks(size) {
                prop_assert!(scanner.push(piece).is_ok());
            }
            prop_assert!(scanner.finish().is_ok() && !scanner.has_model());
        }
    }
}
