//! The engine against its contract: a naive model, brute force over small worlds, tables of bad input, and the
//! published test vectors of everything that is derived.

mod bad_input;
mod bad_names;
mod history;
mod naive;
mod naming;
mod obligations;
mod precedence;
mod random;
mod relation;
mod resolution;
mod settled;
mod vectors;
mod world;
