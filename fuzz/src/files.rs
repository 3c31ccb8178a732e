//! What the command line reads.

/// Files are linted to the end, whatever stands in them.
pub fn lint(data: &[u8]) {
    kleym::fuzzing::lint(data);
}
