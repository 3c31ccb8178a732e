//! Tables as kubectl prints them: columns by their widest cell, three blanks between, nothing around. No text of an object
//! gets into a cell that could disturb a terminal or pass for another row.

use std::io::{self, Write};

/// What stands in a cell that has nothing to say.
pub(crate) const NONE: &str = "<none>";

/// Rows of cells below their titles.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with titles and no rows.
    pub(crate) fn new(titles: &[&str]) -> Self {
        Self { rows: vec![titles.iter().map(|title| (*title).to_owned()).collect()] }
    }

    /// A table without titles.
    pub(crate) fn bare() -> Self {
        Self { rows: Vec::new() }
    }

    /// Adds a row; an empty cell says `<none>`.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let filled = |cell: String| if cell.is_empty() { NONE.to_owned() } else { harmless(&cell) };
        self.rows.push(cells.into_iter().map(filled).collect());
    }

    /// Prints it.
    pub(crate) fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        self.print_below(out, &mut Vec::new())
    }

    /// Prints it below rows that are printed already, whose columns are so wide; they grow with what is wider.
    pub(crate) fn print_below(&self, out: &mut dyn Write, widths: &mut Vec<usize>) -> io::Result<()> {
        for row in &self.rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (cell, width) in row.iter().zip(&mut *widths) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&*widths) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 3));
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Text of an object as it may go to a terminal: what is no character of a line is escaped.
pub(crate) fn harmless(text: &str) -> String {
    let turns =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars()
        .flat_map(|c| {
            let escaped = (c.is_control() || turns(c)).then(|| c.escape_default());
            let plain = escaped.is_none().then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

/// How long ago something was, as kubectl says it: the two largest units while that is precise enough.
pub(crate) fn age(created: Option<i64>, now: i64) -> String {
    let Some(created) = created else { return "<unknown>".to_owned() };
    let seconds = (now - created).max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    let two = |large: i64, unit: &str, small: i64, below: &str| match small {
        0 => format!("{large}{unit}"),
        small => format!("{large}{unit}{small}{below}"),
    };
    match (minutes, hours, days) {
        (0..=1, ..) => format!("{seconds}s"),
        (2..=9, ..) => two(minutes, "m", seconds % 60, "s"),
        (_, 0..=2, _) => format!("{minutes}m"),
        (_, 3..=7, _) => two(hours, "h", minutes % 60, "m"),
        (_, 8..=47, _) => format!("{hours}h"),
        (_, _, 2..=7) => two(days, "d", hours % 24, "h"),
        (_, _, 8..=729) => format!("{days}d"),
        (_, _, 730..=2_919) => two(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["NAME", "READY"]);
        table.row(["a-long-name".to_owned(), String::new()]);
        let mut printed = Vec::new();
        table.print(&mut printed).unwrap();
        assert_eq!(String::from_utf8(printed).unwrap(), "NAME          READY\na-long-name   <none>\n");
    }

    #[test]
    fn ages_read_as_kubectl_says_them() {
        let said: Vec<String> =
            [0, 119, 120, 125, 600, 3_600, 10_800, 11_100, 30_000, 172_800, 180_000, 691_200]
                .map(|seconds| age(Some(0), seconds))
                .into();
        assert_eq!(said, ["0s", "119s", "2m", "2m5s", "10m", "60m", "3h", "3h5m", "8h", "2d", "2d2h", "8d"]);
        assert_eq!((age(None, 7), age(Some(9), 7)), ("<unknown>".to_owned(), "0s".to_owned()));
    }
}
