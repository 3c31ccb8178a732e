//! Kleym's Kubernetes dialect: the shapes that objects have on the wire.
//!
//! - [`binding`]: InferenceIdentityBinding, from whose types the CustomResourceDefinition is generated;
//! - [`cluster_spiffe_id`]: ClusterSPIFFEID, which Kleym writes;
//! - [`decode`]: wire to fact, the objects that Kleym reads;
//! - [`encode`]: fact to wire, the objects that Kleym writes;
//! - [`resource`]: where the objects of a kind are served;
//! - [`rights`]: what Kleym's accounts may do, from which the roles are generated;
//! - [`standin`]: definitions of the foreign kinds, for tests and the demo.
//!
//! This crate decides nothing and talks to nobody.

pub mod binding;
pub mod cluster_spiffe_id;
pub mod decode;
pub mod encode;
pub mod resource;
pub mod rights;
pub mod standin;
