//! What the operators said of their own calls: one line for each that was made, with how long it took. The wire shows what
//! arrived; only the two together show what was sent more than once, or waited for too long.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::world::operator::Log;

/// What operators said, taken together.
#[derive(Debug, Default)]
pub(crate) struct Testimony {
    /// How often a call with this method and path was made, by the operators' own words.
    pub(super) made: BTreeMap<(String, String), usize>,
    /// How many operators there were: each can have been killed before it could speak of a call.
    pub(super) operators: usize,
    /// The call that took longest.
    pub(super) slowest: Duration,
}

impl Testimony {
    /// Reads logs.
    pub(crate) fn of(logs: &[Log]) -> Self {
        let mut testimony = Self { operators: logs.len(), ..Self::default() };
        for log in logs {
            let log = log.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            for line in log.lines().filter(|line| line.contains(" call binding=")) {
                testimony.read(line);
            }
        }
        testimony
    }

    /// Reads `... call binding=<binding> method=<method> path="<path>" reply=<reply> took=<time>`.
    fn read(&mut self, line: &str) {
        let field =
            |name: &str| line.split_once(name).map(|(_, rest)| rest.split_whitespace().next().unwrap_or(""));
        let (Some(method), Some(path), Some(took)) = (field(" method="), field(" path="), field(" took="))
        else {
            return;
        };
        let place = (method.to_owned(), path.trim_matches('"').to_owned());
        *self.made.entry(place).or_insert(0) += 1;
        self.slowest = self.slowest.max(duration(took).unwrap_or_default());
    }
}

/// Reads a time as it is written for people: `12.5ms`.
fn duration(text: &str) -> Option<Duration> {
    let unit = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
    let number: f64 = text[..unit].parse().ok()?;
    let seconds = match &text[unit..] {
        "s" => 1.0,
        "ms" => 1e-3,
        "µs" => 1e-6,
        "ns" => 1e-9,
        _ => return None,
    };
    Some(Duration::from_secs_f64(number * seconds))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn what_operators_say_of_their_calls_is_counted() {
        let line = r#"2026-01-01T00:00:00Z DEBUG call binding=llm/a method=PUT path="/x/a" reply=Done took="#;
        let log = |took: &str| Arc::new(Mutex::new(format!("nothing\n{line}{took}\n")));
        let testimony = Testimony::of(&[log("12.5ms"), log("10.001s"), log("900µs")]);
        assert_eq!(testimony.made, BTreeMap::from([(("PUT".to_owned(), "/x/a".to_owned()), 3)]));
        assert_eq!((testimony.operators, testimony.slowest), (3, Duration::from_millis(10_001)));
    }
}
