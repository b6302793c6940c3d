//! A filter's text as conditions: words, operators, values, and the AND between them.

use std::borrow::Cow;

use prost_reflect::{Kind, MessageDescriptor};

use super::{
    Comparison, Condition, MAX_CHARS, Test,
    fault::{Fault, Problem},
    field::{self, End, Path},
    operand::{Operand, Sort},
};

/// Longest first, so that `<=` is not read as `<`.
const OPERATORS: [(&str, Operator); 7] = [
    ("!=", Operator::Differs),
    ("<=", Operator::Compare(Comparison::LessOrEqual)),
    (">=", Operator::Compare(Comparison::GreaterOrEqual)),
    ("=", Operator::Compare(Comparison::Equal)),
    ("<", Operator::Compare(Comparison::Less)),
    (">", Operator::Compare(Comparison::Greater)),
    (":", Operator::Has),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Compare(Comparison),
    Differs,
    Has,
}

/// A piece of the filter, and where it begins.
#[derive(Debug, Clone)]
pub(super) struct Word<'a> {
    pub(super) text: Cow<'a, str>,
    at: usize,
    quoted: bool,
}

impl Word<'_> {
    /// Something that is wrong with it.
    pub(super) const fn fault(&self, problem: Problem) -> Fault {
        Fault { at: self.at, problem }
    }
}

/// Reads all of a filter.
///
/// # Errors
/// [`Fault`] at the first thing that is wrong.
pub(super) fn conditions(text: &str, message: &MessageDescriptor) -> Result<Vec<Condition>, Fault> {
    if let Some((at, _)) = text.chars().enumerate().nth(MAX_CHARS) {
        return Err(Fault { at: at + 1, problem: Problem::TooLong });
    }
    let mut reader = Reader { rest: text.trim_end(), at: 1 };
    reader.skip_space();
    let mut conditions = Vec::new();
    while !reader.rest.is_empty() {
        if !conditions.is_empty() {
            reader.join()?;
        }
        conditions.push(condition(&mut reader, message)?);
        reader.skip_space();
    }
    Ok(conditions)
}

fn condition(reader: &mut Reader<'_>, message: &MessageDescriptor) -> Result<Condition, Fault> {
    let words = reader.path()?;
    let mut path = field::resolve(&words, message)?;
    reader.skip_space();
    let at = reader.at;
    let operator = reader.operator()?;
    reader.skip_space();
    let value = reader.value()?;
    let test = test(&mut path, operator, &value, at)?;
    Ok(Condition { path: path.steps, test, negated: operator == Operator::Differs })
}

/// What the operator means for a field of that kind.
fn test(path: &mut Path, operator: Operator, value: &Word<'_>, at: usize) -> Result<Test, Fault> {
    let unfit =
        |what, operators| Fault { at, problem: Problem::Condition { field: path.text.clone(), what, operators } };
    let (kind, several) = match &path.end {
        End::Map if operator == Operator::Has => {
            return Ok(entry(path, value));
        }
        End::Map => return Err(unfit("a map", "`:` and the name of an entry")),
        End::List(kind) => (kind, true),
        End::One(kind) => (kind, path.plural),
    };
    let whether = operator == Operator::Has && !value.quoted && value.text == "*";
    match operator {
        Operator::Has if whether => return Ok(Test::Present),
        Operator::Compare(_) | Operator::Differs if several => return Err(unfit("a list", "`:`")),
        _ => {}
    }
    match (Sort::of(kind), operator) {
        (Sort::Opaque, _) => Err(unfit("neither text nor number", "`:*`")),
        (Sort::Exact, Operator::Compare(comparison)) if comparison != Comparison::Equal => {
            Err(unfit("without an order", "`=`, `!=` and `:`"))
        }
        (Sort::Ordered, Operator::Has) if *kind == Kind::String && !matches!(path.end, End::List(_)) => {
            Ok(Test::Holds(value.text.to_string()))
        }
        (_, Operator::Compare(comparison)) => Ok(Test::Compare(comparison, operand(value, kind)?)),
        (_, Operator::Differs | Operator::Has) => Ok(Test::Compare(Comparison::Equal, operand(value, kind)?)),
    }
}

