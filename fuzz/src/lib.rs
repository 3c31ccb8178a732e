//! Whatever may come from outside, thrown at everything that reads it. A target panics when what must hold for every input
//! does not; `make fuzz` runs each of them.
//!
//! One file for each kind of input: `texts` for what stands in one field or flag, `objects` for what an API server may
//! answer, `files` for what the command line reads.

mod files;
mod objects;
mod texts;

use std::time::{Duration, Instant};

pub use files::lint;
pub use objects::{binding, history, objective, output, pool, spire, status};
pub use texts::{path_grants, selector_item, selector_set, spiffe_id, template, trust_domain};

/// No input may take longer. Inputs are at most as long as libFuzzer makes them.
const SLOW: Duration = Duration::from_millis(50);

/// Gives an input to a target, and takes it for too slow when it was so ten times in a row: one time may be the machine's.
pub fn quickly(data: &[u8], target: fn(&[u8])) {
    let took = || {
        let began = Instant::now();
        target(data);
        began.elapsed()
    };
    if took() > SLOW {
        let quickest = std::iter::repeat_with(took).take(9).min();
        assert!(quickest.is_none_or(|time| time <= SLOW), "it takes {quickest:?}, and {SLOW:?} is allowed");
    }
}

/// What every message must be: something a terminal, a log line and a condition can show.
fn assert_presentable(message: &str) {
    assert!(!message.is_empty() && message.len() <= 1024, "{} bytes: {message}", message.len());
    assert!(message.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{message:?}");
}
