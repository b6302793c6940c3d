//! Tables for people, in plain characters that a script can cut too. It knows nothing of what is in them.

use std::fmt::{self, Display, Formatter};

use comfy_table::{ContentArrangement, presets};

/// Widest table, in characters.
const WIDTH: u16 = 140;

/// A table with a header.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table of these rows.
    pub(crate) fn new(header: &[&'static str], rows: impl IntoIterator<Item = Vec<String>>) -> Self {
        Self { header: header.to_vec(), rows: rows.into_iter().collect() }
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
        table.set_header(self.header.clone());
        for row in &self.rows {
            table.add_row(row);
        }
        writeln!(f, "{}", table.trim_fmt())
    }
}
