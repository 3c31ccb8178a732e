//! The figures, each with what it should be, as a table for people or as JSON.

use std::fmt;

use serde_json::{Value, json};

/// What a figure should be.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Target {
    AtMost(f64),
    AtLeast(f64),
}

#[derive(Debug)]
struct Row {
    what: String,
    measured: f64,
    unit: &'static str,
    target: Option<Target>,
    /// Whether the target holds at every size.
    always: bool,
}

/// The figures so far.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Row>,
    /// Whether everything has the size that the targets are for.
    full: bool,
}

impl Table {
    /// No figures yet.
    pub(crate) fn new(full: bool) -> Self {
        Self { rows: Vec::new(), full }
    }

    fn add(&mut self, what: impl Into<String>, measured: f64, unit: &'static str, target: Option<Target>) {
        let row = Row { what: what.into(), measured, unit, target, always: unit.is_empty() };
        eprintln!("{}: {}", row.what, row.text(row.measured));
        self.rows.push(row);
    }

    /// A figure that should not be larger than this.
    pub(crate) fn at_most(
        &mut self,
        what: impl Into<String>,
        measured: f64,
        unit: &'static str,
        target: f64,
    ) {
        self.add(what, measured, unit, Some(Target::AtMost(target)));
    }

    /// A number of things that should not be larger than this, at any size.
    pub(crate) fn count(&mut self, what: impl Into<String>, measured: usize, target: usize) {
        self.at_most(what, measured as f64, "", target as f64);
    }

    /// A figure that should not be smaller than this.
    pub(crate) fn at_least(
        &mut self,
        what: impl Into<String>,
        measured: f64,
        unit: &'static str,
        target: f64,
    ) {
        self.add(what, measured, unit, Some(Target::AtLeast(target)));
    }

    /// A figure that explains others.
    pub(crate) fn note(&mut self, what: impl Into<String>, measured: f64, unit: &'static str) {
        self.add(what, measured, unit, None);
    }

    /// The figures as JSON.
    pub(crate) fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let (at_most, at_least) = match row.target {
                Some(Target::AtMost(most)) => (Some(most), None),
                Some(Target::AtLeast(least)) => (None, Some(least)),
                None => (None, None),
            };
            json!({
                "what": row.what, "measured": row.measured, "unit": row.unit,
                "atMost": at_most, "atLeast": at_least, "met": row.met(self.full),
            })
        });
        rows.collect()
    }
}

impl Row {
    /// Whether the target is met, if that can be told.
    fn met(&self, full: bool) -> Option<bool> {
        let met = match self.target? {
            Target::AtMost(most) => self.measured <= most,
            Target::AtLeast(least) => self.measured >= least,
        };
        (full || self.always).then_some(met)
    }

    fn text(&self, number: f64) -> String {
        let digits = match self.unit {
            "" | "%" => 0,
            _ if number >= 100.0 => 0,
            _ if number >= 10.0 => 1,
            _ => 2,
        };
        format!("{number:.digits$} {}", self.unit).trim_end().to_owned()
    }

    fn goal(&self) -> String {
        match self.target {
            None => String::new(),
            Some(Target::AtMost(0.0)) => "0".to_owned(),
            Some(Target::AtMost(most)) => format!("<= {most} {}", self.unit).trim_end().to_owned(),
            Some(Target::AtLeast(least)) => format!(">= {least} {}", self.unit).trim_end().to_owned(),
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|row| row.what.len()).max().unwrap_or_default();
        writeln!(f, "{:width$}  {:>12}  {:>12}  ", "what", "measured", "target")?;
        for row in &self.rows {
            let verdict = match row.met(self.full) {
                Some(true) => "met",
                Some(false) => "MISSED",
                None if row.target.is_some() => "(not at this size)",
                None => "",
            };
            let line =
                format!("{:width$}  {:>12}  {:>12}  {verdict}", row.what, row.text(row.measured), row.goal());
            writeln!(f, "{}", line.trim_end())?;
        }
        let missed = self.rows.iter().filter(|row| row.met(self.full) == Some(false)).count();
        match missed {
            0 => writeln!(f, "\nevery target that can be compared is met"),
            _ => writeln!(f, "\n{missed} targets are missed"),
        }
    }
}
