//! The head of one part of a form: what the part is called, and whether it is a file. It is read only where every upstream reads it
//! in the same way.

use std::str;

/// What the gateway must know of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part<'h> {
    /// Its name.
    pub(super) name: &'h str,
    /// Whether it is a file.
    pub(super) is_file: bool,
    /// Whether its content is to be decoded before it is read.
    pub(super) is_encoded: bool,
}

impl<'h> Part<'h> {
    /// Reads a head, without the blank line that ends it. `None` = it is broken, or could be read in two ways.
    pub(super) fn parse(head: &'h [u8]) -> Option<Self> {
        let mut disposition = None;
        let mut is_encoded = false;
        for line in str::from_utf8(head).ok()?.split("\r\n") {
            // A name that ends in white space, and a line that continues another, are read differently by different readers.
            let (name, value) = line.split_once(':').filter(|(name, _)| is_token(name))?;
            if value.contains(|c: char| c.is_ascii_control() && c != '\t') {
                return None;
            }
            let value = value.trim_matches([' ', '\t']);
            if name.eq_ignore_ascii_case("content-disposition") && disposition.replace(value).is_some() {
                return None;
            }
            if name.eq_ignore_ascii_case("content-transfer-encoding") {
                is_encoded |= !["7bit", "8bit", "binary"].iter().any(|plain| value.eq_ignore_ascii_case(plain));
            }
        }
        let (name, is_file) = named(disposition?)?;
        Some(Self { name, is_file, is_encoded })
    }
}

/// The name in a `Content-Disposition` (RFC 7578, section 4.2), and whether it has a file's name too.
fn named(disposition: &str) -> Option<(&str, bool)> {
    let (kind, mut rest) = disposition.split_at(disposition.find(';').unwrap_or(disposition.len()));
    if !kind.trim_end().eq_ignore_ascii_case("form-data") {
        return None;
    }
    let (mut name, mut is_file) = (None, false);
    while let Some(parameter) = rest.strip_prefix(';') {
        let (key, written) = parameter.split_once('=')?;
        let (value, after) = take_value(written)?;
        rest = after.trim_start();
        match key.trim_start().to_ascii_lowercase().as_str() {
            "name" if value.contains('\\') || name.replace(value).is_some() => return None,
            "name" => {}
            "filename" | "filename*" => is_file = true,
            key if !is_token(key) || key == "name*" => return None,
            _ => {}
        }
    }
    (rest.is_empty()).then_some((name?, is_file))
}

/// A parameter's value, unquoted, and what follows it.
fn take_value(text: &str) -> Option<(&str, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ' ', '\t']).unwrap_or(text.len());
        return text.split_at_checked(end).filter(|(value, _)| !value.is_empty() && !value.contains('"'));
    };
    let mut escaped = false;
    let end = quoted.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })?;
    Some((quoted.get(..end)?, quoted.get(end + 1..)?))
}

/// A token of RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parts_name_is_read_in_the_forms_that_clients_write() {
        for (head, name, is_file) in [
            (r#"Content-Disposition: form-data; name="model""#, "model", false),
            ("content-disposition:form-data;name=model", "model", false),
            (r#"Content-Disposition: form-data ; name="model" "#, "model", false),
            ("Content-Type: text/plain\r\nContent-Disposition: form-data; name=\"a b\"", "a b", false),
            (r#"Content-Disposition: form-data; name="file"; filename="a;b=\"c\".mp3""#, "file", true),
            (r#"Content-Disposition: form-data; filename*=UTF-8''%e2%82%ac.mp3; name="file""#, "file", true),
            (r#"Content-Disposition: form-data; name="file"; filename="é.mp3""#, "file", true),
            (r#"Content-Disposition: form-data; name="x"; filename="; name=model""#, "x", true),
        ] {
            let part = Part { name, is_file, is_encoded: false };
            assert_eq!(Part::parse(head.as_bytes()), Some(part), "{head}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_not_read() {
        for head in [
            "",
            "Content-Type: text/plain",
            "Content-Disposition: form-data",
            "Content-Disposition: attachment; name=\"model\"",
            "Content-Disposition: form-data; name=\"model\"; name=\"other\"",
            "Content-Disposition: form-data; name=\"model\"; NAME=\"other\"",
            "Content-Disposition: form-data; name=\"other\"; name*=UTF-8''model",
            "Content-Disposition: form-data; name=\"mo\\del\"",
            "Content-Disposition: form-data; name=\"other\"; filename=\"a\"b\"",
            "Content-Disposition: form-data; name=\"other",
            "Content-Disposition: form-data; name",
            "Content-Disposition: form-data; name=\"other\" model",
            "Content-Disposition: form-data; name=\"other\"\r\nContent-Disposition: form-data; name=\"model\"",
            "Content-Disposition : form-data; name=\"model\"",
            "Content-Disposition: form-data;\r\n name=\"model\"",
            "Content-Disposition: form-data; name=\"other\nmodel\"",
            "Content-Disposition: form-data; name=\"other\"\rname=\"model\"",
            "Content-Disposition: form-data; name=\"a\"\r\nno header",
        ] {
            assert_eq!(Part::parse(head.as_bytes()), None, "{head}");
        }
        assert_eq!(Part::parse(b"Content-Disposition: form-data; name=\"\xff\""), None);
    }

    #[test]
    fn an_encoded_part_says_so() {
        for (encoding, is_encoded) in [("8bit", false), ("Binary", false), ("base64", true), ("quoted-printable", true)]
        {
            let head =
                format!("Content-Disposition: form-data; name=\"model\"\r\nContent-Transfer-Encoding: {encoding}");
            assert_eq!(Part::parse(head.as_bytes()).map(|part| part.is_encoded), Some(is_encoded), "{encoding}");
        }
    }
}
