//! The data plane: carries OpenAI-compatible traffic to the providers that the configuration names. It learns that
//! configuration from the control plane's watch stream or its own sealed cache, and never opens a database.

mod admit;
mod announce;
mod app;
mod attempt;
mod auth;
pub mod cache;
mod cors;
mod credentials;
mod destination;
mod discovery;
mod docs;
mod drain;
mod ejection;
mod errors;
mod exchange;
mod form;
mod framing;
mod headers;
mod health;
mod http;
mod inbound;
mod json;
mod limits;
mod listen;
pub mod live;
mod metrics;
mod mount;
mod openai;
mod options;
mod pages;
mod path;
pub mod readiness;
mod received;
mod record;
mod redact;
mod reload;
mod reply;
#[cfg(feature = "rooms")]
pub mod rooms;
mod silence;
mod splice;
mod sse;
pub mod sync;
mod tunnel;
mod upstream;
mod usage;
mod workers;

pub use app::{App, BuildError, RunError};
pub use options::{CacheOptions, Drain, Limits, Options, Tls};
