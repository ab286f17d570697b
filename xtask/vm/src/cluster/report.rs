//! The result of a reconciliation.

use crate::layout::PodKey;

/// The changes that [`crate::Cluster::reconcile`] made, and what it found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Pods that are new, or new in place of one that changed.
    pub added: Vec<PodKey>,
    /// Pods that were removed.
    pub removed: Vec<PodKey>,
    /// What is wrong with the manifests or with single pods; everything else was done.
    pub problems: Vec<String>,
    /// What a user should know; each remark is made once.
    pub remarks: Vec<String>,
}
