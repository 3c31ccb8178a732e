//! The engine of Kleym: declared facts in, verdicts and steps out.
//!
//! Everything Kleym decides is decided here, as a pure function of what was declared. The operator and the
//! command line feed the same [`index::Index`] and read the same verdicts, so a pull request, an incident and
//! a running cluster see one answer.
//!
//! This crate never does I/O, reads no clock and no environment, draws no randomness and starts no thread; its
//! `clippy.toml` makes the compiler hold it to that. It cannot fail either: broken input is a fact
//! ([`fact`]), an unsafe request is a refusal ([`refusal`]).

pub mod announce;
pub mod brake;
pub mod explain;
pub mod fact;
pub mod grant;
pub mod index;
pub mod kind;
pub mod label;
pub mod lanes;
pub mod lease;
pub mod name;
pub mod output;
pub mod plan;
pub mod queue;
pub mod refusal;
pub mod relation;
pub mod relist;
pub mod render;
pub mod report;
pub mod resolve;
pub mod selector;
pub mod settings;
pub mod spiffe;
pub mod spire;
pub mod status;
pub mod template;
pub mod text;
