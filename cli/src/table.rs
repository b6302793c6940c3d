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
    wide: bool,
}

impl Table {
    /// A table of these rows.
    pub(crate) fn new(header: &[&'static str], rows: impl IntoIterator<Item = Vec<String>>) -> Self {
        Self { header: header.to_vec(), rows: rows.into_iter().collect(), wide: false }
    }

    /// The same with each row on one line, however long, so that names can be copied and lines be cut.
    pub(crate) fn wide(header: &[&'static str], rows: impl IntoIterator<Item = Vec<String>>) -> Self {
        Self { wide: true, ..Self::new(header, rows) }
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut table = comfy_table::Table::new();
        let arrangement = if self.wide { ContentArrangement::Disabled } else { ContentArrangement::Dynamic };
        table.load_style(presets::ASCII_MARKDOWN).set_content_arrangement(arrangement).set_width(WIDTH);
        table.set_header(self.header.clone());
        for row in &self.rows {
            table.add_row(row);
        }
        writeln!(f, "{}", table.trim_fmt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_wide_table_keeps_a_long_row_on_one_line() {
        let long = "words ".repeat(40);
        let lines = |table: Table| table.to_string().lines().count();
        assert_eq!(lines(Table::wide(&["A"], [vec![long.clone()]])), 3);
        assert!(lines(Table::new(&["A"], [vec![long]])) > 3);
    }
}
