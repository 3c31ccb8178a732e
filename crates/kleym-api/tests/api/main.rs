//! What objects look like on the wire: our definition, the foreign ones, and what we write.

mod definition;
mod standin;
mod wire;
