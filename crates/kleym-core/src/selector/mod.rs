//! SPIRE workload selectors: single items ([`Item`]) and the canonical set of an identity ([`SelectorSet`]) with
//! the proof that it stays inside its namespace. Selectors are ANDed by SPIRE, so an item can only narrow.

mod item;
mod set;

pub use item::{Item, ItemError, ItemKey, MAX_ITEM_BYTES};
pub(crate) use set::share;
pub use set::{SelectorSet, SetError};
