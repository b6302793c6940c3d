//! x
mod block;
mod configure;
mod wanted;
