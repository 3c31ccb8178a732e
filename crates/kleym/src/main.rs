//! kleym
fn main() {}
