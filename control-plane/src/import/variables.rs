//! Variables, from the environment or from an `.env` file as python-dotenv reads one: that is what those files were written for, and unlike
//! other readers it takes `NAME=["a", "b"]` as it stands. Nothing is expanded.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use super::{Error, draft};

/// Variables by name.
#[derive(Debug)]
pub(super) struct Variables {
    values: BTreeMap<String, String>,
    /// Whether they are those of a whole process, most of which is about something else.
    environment: bool,
}

impl Variables {
    /// The variables of a process.
    pub(super) fn of_environment(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { values: variables.into_iter().collect(), environment: true }
    }

    /// Reads a file. Of two lines with the same name the later one counts.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let (mut values, mut rest, mut line) = (BTreeMap::new(), text, 0);
        while !rest.is_empty() {
            line += 1;
            let (first, below) = rest.split_once('\n').unwrap_or((rest, ""));
            let trimmed = first.trim();
            if trimmed.is_empty() || trimmed.starts_with('#') {
                rest = below;
                continue;
            }
            let (name, _) = assignment(trimmed).ok_or_else(|| wrong(line, "must be NAME=value, or begin with #"))?;
            let after = rest.split_once('=').map_or("", |(_, after)| after).trim_start_matches([' ', '\t']);
            let (value, below) = match after.chars().next() {
                Some(quote @ ('"' | '\'')) => {
                    let (value, below) = quoted(after, quote).map_err(|problem| wrong(line, problem))?;
                    line += after.len().checked_sub(below.len()).and_then(|taken| after.get(..taken)).map_or(0, breaks);
                    (value, below)
                }
                _ => (bare(after.split('\n').next().unwrap_or_default()), below),
            };
            values.insert(name.to_owned(), value);
            rest = below;
        }
        Ok(Self { values, environment: false })
    }

    /// Whether a text begins as a file of variables does.
    pub(super) fn look_like(text: &str) -> bool {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.next().is_some_and(|line| assignment(line).is_some())
    }

    /// Whether there is a variable of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Every name.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// Takes a text; empty = it is not there.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        let value = self.values.remove(name)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    /// Takes a text that must be there.
    pub(super) fn required(&mut self, name: &'static str, rule: &'static str) -> Result<String, Error> {
        self.text(name).ok_or(Error::Missing { key: name, rule })
    }

    /// Takes a whole number.
    pub(super) fn number<T: FromStr>(&mut self, name: &'static str, default: T) -> Result<T, Error> {
        let Some(text) = self.text(name) else { return Ok(default) };
        text.parse().map_err(|_| Error::key(name, "must be a whole number within reason"))
    }

    /// Takes a clock in seconds.
    pub(super) fn seconds(&mut self, name: &'static str, default: Duration) -> Result<Duration, Error> {
        let Some(text) = self.text(name) else { return Ok(default) };
        draft::seconds(name, text.parse().unwrap_or(f64::NAN))
    }

    /// Takes a yes or no.
    pub(super) fn flag(&mut self, name: &'static str, default: bool) -> Result<bool, Error> {
        let Some(text) = self.text(name) else { return Ok(default) };
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" | "y" | "t" => Ok(true),
            "false" | "0" | "no" | "off" | "n" | "f" => Ok(false),
            _ => Err(Error::key(name, "must be true or false")),
        }
    }

    /// Takes a JSON array of texts.
    pub(super) fn list(&mut self, name: &'static str) -> Result<Vec<String>, Error> {
        let Some(text) = self.text(name) else { return Ok(Vec::new()) };
        serde_json::from_str(&text)
            .map_err(|_| Error::key(name, r#"must be a JSON array of texts, such as ["a", "b"]"#))
    }

    /// Notes what nobody has taken, except of a whole environment.
    pub(super) fn note_rest(&self, draft: &mut draft::Draft) {
        for name in self.values.keys().filter(|_| !self.environment) {
            draft.note(name, "is not known here, and is left out");
        }
    }
}

fn wrong(line: usize, problem: &str) -> Error {
    Error::Syntax { line, column: 1, problem: problem.to_owned() }
}

/// Name and value of a line.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    let is_name = !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name.then_some((name, value))
}

