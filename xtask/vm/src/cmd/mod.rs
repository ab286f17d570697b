//! The commands of weft-vm.

mod defaults;
pub(crate) mod exec;
pub(crate) mod guard;
pub(crate) mod run;
mod viz;
