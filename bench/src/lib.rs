//! What Signalbox costs, measured from outside: the programs run as processes of their own, and only the numbers are ours.

pub mod configuration;
pub mod disk;
pub mod figures;
pub mod joining;
pub mod latencies;
pub mod load;
pub mod program;
pub mod proxy;
pub mod ward;
