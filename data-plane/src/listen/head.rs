//! Notices the one ambiguity of a request's head that hyper settles by itself: a length and a transfer coding together (RFC 9112,
//! section 6.1). hyper takes the coding and forgets the length; a gateway must refuse what somebody else may have read differently.
//! It follows bodies only to find the heads that are pipelined behind them.

/// The HTTP/1 requests of a connection as their bytes come.
#[derive(Debug, Default)]
pub(super) struct Heads {
    place: Place,
    /// The length that the head tells.
    length: Option<u64>,
    has_coding: bool,
    /// Heads that were read to their end.
    count: usize,
}

/// Where in a request the next byte is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    /// Before the request line: empty lines are skipped there (RFC 9112, section 2.2).
    #[default]
    Before,
    /// At the beginning of a line.
    LineStart,
    /// In a header's name that has been one of those so far.
    Name { sought: Sought, matched: usize },
    /// In the value of a length.
    Length,
    /// In a part of a line that does not matter.
    Rest,
    /// In a body or a chunk, with so many bytes to go.
    Body { left: u64, chunked: bool },
    /// In the line with a chunk's size: what it says so far, and whether its extensions have begun.
    Size { size: u64, extended: bool },
    /// Behind the last chunk: whether the line is empty so far.
    Trailer { empty: bool },
}

/// A header that is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sought {
    Length,
    Coding,
}

impl Sought {
    /// The one that a name beginning so may be.
    fn beginning_with(byte: u8) -> Option<Self> {
        match byte {
            b'c' | b'C' => Some(Self::Length),
            b't' | b'T' => Some(Self::Coding),
            _ => None,
        }
    }

    /// Its name, in lower case, and the colon behind it.
    fn name(self) -> &'static [u8] {
        match self {
            Self::Length => b"content-length:",
            Self::Coding => b"transfer-encoding:",
        }
    }
}

impl Heads {
    /// Whether every request that has begun is there as a whole.
    pub(super) fn are_whole(&self) -> bool {
        self.place == Place::Before
    }

    /// Reads on. Returns the number of the first request, counted from 0, whose head turns out to be ambiguous.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Option<usize> {
        while let Some((byte, rest)) = bytes.split_first() {
            if let Place::Body { left, chunked } = self.place {
                let taken = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                bytes = bytes.get(taken..).unwrap_or_default();
                self.place = behind(left - taken as u64, chunked);
                continue;
            }
            if self.place == Place::Rest {
                let end = memchr::memchr(b'\n', bytes)?;
                bytes = bytes.get(end + 1..).unwrap_or_default();
                self.place = Place::LineStart;
                continue;
            }
            bytes = self.pass_name(bytes).unwrap_or_else(|| {
                self.step(*byte);
                rest
            });
            if self.length.is_some() && self.has_coding {
                return Some(self.count);
            }
        }
        None
    }

    /// Reads a header's name where it is there as a whole, which is less than to read it byte by byte. Returns what is behind it.
    fn pass_name<'b>(&mut self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        let sought = Sought::beginning_with(*bytes.first()?).filter(|_| self.place == Place::LineStart)?;
        let (name, behind) = bytes.split_at_checked(sought.name().len())?;
        if name.eq_ignore_ascii_case(sought.name()) {
            self.place = self.found(sought);
            return Some(behind);
        }
        self.place = Place::Rest;
        Some(bytes)
    }

    fn step(&mut self, byte: u8) {
        self.place = match (self.place, byte) {
            (Place::Before, b'\r' | b'\n') => Place::Before,
            (Place::Before, _) => Place::Rest,
            (Place::LineStart, b'\r') => Place::LineStart,
            (Place::LineStart, b'\n') => self.end_head(),
            (Place::LineStart, byte) => named(Sought::beginning_with(byte), 1),
            (Place::Name { sought, matched }, b':') if matched + 1 == sought.name().len() => self.found(sought),
            (Place::Name { sought, matched }, byte)
                if sought.name().get(matched) == Some(&byte.to_ascii_lowercase()) =>
            {
                named(Some(sought), matched + 1)
            }
            (Place::Length, b'0'..=b'9') => self.digit(byte),
            (Place::Length, b' ' | b'\t' | b'\r') => Place::Length,
            (Place::Name { .. } | Place::Rest | Place::Length, b'\n') => Place::LineStart,
            (Place::Size { size: 0, .. }, b'\n') => Place::Trailer { empty: true },
            // The line's end behind the chunk is counted as part of it.
            (Place::Size { size, .. }, b'\n') => Place::Body { left: size.saturating_add(2), chunked: true },
            (Place::Size { size, extended: false }, byte) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                Place::Size { size: size.saturating_mul(16).saturating_add(digit), extended: false }
            }
            (Place::Size { size, .. }, _) => Place::Size { size, extended: true },
            (Place::Trailer { empty: true }, b'\n') => Place::Before,
            (Place::Trailer { .. }, b'\n') => Place::Trailer { empty: true },
            (Place::Trailer { empty }, byte) => Place::Trailer { empty: empty && byte == b'\r' },
            (Place::Name { .. } | Place::Rest | Place::Length | Place::Body { .. }, _) => Place::Rest,
        };
    }

    fn found(&mut self, sought: Sought) -> Place {
        match sought {
            Sought::Length => {
                self.length = Some(0);
                Place::Length
            }
            Sought::Coding => {
                self.has_coding = true;
                Place::Rest
            }
        }
    }

    /// Where a length is said twice, hyper lets the request through only if it is the same.
    fn digit(&mut self, byte: u8) -> Place {
        let known = self.length.unwrap_or_default();
        self.length = Some(known.saturating_mul(10).saturating_add(u64::from(byte - b'0')));
        Place::Length
    }

    fn end_head(&mut self) -> Place {
        self.count += 1;
        let (length, chunked) = (self.length.take(), std::mem::take(&mut self.has_coding));
        if chunked { Place::Size { size: 0, extended: false } } else { behind(length.unwrap_or_default(), false) }
    }
}

