//! The causes of the errors that a line holds. The library names them in text, as `error.sources`, and leaves them out of JSON: here
//! they get into that too, under the same name. It knows nothing of what the errors are.

use std::{
    error::Error,
    fmt::{self, Debug, Write as _},
    iter,
};

use tracing::{
    Event,
    field::{Field, Visit},
};

/// Where the library's JSON begins with the fields. Nothing before it is anybody's text.
const FIELDS: &str = r#""fields":{"#;

/// The causes of an event's errors: members of a JSON object, each with its comma.
#[derive(Debug)]
pub(crate) struct Causes {
    members: String,
    written: fmt::Result,
}

impl Causes {
    /// What is to be added to the line of an event; `None` = nothing, as its errors have no causes, or there are none.
    ///
    /// # Errors
    /// Where they cannot be written.
    pub(crate) fn of(event: &Event<'_>) -> Result<Option<Self>, fmt::Error> {
        let mut causes = Self { members: String::new(), written: Ok(()) };
        event.record(&mut causes);
        causes.written?;
        Ok((!causes.members.is_empty()).then_some(causes))
    }

    /// Adds them to the event's line. They come first there, and their comma is right: the error itself comes after them.
    pub(crate) fn add_to(&self, line: &mut String) {
        if let Some(at) = line.find(FIELDS) {
            line.insert_str(at + FIELDS.len(), &self.members);
        }
    }

    fn write(&mut self, field: &Field, error: &(dyn Error + 'static)) -> fmt::Result {
        let causes: Vec<_> =
            iter::successors(error.source(), |&cause| cause.source()).map(ToString::to_string).collect();
        if causes.is_empty() {
            return Ok(());
        }
        let causes = serde_json::to_string(&causes).map_err(|_| fmt::Error)?;
        write!(self.members, r#""{}.sources":{causes},"#, field.name())
    }
}

impl Visit for Causes {
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        if self.written.is_ok() {
            self.written = self.write(field, value);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}
