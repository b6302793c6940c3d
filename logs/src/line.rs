//! How a line looks: as the library writes it, with the causes of errors in JSON too. Only the line that every exchange leaves is
//! written here, in the same look, at a fraction of what it costs there; it holds no error.

use std::{
    cell::Cell,
    fmt::{self, Debug, Write as _},
};

use jiff::{Timestamp, fmt::temporal::DateTimePrinter};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use crate::{LogFormat, causes::Causes};

/// The target of the line that an exchange leaves.
const ACCESS: &str = "access";

/// No such line is longer, as a rule.
const USUAL_BYTES: usize = 1024;

/// How the library writes the time.
const TIME: DateTimePrinter = DateTimePrinter::new().precision(Some(6));

thread_local! {
    /// The room for this thread's next line, so that none has to ask for it.
    static ROOM: Cell<String> = const { Cell::new(String::new()) };
}

/// Writes that line by itself, and has the library write all others.
#[derive(Debug)]
pub(crate) struct Lines<L> {
    pub(crate) format: LogFormat,
    pub(crate) library: L,
}

impl<S, N, L> FormatEvent<S, N> for Lines<L>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    L: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        let is_ours = metadata.target() == ACCESS && *metadata.level() == Level::INFO;
        if !is_ours || writer.has_ansi_escapes() || context.lookup_current().is_some() {
            let Some(causes) = self.missing(event)? else { return self.library.format_event(context, writer, event) };
            let mut line = String::new();
            self.library.format_event(context, Writer::new(&mut line), event)?;
            causes.add_to(&mut line);
            return writer.write_str(&line);
        }
        let mut line = ROOM.take();
        line.clear();
        line.reserve(USUAL_BYTES);
        self.write(&mut line, event)?;
        writer.write_str(&line)?;
        line.shrink_to(USUAL_BYTES);
        ROOM.set(line);
        Ok(())
    }
}

impl<L> Lines<L> {
    /// What the library does not write of an event.
    fn missing(&self, event: &Event<'_>) -> Result<Option<Causes>, fmt::Error> {
        match self.format {
            LogFormat::Text => Ok(None),
            LogFormat::Json => Causes::of(event),
        }
    }

