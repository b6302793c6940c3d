//! Which HTTP a connection speaks, by its first bytes. It never reads them itself.

/// What an HTTP/2 connection begins with (RFC 9113, section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Which HTTP it is, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// That much of the preface has come.
    Unknown(usize),
    Http1,
    Http2,
}

impl Protocol {
    /// Which it is once these bytes have come, too.
    pub(super) fn after(self, bytes: &[u8]) -> Self {
        let Self::Unknown(known) = self else { return self };
        let expected = PREFACE.get(known..).unwrap_or_default();
        if bytes.starts_with(expected) {
            Self::Http2
        } else if expected.starts_with(bytes) {
            Self::Unknown(known + bytes.len())
        } else {
            Self::Http1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocol_is_known_as_soon_as_it_can_be() {
        let unknown = Protocol::Unknown(0);
        assert_eq!(unknown.after(b""), unknown);
        assert_eq!(unknown.after(b"GET / "), Protocol::Http1);
        assert_eq!(unknown.after(b"P"), Protocol::Unknown(1));
        assert_eq!(unknown.after(b"P").after(b"OST"), Protocol::Http1);
        assert_eq!(unknown.after(b"PRI * HTTP/2.0").after(b"\r\n\r\nSM\r\n\r\nmore"), Protocol::Http2);
        assert_eq!(unknown.after(PREFACE), Protocol::Http2);
    }
}
