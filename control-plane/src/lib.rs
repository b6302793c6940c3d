//! Signalbox's control plane: it keeps the configuration, lets operators change it, and pushes every revision to the data planes. It
//! never sees a client's traffic.

pub mod certificate;
pub mod files;
pub mod key;
pub mod tls;
