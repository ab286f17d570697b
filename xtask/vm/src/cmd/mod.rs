//! What does each command of weft-vm do?

pub(crate) mod exec;
pub(crate) mod guard;
pub(crate) mod run;
mod screen;
