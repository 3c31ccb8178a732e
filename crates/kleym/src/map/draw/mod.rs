//! The map in four languages. Each has its own module and its own escaping; [`text`] is what they share. Draws what is in
//! the map and nothing else, without a clock: equal maps are drawn equal.

mod dot;
mod html;
mod json;
mod layout;
mod mermaid;
#[cfg(test)]
mod tests;
mod text;

pub(crate) use self::dot::dot;
pub(crate) use self::html::html;
pub(crate) use self::json::report;
pub(crate) use self::mermaid::{MOST_CHARACTERS, MOST_EDGES, mermaid};