    fn write(&self, line: &mut String, event: &Event<'_>) -> fmt::Result {
        line.push_str(match self.format {
            LogFormat::Text => "",
            LogFormat::Json => r#"{"timestamp":""#,
        });
        TIME.print_timestamp(&Timestamp::now(), &mut *line).map_err(|_| fmt::Error)?;
        match self.format {
            LogFormat::Text => line.extend(["  INFO ", ACCESS, ":"]),
            LogFormat::Json => line.push_str(r#"","level":"INFO","fields":{"#),
        }
        let mut fields = Fields { format: self.format, line: &mut *line, any: false, written: Ok(()) };
        event.record(&mut fields);
        fields.written?;
        match self.format {
            LogFormat::Text => line.push('\n'),
            LogFormat::Json => line.extend([r#"},"target":""#, ACCESS, "\"}\n"]),
        }
        Ok(())
    }
}

/// The fields of a line, one after the other.
struct Fields<'l> {
    format: LogFormat,
    line: &'l mut String,
    any: bool,
    written: fmt::Result,
}

impl Fields<'_> {
    fn write(&mut self, field: &Field, value: impl FnOnce(&mut Self) -> fmt::Result) {
        if self.written.is_ok() {
            self.name(field.name());
            self.written = value(self);
            self.any = true;
        }
    }

    fn name(&mut self, name: &str) {
        match self.format {
            LogFormat::Text => {
                self.line.push(' ');
                if name != "message" {
                    self.line.push_str(name);
                    self.line.push('=');
                }
            }
            LogFormat::Json => {
                self.line.push_str(if self.any { ",\"" } else { "\"" });
                self.line.push_str(name);
                self.line.push_str("\":");
            }
        }
    }

    fn plain(&mut self, field: &Field, value: &str) {
        self.write(field, |fields| fields.line.write_str(value));
    }

    fn quoted(&mut self, text: &str) -> fmt::Result {
        let needs_escape = |byte: u8| !matches!(byte, b' '..=b'~') || matches!(byte, b'"' | b'\\');
        // Without a branch, which is many bytes at a time.
        if !text.bytes().fold(false, |any, byte| any | needs_escape(byte)) {
            self.line.push('"');
            self.line.push_str(text);
            self.line.push('"');
            return Ok(());
        }
        match self.format {
            LogFormat::Text => write!(self.line, "{text:?}"),
            LogFormat::Json => {
                self.line.push_str(&serde_json::to_string(text).map_err(|_| fmt::Error)?);
                Ok(())
            }
        }
    }
}

impl Visit for Fields<'_> {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, itoa::Buffer::new().format(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, itoa::Buffer::new().format(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, if value { "true" } else { "false" });
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.write(field, |fields| fields.quoted(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.write(field, |fields| match fields.format {
            LogFormat::Text => write!(fields.line, "{value:?}"),
            LogFormat::Json => fields.quoted(&format!("{value:?}")),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::{
        error::Error,
        io,
        sync::{Arc, Mutex},
    };

    use serde_json::{Value, json};
    use tracing_subscriber::{Layer as _, Registry, fmt as library, layer::SubscriberExt as _};

    use super::*;

    /// What is written of everything that is said meanwhile, by us or by the library, but for when it was said.
    fn written(format: LogFormat, by_us: bool, say: impl FnOnce()) -> Vec<String> {
        let text = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&text);
        let writer = move || Taken(Arc::clone(&taken));
        let plain = library::layer().with_ansi(false);
        let layer = match (format, by_us) {
            (_, true) => format.lines(writer, false),
            (LogFormat::Text, false) => plain.with_writer(writer).boxed(),
            (LogFormat::Json, false) => plain.with_writer(writer).json().boxed(),
        };
        tracing::subscriber::with_default(Registry::default().with(layer), say);
        let text = String::from_utf8(text.lock().unwrap().clone()).unwrap();
        text.lines().map(without_time).collect()
    }

    fn without_time(line: &str) -> String {
        let begin = line.find("20").expect("a line has a time");
        let (before, rest) = line.split_at(begin);
        let (time, after) = rest.split_once('Z').expect("a time is in UTC");
        assert_eq!(time.len(), "2026-01-02T03:04:05.678901".len(), "{time}");
        format!("{before}TIME{after}")
    }

    struct Taken(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Taken {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn say_everything() {
        for model in ["gpt-4.1", "", "two words", "a \"quote\" and a \\", "line\nfeed\u{1b}[31m\u{7f}", "ünï/c☃"] {
            tracing::info!(
                target: "access",
                {
                    request.id = %"019a-1", response.status = Some(200_u16), request.bytes = None::<u64>, outcome = "completed",
                    model.requested = Some(model), model.served = ?model, credential.name = ?Some(model), attempts = 2_u32,
                    signed = -3_i64, streamed = true,
                },
                "exchange"
            );
        }
        tracing::info!(target: "access", "nothing but words");
        tracing::info!(target: "access", alone = 1_u64);
        tracing::warn!(target: "access", code = 1_u64, "another level");
        tracing::info!(code = 1_u64, "another target");
        tracing::info_span!("request", request.id = 7_u64).in_scope(|| tracing::info!(target: "access", "inside"));
    }

    #[test]
    fn every_line_looks_as_the_library_would_have_it() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let (ours, theirs) = (written(format, true, say_everything), written(format, false, say_everything));
            assert_eq!(ours, theirs);
            assert!(ours.len() >= 11, "{ours:?}");
        }
    }
    #[derive(Debug, thiserror::Error)]
    #[error("{told}")]
    struct Link {
        told: &'static str,
        source: Option<Box<Link>>,
    }

    /// An error, what caused it, and so on.
    fn chain(told: &[&'static str]) -> Box<Link> {
        let link = |source, told: &&'static str| Some(Box::new(Link { told, source }));
        told.iter().rev().fold(None, link).expect("an error says something")
    }

    fn say_errors() {
        let (broken, alone) = (chain(&["it \"broke\"", "a \\ in \"fields\":{", "reset by peer"]), chain(&["alone"]));
        let (broken, alone) = (broken.as_ref() as &dyn Error, alone.as_ref() as &dyn Error);
        let say = || tracing::warn!(request.id = 7_u64, error = broken, reason = alone, "broken off");
        say();
        tracing::info_span!("request", request.id = 7_u64).in_scope(say);
    }

    #[test]
    fn an_error_is_told_with_all_its_causes_in_text_and_in_json() {
        let text = written(LogFormat::Text, true, say_errors);
        assert_eq!(text.len(), 2);
        for line in text {
            let told = r#"error=it "broke" error.sources=[a \ in "fields":{, reset by peer] reason=alone"#;
            assert!(line.ends_with(told), "{line}");
        }
        let fields = json!({
            "message": "broken off", "request.id": 7,
            "error": "it \"broke\"", "error.sources": ["a \\ in \"fields\":{", "reset by peer"], "reason": "alone",
        });
        let span = json!({"name": "request", "request.id": 7});
        let lines = written(LogFormat::Json, true, say_errors);
        let lines: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let target = module_path!();
        let outside = json!({"timestamp": "TIME", "level": "WARN", "fields": fields, "target": target});
        let mut inside = outside.clone();
        inside["span"] = span.clone();
        inside["spans"] = json!([span]);
        assert_eq!(lines, [outside, inside]);
    }
}
