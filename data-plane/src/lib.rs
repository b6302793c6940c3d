//! The data plane: carries OpenAI-compatible traffic to the providers that the configuration names. It learns that
//! configuration from the control plane's watch stream or its own sealed cache, and never opens a database.

mod attempt;
mod errors;
mod headers;
mod splice;
mod sse;
mod upstream;
