//! Where an answer's body ends, and what of the bytes on the wire is the body (RFC 9112, sections 6 and 7). It does no IO.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::Error;

/// Most bytes of what is said beside the data of a chunk, or after the last: extensions and trailers, which nobody here wants to
/// know.
const MAX_ASIDE_BYTES: u32 = 16 * 1024;

/// How a body's end is told.
#[derive(Debug)]
pub(super) enum Framing {
    /// So many bytes are left.
    Length(u64),
    /// In chunks, the last of which is empty.
    Chunked(Chunks),
    /// Whoever sends it closes the connection; `over` once that has happened.
    ToClose { over: bool },
}

/// What was made of bytes from the wire.
#[derive(Debug)]
pub(super) struct Taken {
    /// What of it belongs to the body.
    pub(super) data: Bytes,
    /// Whether something follows that does not belong to the answer.
    pub(super) surplus: bool,
}

impl Framing {
    /// Whether the body is complete.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunks) => chunks.place == Place::Over,
            Self::ToClose { over } => *over,
        }
    }

    /// What of these bytes is the body. What came in one piece is not copied.
    pub(super) fn take(&mut self, read: &Bytes) -> Taken {
        match self {
            Self::Length(left) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(read.len());
                *left -= length as u64;
                Taken { data: read.slice(..length), surplus: length < read.len() }
            }
            Self::Chunked(chunks) => chunks.take(read),
            Self::ToClose { .. } => Taken { data: read.clone(), surplus: false },
        }
    }

    /// Whether what comes after the data that was taken can be the body's.
    ///
    /// # Errors
    /// [`Error::Chunk`].
    pub(super) fn check(&self) -> Result<(), Error> {
        match self {
            Self::Chunked(Chunks { place: Place::Broken, .. }) => Err(Error::Chunk),
            Self::Length(_) | Self::Chunked(_) | Self::ToClose { .. } => Ok(()),
        }
    }

    /// Learns that the upstream has closed the connection.
    ///
    /// # Errors
    /// [`Error::Closed`] where that is not the body's end.
    pub(super) fn close(&mut self) -> Result<(), Error> {
        match self {
            Self::ToClose { over } => *over = true,
            Self::Length(_) | Self::Chunked(_) => return Err(Error::Closed),
        }
        Ok(())
    }

    /// How many bytes of the body are still to come, where that is known.
    pub(super) fn left(&self) -> Option<u64> {
        if let Self::Length(left) = self { Some(*left) } else { None }
    }
}

/// How far a chunked body is.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    place: Place,
    /// What is left of the chunk; while its size is read, as much of the size as was read.
    left: u64,
    /// How many bytes there were beside the chunk's data and its size.
    aside: u32,
}

/// What comes next in a chunked body.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The first digit of a chunk's size.
    #[default]
    Size,
    /// Its further digits, or what ends it.
    MoreSize,
    /// What may follow a blank after the size.
    Blank,
    /// What may follow the size on its line.
    Extension,
    /// The end of the size's line.
    SizeEnd,
    Data,
    /// The two bytes after the data.
    DataEnd,
    DataEndLf,
    /// The first byte of a trailer, or of the line that ends the body.
    TrailerStart,
    Trailer,
    TrailerEnd,
    BodyEnd,
    /// Nothing: the body is complete.
    Over,
    /// Nothing that could be told: what came was no chunk.
    Broken,
}

impl Chunks {
    fn take(&mut self, read: &Bytes) -> Taken {
        let (mut runs, mut at) = (Runs::default(), 0);
        while let Some(byte) = read.get(at)
            && !matches!(self.place, Place::Over | Place::Broken)
        {
            if self.place == Place::Data {
                let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(read.len() - at);
                runs.push(read, at..at + length);
                at += length;
                self.left -= length as u64;
                if self.left == 0 {
                    self.place = Place::DataEnd;
                }
            } else {
                self.place = self.after(*byte);
                at += 1;
            }
        }
        Taken { data: runs.data(read), surplus: at < read.len() }
    }

    /// What comes after this byte, which is none of the data's.
    fn after(&mut self, byte: u8) -> Place {
        match (self.place, byte) {
            (Place::Size | Place::MoreSize, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                let Some(size) = self.left.checked_mul(16) else { return Place::Broken };
                self.left = size + digit;
                Place::MoreSize
            }
            (Place::MoreSize | Place::Blank | Place::Extension, b'\r') => Place::SizeEnd,
            (Place::MoreSize | Place::Blank, b';') => Place::Extension,
            (Place::MoreSize | Place::Blank, b' ' | b'\t') => self.aside(Place::Blank),
            (Place::Extension, byte) if byte != b'\n' => self.aside(Place::Extension),
            (Place::SizeEnd, b'\n') if self.left == 0 => Place::TrailerStart,
            (Place::SizeEnd, b'\n') => Place::Data,
            (Place::DataEnd, b'\r') => Place::DataEndLf,
            (Place::DataEndLf, b'\n') => {
                self.aside = 0;
                Place::Size
            }
            (Place::TrailerStart, b'\r') => Place::BodyEnd,
            (Place::Trailer, b'\r') => Place::TrailerEnd,
            (Place::TrailerStart | Place::Trailer, byte) if byte != b'\n' => self.aside(Place::Trailer),
            (Place::TrailerEnd, b'\n') => Place::TrailerStart,
            (Place::BodyEnd, b'\n') => Place::Over,
            _ => Place::Broken,
        }
    }

    fn aside(&mut self, next: Place) -> Place {
        self.aside += 1;
        if self.aside > MAX_ASIDE_BYTES { Place::Broken } else { next }
    }
}

/// The data among the bytes of one read.
#[derive(Debug, Default)]
struct Runs {
    /// The first run, and the only one unless something is joined.
    first: Range<usize>,
    joined: BytesMut,
}

impl Runs {
    fn push(&mut self, read: &Bytes, run: Range<usize>) {
        if self.first.is_empty() {
            self.first = run;
            return;
        }
        if self.joined.is_empty() {
            self.joined.reserve(read.len() - self.first.start);
            self.joined.extend_from_slice(&read.slice(self.first.clone()));
        }
        self.joined.extend_from_slice(&read.slice(run));
    }

    fn data(self, read: &Bytes) -> Bytes {
        if self.joined.is_empty() { read.slice(self.first) } else { self.joined.freeze() }
    }
}

#[cfg(test)]
mod tests;
