//! A strict reader of JSON texts (RFC 8259) that walks over a text once and hands out what is asked for as it is written. It copies
//! nothing, and knows no member by name.

use std::borrow::Cow;

use memchr::memchr2;

/// How many objects and arrays may be open at once.
pub(crate) const MAX_DEPTH: usize = 127;

/// How many words of a string are looked at one by one before many bytes are together: most strings are names, and short.
const NEAR_WORDS: usize = 4;

/// Longest number that is taken for finite without a closer look, in bytes.
const SURELY_FINITE: usize = 300;

/// Why a text is not JSON, or none that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} at line {line} column {column}")]
pub(crate) struct Error {
    what: What,
    line: usize,
    /// In bytes.
    column: usize,
}

/// What is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum What {
    #[error("it ends too early")]
    Unfinished,
    #[error("there is something else than expected")]
    Unexpected,
    #[error("a string holds what none may hold")]
    String,
    #[error("there is no such number")]
    Number,
    #[error("it is nested too deep")]
    Depth,
}

/// A text, and how far it is read.
#[derive(Debug)]
pub(crate) struct Reader<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

impl<'t> Reader<'t> {
    pub(crate) const fn new(text: &'t str) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    /// Whether what comes next is an object.
    pub(crate) fn is_at_object(&mut self) -> bool {
        self.peek() == Some(b'{')
    }

    /// Whether what comes next is an array.
    pub(crate) fn is_at_array(&mut self) -> bool {
        self.peek() == Some(b'[')
    }

    /// Reads an object: `each` is given every name as it is written, quotes included, and reads the value.
    ///
    /// # Errors
    /// Where there is none.
    pub(crate) fn members(
        &mut self,
        mut each: impl FnMut(&mut Self, &'t str) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.enter(b'{')?;
        let mut more = !self.leaves(b'}');
        while more {
            let name = self.string()?;
            self.expect(b':')?;
            each(self, name)?;
            more = self.goes_on(b'}')?;
        }
        Ok(())
    }

    /// Reads an array: `each` reads every value.
    ///
    /// # Errors
    /// Where there is none.
    pub(crate) fn elements(&mut self, mut each: impl FnMut(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        self.enter(b'[')?;
        let mut more = !self.leaves(b']');
        while more {
            each(self)?;
            more = self.goes_on(b']')?;
        }
        Ok(())
    }

    /// Reads whatever value comes next, and gives it as it is written.
    ///
    /// # Errors
    /// Where there is none.
    pub(crate) fn value(&mut self) -> Result<&'t str, Error> {
        let first = self.peek();
        let start = self.at;
        match first {
            Some(b'"') => return self.string(),
            Some(b'{') => self.members(|reader, _| reader.value().map(drop))?,
            Some(b'[') => self.elements(|reader| reader.value().map(drop))?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.literal("true")?,
            Some(b'f') => self.literal("false")?,
            Some(b'n') => self.literal("null")?,
            Some(_) | None => return Err(self.unexpected()),
        }
        Ok(self.text.get(start..self.at).unwrap_or_default())
    }

    /// Makes sure that nothing follows.
    ///
    /// # Errors
    /// Where something does.
    pub(crate) fn end(&mut self) -> Result<(), Error> {
        if self.peek().is_none() { Ok(()) } else { Err(self.unexpected()) }
    }

    fn rest(&self) -> &'t [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        let rest = self.rest();
        // As a rule there is none.
        if let Some(byte @ b'!'..) = rest.first() {
            return Some(*byte);
        }
        let white = rest.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
        self.at += white.unwrap_or(rest.len());
        rest.get(white?).copied()
    }

    fn expect(&mut self, byte: u8) -> Result<(), Error> {
        if self.peek() != Some(byte) {
            return Err(self.unexpected());
        }
        self.at += 1;
        Ok(())
    }

    fn enter(&mut self, opening: u8) -> Result<(), Error> {
        self.expect(opening)?;
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(self.error(What::Depth)) } else { Ok(()) }
    }

    /// Whether an object or array is over here.
    fn leaves(&mut self, closing: u8) -> bool {
        let leaves = self.peek() == Some(closing);
        if leaves {
            self.at += 1;
            self.depth -= 1;
        }
        leaves
    }

    /// Whether another member or element follows.
    fn goes_on(&mut self, closing: u8) -> Result<bool, Error> {
        if self.leaves(closing) {
            return Ok(false);
        }
        self.expect(b',').map(|()| true)
    }

    fn literal(&mut self, literal: &str) -> Result<(), Error> {
        if !self.rest().starts_with(literal.as_bytes()) {
            return Err(self.unexpected());
        }
        self.at += literal.len();
        Ok(())
    }

    fn number(&mut self) -> Result<(), Error> {
        let rest = self.rest();
        let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let length = rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len());
        let number = self.text.get(self.at..self.at + length).unwrap_or_default();
        if !is_number(number.as_bytes()) {
            return Err(self.error(What::Number));
        }
        self.at += length;
        Ok(())
    }