/// In a name that begins like one that is looked for, or in one that does not matter.
fn named(sought: Option<Sought>, matched: usize) -> Place {
    sought.map_or(Place::Rest, |sought| Place::Name { sought, matched })
}

/// What follows with so many bytes to go.
fn behind(left: u64, chunked: bool) -> Place {
    match (left, chunked) {
        (0, true) => Place::Size { size: 0, extended: false },
        (0, false) => Place::Before,
        (left, chunked) => Place::Body { left, chunked },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: &str = "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";

    fn check(text: &str, expected: Option<usize>) {
        assert_eq!(Heads::default().read(text.as_bytes()), expected, "{text:?}");
        let mut in_pieces = Heads::default();
        let found = text.bytes().find_map(|byte| in_pieces.read(&[byte]));
        assert_eq!(found, expected, "{text:?} byte by byte");
    }

    #[test]
    fn a_length_with_a_coding_is_ambiguous_in_whatever_order_case_and_pieces() {
        for (head, expected) in [
            (BOTH, Some(0)),
            ("\r\nPOST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nhost: a\r\nCONTENT-LENGTH: 1\r\n\r\n", Some(0)),
            ("POST / HTTP/1.1\ntransfer-encoding: chunked\ncontent-length: 1\n\n", Some(0)),
            ("POST / HTTP/1.1\r\nc:\r\ntransfer-encoding: chunked\r\nt:\r\ncontent-length: 1\r\n\r\n", Some(0)),
            ("POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n", None),
            ("POST / HTTP/1.1\r\nx-content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", None),
            ("POST / HTTP/1.1\r\ncontent-length-x: 1\r\ntransfer-encoding: chunked\r\n\r\n", None),
            ("POST / HTTP/1.1\r\nx: content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", None),
            ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\ncontent-length: 1\r\n\r\n", None),
            ("POST content-length:1 HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", None),
        ] {
            check(head, expected);
        }
    }

    #[test]
    fn a_head_behind_a_body_is_seen_and_a_body_is_no_head() {
        let plain = "POST / HTTP/1.1\r\ncontent-length: 6\r\n\r\nab\r\n\r\n";
        let chunked = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2;x=1\r\n\r\n\r\nA\r\n0123456789\r\n0\r\nx: y\r\n\r\n";
        let bodiless = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        for before in [plain, chunked, bodiless] {
            check(&format!("{before}{BOTH}"), Some(1));
            check(&format!("{before}{before}{BOTH}"), Some(2));
        }
        check(&format!("POST / HTTP/1.1\r\ncontent-length: {}\r\n\r\n{BOTH}", BOTH.len()), None);
        let quoted = format!("{:x}\r\n{BOTH}\r\n0\r\n\r\n", BOTH.len());
        check(&format!("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n{quoted}"), None);
    }
}
