//! The few members that are looked at in the data of an event, of chat chunks and of typed events alike, found in one pass and where
//! they are. It does not know what they mean for a stream.

use crate::json::{self, Reader};

/// What is found; `null` is as good as nothing.
#[derive(Debug, Default)]
pub(super) struct Chunk<'t> {
    pub(super) model: Option<&'t str>,
    pub(super) response: Option<&'t str>,
    pub(super) error: Option<&'t str>,
    /// The member `type`.
    pub(super) name: Option<&'t str>,
    pub(super) choices: Option<Choices>,
    pub(super) usage: Option<&'t str>,
    pub(super) response_id: Option<&'t str>,
}

/// What all choices together say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Choices {
    pub(super) count: usize,
    /// There is content, a tool call, reasoning, a refusal: anything but the role that is not empty, under whatever name.
    pub(super) says_something: bool,
    /// There is a reason why one ended.
    pub(super) finishes: bool,
}

/// Why nothing is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    /// It is no JSON.
    Malformed,
    /// It is of another shape than any chunk, or says something twice.
    Unusual,
}

/// A chunk as far as it is read.
#[derive(Default)]
struct Reading<'t> {
    chunk: Chunk<'t>,
    unusual: bool,
}

impl<'t> Chunk<'t> {
    /// Reads the data of an event.
    ///
    /// # Errors
    /// [`Unread`] where it is no chunk.
    pub(super) fn read(data: &'t [u8]) -> Result<Self, Unread> {
        let text = str::from_utf8(data).map_err(|_| Unread::Malformed)?;
        let (mut reader, mut reading) = (Reader::new(text), Reading::default());
        let read = if reader.is_at_object() {
            reader.members(|reader, name| reading.member(reader, &json::text(name)))
        } else {
            reading.unusual = true;
            reader.value().map(drop)
        };
        read.and_then(|()| reader.end()).map_err(|_| Unread::Malformed)?;
        if reading.unusual { Err(Unread::Unusual) } else { Ok(reading.chunk) }
    }
}

impl<'t> Reading<'t> {
    fn member(&mut self, reader: &mut Reader<'t>, name: &str) -> Result<(), json::Error> {
        let place = match name {
            "model" => &mut self.chunk.model,
            "response" => &mut self.chunk.response,
            "error" => &mut self.chunk.error,
            "type" => &mut self.chunk.name,
            "usage" => &mut self.chunk.usage,
            "response_id" => &mut self.chunk.response_id,
            "choices" => return self.choices(reader),
            _ => return reader.value().map(drop),
        };
        let value = something(reader.value()?);
        self.unusual |= place.is_some();
        *place = value;
        Ok(())
    }

    fn choices(&mut self, reader: &mut Reader<'t>) -> Result<(), json::Error> {
        if !reader.is_at_array() {
            self.unusual |= something(reader.value()?).is_some();
            return Ok(());
        }
        let mut choices = Choices::default();
        reader.elements(|reader| {
            choices.count += 1;
            self.within(reader, |reading, reader, name| match name {
                "finish_reason" => {
                    // Some upstreams send an empty reason until there is one.
                    choices.finishes |= something(reader.value()?).is_some_and(|reason| reason != "\"\"");
                    Ok(())
                }
                "delta" => reading.within(reader, |_, reader, name| {
                    let is_empty = matches!(reader.value()?, "null" | "\"\"" | "[]" | "{}");
                    choices.says_something |= name != "role" && !is_empty;
                    Ok(())
                }),
                _ => reader.value().map(drop),
            })
        })?;
        self.unusual |= self.chunk.choices.replace(choices).is_some();
        Ok(())
    }

    /// Reads what must be an object, or `null`.
    fn within(
        &mut self,
        reader: &mut Reader<'t>,
        mut each: impl FnMut(&mut Self, &mut Reader<'t>, &str) -> Result<(), json::Error>,
    ) -> Result<(), json::Error> {
        if reader.is_at_object() {
            return reader.members(|reader, name| each(self, reader, &json::text(name)));
        }
        self.unusual |= something(reader.value()?).is_some();
        Ok(())
    }
}

fn something(value: &str) -> Option<&str> {
    Some(value).filter(|value| *value != "null")
}
