//! Builds the eBPF programs. xtask and proxy/build.rs both include this folder.

pub(crate) mod compile;
mod environment;
pub(crate) mod find;
pub(crate) mod probe;

pub(crate) use self::compile::compile;
pub(crate) use self::find::find;
