//! How are the kernel programs compiled, and with what? The one copy: xtask and proxy/build.rs both include this folder.

pub(crate) mod compile;
pub(crate) mod find;
pub(crate) mod probe;

pub(crate) use self::compile::compile;
pub(crate) use self::find::find;
