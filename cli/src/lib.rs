//! Signalbox in one process, the demo upstream, and the operator's client.

pub mod accounts;
pub mod admin;
pub mod arguments;
pub mod connection;
pub mod demo;
pub mod faults;
pub mod import;
pub mod operate;
pub mod signals;
mod table;
pub mod up;
