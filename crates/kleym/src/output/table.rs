//! Tables as kubectl prints them: columns by their widest cell, three blanks between, nothing around.

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
        let filled = |cell: String| if cell.is_empty() { NONE.to_owned() } else { cell };
        self.rows.push(cells.into_iter().map(filled).collect());
    }

    /// Prints it.
    pub(crate) fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 3));
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
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
