//! The engine against its contract: a naive model, brute force over small worlds, tables of bad input, and the
//! published test vectors of everything that is derived.

#![expect(clippy::unwrap_used, reason = "a test whose world cannot be built is a failed test")]

mod announce;
mod anything;
mod bad_input;
mod bad_names;
mod grants;
mod history;
mod kept;
mod naive;
mod naming;
mod obligations;
mod precedence;
mod protocol;
mod random;
mod relation;
mod resolution;
mod settled;
mod spire;
mod vectors;
mod vigil;
mod world;
