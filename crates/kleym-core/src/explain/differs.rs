//! In what a live output differs from the wanted one, as evidence.

use crate::output::{LiveOutput, WantedOutput};
use crate::report::Difference;

/// What differs in a field that [`LiveOutput::drift`] names.
pub(super) fn values(field: &'static str, live: &LiveOutput, wanted: &WantedOutput) -> String {
    Difference::of(field, live, wanted).to_string()
}
