//! Findings: what there is to say about what was declared, in a closed vocabulary. Every finding has a stable code, and
//! says what is wrong, which objects it is about, which field of which object shows it, and what to do.
//!
//! Findings repeat verdicts, they never make one: [`findings`] reads an [`Index`] and changes nothing. Where a field stands
//! in a file is for whoever read the file to know.
//!
//! # Codes
//! A code is never renamed, renumbered or used again for something else. The first digit is the group:
//!
//! | codes | group |
//! | --- | --- |
//! | `KLM1nnn` | references: target, objective, pool |
//! | `KLM2nnn` | selectors, discriminator, pool selector |
//! | `KLM3nnn` | mode and SPIFFE ID |
//! | `KLM4nnn` | conflict and overlap |
//! | `KLM5nnn` | output |
//! | `KLM6nnn` | SPIRE and spire-controller-manager |
//! | `KLM7nnn` | service mesh |
//! | `KLM9nnn` | files and the tool itself |
//!
//! Within a group, `n0nn` are errors and `n1nn` warnings and remarks. [`Code`] is the table of them all.

mod account;
mod agent;
mod code;
mod count;
mod declared;
mod differs;
mod fallback;
mod finding;
mod image;
mod live;
mod neighbours;
mod origin;
mod place;
mod reference;
mod scene;
mod stale;
mod workload;

pub use self::account::account_of_pods;
pub use self::agent::{Agents, Elsewhere, image_name};
pub use self::code::{Code, PAGES, Severity};
pub use self::count::{Count, counted_in};
pub use self::declared::{findings, refused};
pub use self::differs::Difference;
pub use self::fallback::{bind_too, unknown};
pub use self::finding::{Finding, Reference, Related, binding_key};
pub use self::image::{digest, is_latest, meant, of_one_repository};
pub use self::live::{
    CLASS_FLAG, Called, PATH_GRANT_FLAG, TRUST_DOMAIN_FLAG, output, poison, reported, still_there, stopped,
    typed, watched,
};
pub use self::neighbours::{Only, neighbours, shared_hint};
pub use self::place::{FieldPath, Place, Step, selector_field};
pub use self::reference::references;
pub use self::scene::{Places, Reported, Scene, Standing, Statuses};
pub use self::workload::{anyone_holds, anyone_holds_all, no_entry, workloads};
use crate::index::Index;

/// Everything there is to say of what is declared.
pub fn declarations(index: &Index, in_cluster: bool) -> Vec<Finding> {
    let mut found = findings(index);
    found.extend(references(index, in_cluster));
    found
}

/// Everything there is to say: of what is declared, of what statuses report, of what was written, and of what SPIRE makes of
/// that. Whoever speaks of less takes the findings that are about it; nobody collects others.
pub fn everything(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = declarations(scene.index, scene.in_cluster);
    found.extend(scene.index.bindings().filter_map(|binding| stale::stale(scene, binding)));
    found.extend(live::live(scene));
    account::name_them(scene, &mut found);
    found
}
