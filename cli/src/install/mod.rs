//! `weft install`, `upgrade`, `uninstall` and `prune`: print manifests for `kubectl apply` and `kubectl delete`.

mod flags;
mod identity;
mod new;
mod objects;
mod output;
mod prune;
mod refuse;
mod stored;
mod uninstall;
mod upgrade;

pub(crate) use self::{
    flags::{Format, lay_over},
    new::{InstallArgs, install},
    prune::{PruneArgs, prune},
    refuse::crd_names,
    uninstall::{UninstallArgs, uninstall},
    upgrade::{UpgradeArgs, upgrade},
};
