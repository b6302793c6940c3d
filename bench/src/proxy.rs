//! What the data plane costs beside proxies that do nothing: the same requests through each of them, in turn, in one run.

mod changing;
pub mod contender;
pub mod gateway;
pub mod load;
pub mod machine;
pub mod processor;
pub mod report;
pub mod scenario;
pub mod upstream;
mod wire;