    fn string(&mut self) -> Result<&'t str, Error> {
        self.expect(b'"')?;
        let start = self.at - 1;
        loop {
            let rest = self.rest();
            let plain = plain(rest);
            self.at += plain;
            match rest.get(plain) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(self.text.get(start..self.at).unwrap_or_default());
                }
                Some(b'\\') => {
                    let escape = escape(rest.get(plain + 1..).unwrap_or_default());
                    self.at += 1 + escape.ok_or_else(|| self.error(What::String))?;
                }
                Some(_) => return Err(self.error(What::String)),
                None => return Err(self.error(What::Unfinished)),
            }
        }
    }

    fn unexpected(&self) -> Error {
        self.error(if self.rest().is_empty() { What::Unfinished } else { What::Unexpected })
    }

    #[cold]
    fn error(&self, what: What) -> Error {
        let read = self.text.as_bytes().get(..self.at).unwrap_or_default();
        let line_start = memchr::memrchr(b'\n', read).map_or(0, |at| at + 1);
        let line = 1 + memchr::memchr_iter(b'\n', read).count();
        Error { what, line, column: 1 + read.len() - line_start }
    }
}

/// How many bytes a string goes on before it ends, escapes something, or holds what none may hold.
pub(crate) fn plain(rest: &[u8]) -> usize {
    let (words, _) = rest.as_chunks();
    let near = words.get(..NEAR_WORDS).unwrap_or(words);
    for (at, word) in near.iter().enumerate() {
        if let Some(found) = special(u64::from_le_bytes(*word)) {
            return at * 8 + found;
        }
    }
    let near = near.len() * 8;
    near + plain_for_long(rest.get(near..).unwrap_or_default())
}

/// The same, for what is long as a rule.
fn plain_for_long(rest: &[u8]) -> usize {
    let end = memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
    let rest = rest.get(..end).unwrap_or_default();
    // Looked for without branches, which is many bytes at a time.
    let least = rest.iter().fold(u8::MAX, |least, byte| least.min(*byte));
    if least < b' ' { rest.iter().position(|byte| *byte < b' ').unwrap_or(end) } else { end }
}

/// Which of eight bytes is the first that is a quote, a backslash or a control character, found by arithmetic on all of them (Sean
/// Anderson, "Bit Twiddling Hacks": a borrow can mark a byte too many, but only after one that is rightly marked).
fn special(word: u64) -> Option<usize> {
    const ONES: u64 = u64::MAX / 0xff;
    let below = |word: u64, limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word;
    let equal = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    let marked = (below(word, b' ') | equal(b'"') | equal(b'\\')) & (ONES << 7);
    (marked != 0).then(|| marked.trailing_zeros() as usize / 8)
}

/// Whether a text is written in a string as it is.
pub(crate) fn is_plain(text: &str) -> bool {
    plain(text.as_bytes()) == text.len()
}

/// What a string says that is written so, quotes included.
pub(crate) fn text(written: &str) -> Cow<'_, str> {
    let inner = written.get(1..written.len() - 1).unwrap_or_default();
    if !inner.as_bytes().contains(&b'\\') {
        return inner.into();
    }
    serde_json::from_str::<String>(written).unwrap_or_default().into()
}

/// How long the escape is that follows a backslash; `None` = it is none.
fn escape(rest: &[u8]) -> Option<usize> {
    match rest.first()? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(1),
        b'u' => match unit(rest)? {
            // Half of a character beyond the first 65,536, which the other half must follow.
            0xd800..=0xdbff => {
                let other = unit(rest.get(5..)?.strip_prefix(b"\\")?)?;
                (0xdc00..=0xdfff).contains(&other).then_some(11)
            }
            0xdc00..=0xdfff => None,
            _ => Some(5),
        },
        _ => None,
    }
}

/// The number in `uXXXX`.
fn unit(rest: &[u8]) -> Option<u16> {
    let digits = rest.strip_prefix(b"u")?.get(..4)?;
    digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)? as u16))
}

fn is_number(number: &[u8]) -> bool {
    let (whole, rest) = digits(number.strip_prefix(b"-").unwrap_or(number));
    let rest = match rest.strip_prefix(b".").map(digits) {
        Some(([], _)) => return false,
        Some((_, rest)) => rest,
        None => rest,
    };
    let (exponent, is_whole) = match rest {
        [b'e' | b'E', b'+' | b'-', exponent @ ..] | [b'e' | b'E', exponent @ ..] => (exponent, !exponent.is_empty()),
        rest => (rest, rest.is_empty()),
    };
    let leads = matches!(whole, [b'0'] | [b'1'..=b'9', ..]);
    leads && is_whole && digits(exponent).1.is_empty() && is_finite(number, exponent)
}

/// A number that is too large to be one in most languages is none here either.
fn is_finite(number: &[u8], exponent: &[u8]) -> bool {
    if exponent.is_empty() && number.len() <= SURELY_FINITE {
        return true;
    }
    str::from_utf8(number).is_ok_and(|number| number.parse().is_ok_and(f64::is_finite))
}

fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let length = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(length)
}

#[cfg(test)]
mod tests;
