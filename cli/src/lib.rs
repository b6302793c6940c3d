//! Signalbox in one process, the demo upstream, and the operator's client.

pub mod demo;