/// A value without quotes: up to a comment.
fn bare(value: &str) -> String {
    let end = value.find(" #").or_else(|| value.find("\t#")).unwrap_or(value.len());
    value.get(..end).unwrap_or(value).trim().to_owned()
}

/// A value in quotes, which may go over several lines, and the lines after it.
fn quoted(text: &str, quote: char) -> Result<(String, &str), &'static str> {
    let mut value = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some((_, escaped)) => value.push_str(&escape(escaped, quote)),
                None => break,
            },
            character if character == quote => {
                let after = text.get(at + 1..).unwrap_or_default();
                let (tail, below) = after.split_once('\n').unwrap_or((after, ""));
                let tail = tail.trim();
                let is_end = tail.is_empty() || tail.starts_with('#');
                return if is_end { Ok((value, below)) } else { Err("has something after the closing quote") };
            }
            character => value.push(character),
        }
    }
    Err("has a quote that is not closed")
}

/// What stands for an escaped character. Single quotes know only themselves and the backslash.
fn escape(escaped: char, quote: char) -> String {
    match escaped {
        'n' if quote == '"' => "\n".to_owned(),
        'r' if quote == '"' => "\r".to_owned(),
        't' if quote == '"' => "\t".to_owned(),
        '\\' | '\'' => escaped.to_string(),
        '"' if quote == '"' => escaped.to_string(),
        other => format!("\\{other}"),
    }
}

/// How many lines a value takes beyond its first.
fn breaks(text: &str) -> usize {
    text.trim_end_matches('\n').matches('\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_its_owner_reads_it() {
        let text = "# a comment\n\nPLAIN=a b # not this\n  export SPACED = x#y \r\nDOUBLE=\"a\\n\\\"b\\\" $HOME\" # c\nSINGLE='a\\n\\'b'\n\
                    LIST=[\"one\", \"t # wo\"]\nEMPTY=\nLONG=\"1\n2\"\nLAST=1\nLAST=2";
        let mut variables = Variables::parse(text).unwrap();
        for (name, expected) in [
            ("PLAIN", Some("a b")),
            ("SPACED", Some("x#y")),
            ("DOUBLE", Some("a\n\"b\" $HOME")),
            ("SINGLE", Some("a\\n'b")),
            ("EMPTY", None),
            ("LONG", Some("1\n2")),
            ("LAST", Some("2")),
            ("ABSENT", None),
        ] {
            assert_eq!(variables.text(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn a_list_may_stand_as_it_is_or_in_quotes() {
        for text in
            ["L=[\"a\", \"b c\"]", "L='[\"a\", \"b c\"]'", "L=\"[\\\"a\\\", \\\"b c\\\"]\"", "L='[\"a\",\n \"b c\"]'"]
        {
            assert_eq!(Variables::parse(text).unwrap().list("L").unwrap(), ["a", "b c"], "{text}");
        }
        let error = Variables::parse("L=a,b").unwrap().list("L").unwrap_err().to_string();
        assert!(error.starts_with("`L`: must be a JSON array"), "{error}");
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        for (text, line) in
            [("A=1\nnonsense", 2), ("A=\"1", 1), ("A='1' 2", 1), ("A=\"1\n2\"\n=3", 3), ("1A=2", 1), ("A B=1", 1)]
        {
            match Variables::parse(text) {
                Err(Error::Syntax { line: found, .. }) => assert_eq!(found, line, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn values_have_kinds() {
        let mut variables = Variables::parse("N=x\nF=maybe\nS=soon\nGOOD=5\nYES=True\nHALF=0.5").unwrap();
        assert!(variables.number::<u32>("N", 1).is_err() && variables.flag("F", true).is_err());
        assert!(variables.seconds("S", Duration::ZERO).is_err());
        assert_eq!(variables.number("GOOD", 1_u32), Ok(5));
        assert_eq!(variables.flag("YES", false), Ok(true));
        assert_eq!(variables.seconds("HALF", Duration::ZERO), Ok(Duration::from_millis(500)));
        assert_eq!(variables.number("ABSENT", 7_u32), Ok(7));
    }
}