/// `labels:team` is `labels.team:*`, and `labels:*` asks for any.
fn entry(path: &mut Path, value: &Word<'_>) -> Test {
    if let (Some(last), true) = (path.steps.last_mut(), value.quoted || value.text != "*") {
        last.key = Some(value.text.to_string());
    }
    Test::Present
}

fn operand(value: &Word<'_>, kind: &Kind) -> Result<Operand, Fault> {
    let problem = |expected| value.fault(Problem::Type { value: value.text.to_string(), expected });
    Operand::read(&value.text, kind).map_err(problem)
}

/// What is left of the text.
struct Reader<'a> {
    rest: &'a str,
    /// Which character it begins at, counted from 1.
    at: usize,
}

impl<'a> Reader<'a> {
    const fn fault(&self, problem: Problem) -> Fault {
        Fault { at: self.at, problem }
    }

    /// Takes the first `bytes` of the rest, which end where a character does.
    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.rest = rest;
        self.at += taken.chars().count();
        taken
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|character| !wanted(character)).unwrap_or(self.rest.len());
        self.take(end)
    }

    fn skip_space(&mut self) {
        self.take_while(char::is_whitespace);
    }

    fn join(&mut self) -> Result<(), Fault> {
        let fault = self.fault(Problem::Join);
        match self.take_while(char::is_alphabetic) {
            "AND" if self.rest.is_empty() || self.rest.starts_with(char::is_whitespace) => {
                self.skip_space();
                Ok(())
            }
            other @ ("OR" | "NOT") => Err(Fault { problem: Problem::Unsupported(other.to_owned()), ..fault }),
            _ => Err(fault),
        }
    }

    fn path(&mut self) -> Result<Vec<Word<'a>>, Fault> {
        let mut words = Vec::new();
        loop {
            words.push(self.segment()?);
            if !self.rest.starts_with('.') {
                break;
            }
            self.take(1);
        }
        match words.as_slice() {
            [Word { text, quoted: false, .. }] if text == "NOT" => {
                let word = text.to_string();
                Err(words
                    .first()
                    .map_or_else(|| self.fault(Problem::Path), |first| first.fault(Problem::Unsupported(word))))
            }
            _ => Ok(words),
        }
    }

    fn segment(&mut self) -> Result<Word<'a>, Fault> {
        if self.rest.starts_with(['"', '\'']) {
            return self.quoted();
        }
        let at = self.at;
        let text = self.take_while(|character| character.is_alphanumeric() || "_-/".contains(character));
        match (text, self.rest.chars().next()) {
            ("", Some('(')) => Err(self.fault(Problem::Unsupported("(".to_owned()))),
            ("", _) => Err(self.fault(Problem::Path)),
            (text, _) => Ok(Word { text: text.into(), at, quoted: false }),
        }
    }

    fn operator(&mut self) -> Result<Operator, Fault> {
        let found = OPERATORS.into_iter().find(|(text, _)| self.rest.starts_with(text));
        let (text, operator) = found.ok_or_else(|| self.fault(Problem::Operator))?;
        self.take(text.len());
        Ok(operator)
    }

    fn value(&mut self) -> Result<Word<'a>, Fault> {
        if self.rest.starts_with(['"', '\'']) {
            return self.quoted();
        }
        let at = self.at;
        let text = self.take_while(|character| !character.is_whitespace() && !"\"'()=<>!".contains(character));
        if text.is_empty() {
            Err(self.fault(Problem::Value))
        } else {
            Ok(Word { text: text.into(), at, quoted: false })
        }
    }

    /// Text in quotes of either kind, in which a backslash lets the next character be itself.
    fn quoted(&mut self) -> Result<Word<'a>, Fault> {
        let unclosed = self.fault(Problem::Quote);
        let mut characters = self.rest.char_indices();
        let quote = characters.next().map(|(_, quote)| quote);
        let mut text = String::new();
        while let Some((at, character)) = characters.next() {
            if Some(character) == quote {
                let word = Word { text: text.into(), at: self.at, quoted: true };
                self.take(at + 1);
                return Ok(word);
            }
            let itself = if character == '\\' { characters.next().map(|(_, itself)| itself) } else { Some(character) };
            text.extend(itself);
        }
        Err(unclosed)
    }
}
