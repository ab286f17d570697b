//! `weft install`, `upgrade`, `uninstall` and `prune`: print manifests for `kubectl apply` and `kubectl delete`.

mod flags;
mod identity;
mod new;
mod objects;
mod output;
mod prune;
mod refuse;
mod set_flags;
mod stored;
mod uninstall;
mod upgrade;

pub(crate) use self::{
    flags::Format,
    new::{InstallArgs, install},
    objects::{KINDS, Kind, labelled},
    output::{documents as print_documents, objects as print_objects},
    prune::{PruneArgs, prune},
    refuse::{needed_crds, serves},
    set_flags::{SetFlags, lay_over},
    uninstall::{UninstallArgs, uninstall},
    upgrade::{UpgradeArgs, upgrade},
};
