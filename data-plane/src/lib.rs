//! The data plane: carries OpenAI-compatible traffic to the providers that the configuration names. It learns that
//! configuration from the control plane's watch stream or its own sealed cache, and never opens a database.

mod attempt;
pub mod cache;
mod credentials;
mod errors;
mod headers;
pub mod live;
mod received;
mod splice;
mod sse;
pub mod sync;
mod upstream;
