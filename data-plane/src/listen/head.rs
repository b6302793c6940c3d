//! Notices the one ambiguity of a request's head that hyper settles by itself: a length and a transfer coding together (RFC 9112,
//! section 6.1). hyper takes the coding and forgets the length; a gateway must refuse what somebody else may have read differently.

/// The longest of the names that are looked for.
const LONGEST_NAME: usize = "transfer-encoding".len();

/// The head of an HTTP/1 request as its bytes come. What is pipelined behind a body that is under way is not seen; hyper closes
/// after such a request in any case.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// The name that the current line begins with, as far as it may be one that is looked for.
    name: Vec<u8>,
    place: Place,
    has_length: bool,
    has_coding: bool,
}

/// Where in the head the next byte is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    /// Before the request line: empty lines are skipped there (RFC 9112, section 2.2).
    #[default]
    Before,
    /// At the beginning of a line.
    LineStart,
    /// In a header's name.
    Name,
    /// In a part of a line that does not matter.
    Rest,
    /// Behind the empty line.
    Behind,
}

impl Head {
    /// Reads on. Returns whether the head, as far as it has come, is ambiguous.
    pub(super) fn read(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            self.place = match (self.place, byte) {
                (Place::Behind, _) => break,
                (Place::Before, b'\r' | b'\n') => Place::Before,
                (Place::Before, _) => Place::Rest,
                (Place::LineStart, b'\r') => Place::LineStart,
                (Place::LineStart, b'\n') => Place::Behind,
                (Place::Name, b':') => self.named(),
                (Place::Name | Place::Rest, b'\n') => self.next_line(),
                (Place::LineStart | Place::Name, byte) if self.name.len() < LONGEST_NAME => {
                    self.name.push(byte.to_ascii_lowercase());
                    Place::Name
                }
                (Place::LineStart | Place::Name | Place::Rest, _) => Place::Rest,
            };
        }
        self.has_length && self.has_coding
    }

    fn named(&mut self) -> Place {
        self.has_length |= self.name == b"content-length";
        self.has_coding |= self.name == b"transfer-encoding";
        Place::Rest
    }

    fn next_line(&mut self) -> Place {
        self.name.clear();
        Place::LineStart
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_with_a_coding_is_ambiguous_in_whatever_order_case_and_pieces() {
        for (head, expected) in [
            ("POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", true),
            ("\r\nPOST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nhost: a\r\nCONTENT-LENGTH: 1\r\n\r\n", true),
            ("POST / HTTP/1.1\ntransfer-encoding: chunked\ncontent-length: 1\n\n", true),
            ("POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n", false),
            ("POST / HTTP/1.1\r\nx-content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", false),
            ("POST / HTTP/1.1\r\ncontent-length-x: 1\r\ntransfer-encoding: chunked\r\n\r\n", false),
            ("POST / HTTP/1.1\r\nx: content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", false),
            ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\ncontent-length: 1\r\n\r\n", false),
            ("POST content-length:1 HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", false),
        ] {
            assert_eq!(Head::default().read(head.as_bytes()), expected, "{head:?}");
            let mut in_pieces = Head::default();
            let last = head.bytes().map(|byte| in_pieces.read(&[byte])).last();
            assert_eq!(last, Some(expected), "{head:?} byte by byte");
        }
    }
}
