//! How answers are shown: tables for people, JSON and YAML for programs, names for scripts. It knows no call.

use std::io::{self, IsTerminal as _, Write as _};

use clap::{Args, ValueEnum, builder::FalseyValueParser};
use prost_reflect::{DynamicMessage, SerializeOptions};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::error::{Error, Exit};

/// How answers are shown.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Output")]
pub struct View {
    /// How the answer is shown
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Form,
    /// No colours; they are used on terminals only
    #[arg(long, env = "NO_COLOR", value_parser = FalseyValueParser::new())]
    pub no_color: bool,
}

/// A form of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people
    #[default]
    Table,
    /// The API's own JSON
    Json,
    /// The same as YAML
    Yaml,
    /// Full names only, one a line
    Name,
}

/// What a command came to: what is to be read of it, and how it ended.
#[derive(Debug)]
pub struct Done {
    /// For standard output.
    pub text: String,
    /// For the shell.
    pub exit: Exit,
}

impl Done {
    /// It is done, and this is to be read.
    pub fn with(text: impl Into<String>) -> Self {
        Self { text: text.into(), exit: Exit::Done }
    }

    /// The same, ended otherwise.
    #[must_use]
    pub fn ended(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }
}

impl View {
    /// An answer in the form that was asked for: as a program reads it, its names, or what `table` says.
    ///
    /// # Errors
    /// [`Error::Yaml`]
    pub fn show(
        &self,
        value: &Value,
        names: impl IntoIterator<Item = String>,
        table: impl FnOnce() -> String,
    ) -> Result<String, Error> {
        Ok(match self.output {
            Form::Table => table(),
            Form::Json => json_text(value)?,
            Form::Yaml => yaml(value)?,
            Form::Name => names.into_iter().map(|name| name + "\n").collect(),
        })
    }

    /// Whether standard output is to be coloured.
    #[must_use]
    pub fn colored(&self) -> bool {
        !self.no_color && io::stdout().is_terminal()
    }
}

/// A message as the API's JSON.
#[must_use]
pub fn json(message: &DynamicMessage) -> Value {
    let options = SerializeOptions::new();
    // The schemas' messages hold nothing that JSON has no words for, a time out of its range excepted.
    let mut value = message.serialize_with_options(serde_json::value::Serializer, &options).unwrap_or(Value::Null);
    without_fractions(&mut value);
    value
}

/// Says 60 where `google.protobuf.Value`, which knows floats only, says 60.0.
fn without_fractions(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(without_fractions),
        Value::Object(fields) => fields.values_mut().for_each(without_fractions),
        Value::Number(number) if number.is_f64() => {
            let whole = number.to_string().strip_suffix(".0").and_then(|whole| whole.parse::<i64>().ok());
            *number = whole.map_or_else(|| number.clone(), Into::into);
        }
        _ => {}
    }
}

/// A value as JSON, indented.
///
/// # Errors
/// [`Error::Json`]
pub fn json_text(value: &Value) -> Result<String, Error> {
    Ok(serde_json::to_string_pretty(&NameFirst(value))? + "\n")
}

/// A value as YAML.
///
/// # Errors
/// [`Error::Yaml`]
pub fn yaml(value: &Value) -> Result<String, Error> {
    Ok(serde_saphyr::to_string(&NameFirst(value))?)
}

/// A value whose objects begin with their names, so that whoever reads one knows what it is about.
struct NameFirst<'v>(&'v Value);

impl Serialize for NameFirst<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Array(values) => serializer.collect_seq(values.iter().map(Self)),
            Value::Object(fields) => {
                let (name, others): (Vec<_>, Vec<_>) = fields.iter().partition(|(key, _)| *key == "name");
                serializer.collect_map(name.into_iter().chain(others).map(|(key, value)| (key, NameFirst(value))))
            }
            value => value.serialize(serializer),
        }
    }
}

/// Writes to standard output. A reader that has gone away has seen what it wanted.
///
/// # Errors
/// Where it cannot be written for another reason.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Writes a line for people to standard error. Where nobody reads it, nothing is lost.
pub fn tell(line: &str) {
    drop(writeln!(io::stderr(), "{line}"));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whole_numbers_have_no_fraction() {
        let mut value = json!({"fieldChanges": [{"before": 60.0, "after": [0.5, -2.0, "1.0"]}]});
        without_fractions(&mut value);
        assert_eq!(value.to_string(), r#"{"fieldChanges":[{"after":[0.5,-2,"1.0"],"before":60}]}"#);
    }

    #[test]
    fn each_form_is_what_it_says() {
        let value = json!({"providers": [{"models": ["x: y", "1"], "name": "providers/a"}]});
        let shown = |output| {
            let view = View { output, no_color: true };
            view.show(&value, ["providers/a".to_owned()], || "a table\n".to_owned()).unwrap()
        };
        assert_eq!(shown(Form::Table), "a table\n");
        assert_eq!(shown(Form::Name), "providers/a\n");
        for form in [Form::Json, Form::Yaml] {
            let text = shown(form);
            assert!(text.find("name") < text.find("models"), "{text}");
        }
        assert_eq!(serde_json::from_str::<Value>(&shown(Form::Json)).unwrap(), value);
        assert_eq!(serde_saphyr::from_str::<Value>(&shown(Form::Yaml)).unwrap(), value);
    }
}
