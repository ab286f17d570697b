//! The cluster that the tests share: weft is installed in it and works, as far as the API server can tell.

use std::sync::{Arc, OnceLock};

use crate::{lab::Lab, objects, programs::Programs};

/// Started by the first test that needs it.
pub(crate) struct Lazy {
    programs: Programs,
    lab: OnceLock<Lab>,
}

impl Lazy {
    pub(crate) fn new(programs: Programs) -> Arc<Self> {
        Arc::new(Self { programs, lab: OnceLock::new() })
    }

    pub(crate) fn get(&self) -> &Lab {
        self.lab.get_or_init(|| {
            let lab = Lab::start(self.programs.clone());
            objects::before_install(&lab);
            lab
        })
    }
}
