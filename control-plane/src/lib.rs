//! Signalbox's control plane: it keeps the configuration, lets operators change it, and pushes every revision to the data planes. It
//! never sees a client's traffic.

mod admin;
pub mod app;
pub mod audit;
pub mod backup;
mod bearer;
pub mod certificate;
mod convert;
pub mod fence;
pub mod files;
mod high_water;
pub mod history;
mod impact;
pub mod import;
pub mod key;
pub mod ledger;
pub mod message;
pub mod migrate;
mod proto_json;
pub mod rekey;
pub mod replicas;
pub mod restore;
pub mod seal;
mod secrets;
pub mod source;
pub mod state;
pub mod store;
mod sync;
pub mod tls;
mod tokens;
