//! The Kleym operator: the hands of the engine in `kleym-core`.
//!
//! Watches become changes ([`feed`]), one owner keeps index and queue ([`driver`]), and one step at a time becomes one
//! API call ([`perform`]). Only [`perform`] changes anything in the cluster; nothing in here decides.

pub mod admin;
pub mod client;
pub mod driver;
pub mod feed;
pub mod log;
pub mod perform;
pub mod run;
pub mod settings;
