//! The pure decision kernel: compiles a configuration and plans requests against it. It does no IO and has no clock of its own,
//! so that both planes, given the same resources, decide the same.

mod compile;
mod endpoint;
mod finding;
#[cfg(test)]
mod fixture;
mod glob;
mod keys;
mod name;
mod plan;
mod position;
#[cfg(test)]
mod properties;
mod resource;
mod runtime;

pub use compile::{Compiled, FEATURES, RESERVED_SEGMENTS, SCHEMA};
pub use endpoint::{Endpoint, Form};
pub use finding::{Effect, Fault, Finding};
pub use glob::Glob;
pub use name::{Id, InvalidId, InvalidName, Kind, MAX_ID_BYTES, ResourceName};
pub use plan::{Caller, Candidate, Exclusion, Explanation, Model, Plan, Refusal, Request, Step, Target};
pub use position::{Digest, InvalidPosition, Position, Revision};
pub use resource::{Change, InvalidResource, Resource, name_from_wire};
pub use runtime::{
    AnswerModel, Callers, ClientKey, ConfiguredHeader, Conversation, Cors, Create, Credential, CredentialChoice,
    CredentialSource, Destination, Dialect, Ejection, HeaderPolicy, HttpVersion, Labels, Limits, LogLevel, ModelFilter,
    Place, Profile, Provider, Proxy, Redirect, RedirectTarget, Retry, RetryOn, Route, RouteTarget, Runtime,
    SecretSource, Settings, Timeouts, below,
};
