//! The Kleym operator: the hands of the engine in `kleym-core`.
//!
//! Watches become news ([`feed`]), one owner keeps index and queue and gives calls ([`reconciler`], run by [`driver`]), and
//! one step at a time becomes one API call ([`perform`]). Only [`perform`] changes anything in the cluster; nothing in here decides.

pub mod admin;
mod bind;
pub mod client;
mod connections;
pub mod driver;
pub mod events;
pub mod feed;
pub mod horizon;
pub mod lease;
pub mod log;
pub mod metrics;
pub mod perform;
mod recent;
pub mod reconciler;
pub mod run;
pub mod settings;
pub mod uninstall;
