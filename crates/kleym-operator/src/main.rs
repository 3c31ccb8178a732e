//! kleym-operator
fn main() {}
