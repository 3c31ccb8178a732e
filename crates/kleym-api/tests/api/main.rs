//! What objects look like on the wire: our definition, the foreign ones, what we read and what we write.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod decode;
mod definition;
mod standin;
mod wire;
