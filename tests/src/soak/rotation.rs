//! Replaces the certificate authority step by step under traffic.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::Soak;
use crate::{attack::Authority, mesh::Mesh};

/// Every certificate has been renewed after this time: a lifetime and the clock tolerance.
const RENEWED: Duration = Duration::from_secs(85);

pub(super) struct Rotation {
    /// The anchor of the current issuer.
    old: String,
    next: Option<(Authority, Step)>,
    number: u64,
}

enum Step {
    Trusted,
    Issues(Instant),
}

impl Rotation {
    pub(super) fn of(mesh: &Mesh) -> Result<Self> {
        let old = fs::read_to_string(mesh.control().state("anchors.pem"))?;
        Ok(Self { old, next: None, number: 0 })
    }

    /// Takes the next step: both are trusted, the new one issues, only the new one is trusted. Returns false if it is
    /// too early.
    pub(super) fn step(&mut self, soak: &Soak) -> Result<bool> {
        let state = |file| soak.mesh.control().state(file);
        match self.next.take() {
            None => {
                self.number += 1;
                let new = Authority::foreign(&format!("authority {}", self.number))?;
                soak.log("a new authority is trusted");
                replace(&state("anchors.pem"), &format!("{}\n{}", self.old, new.certificate_pem))?;
                self.next = Some((new, Step::Trusted));
            }
            Some((new, Step::Trusted)) => {
                soak.log("the new authority issues");
                replace(&state("issuer-key.pem"), &new.key_pem())?;
                replace(&state("issuer.pem"), &new.certificate_pem)?;
                self.next = Some((new, Step::Issues(Instant::now())));
            }
            Some((new, Step::Issues(since))) if since.elapsed() > RENEWED => {
                soak.log("the old authority is no longer trusted");
                replace(&state("anchors.pem"), &new.certificate_pem)?;
                self.old = new.certificate_pem;
            }
            waiting => {
                self.next = waiting;
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Replaces the file atomically, as an operator's tools do.
fn replace(path: &Path, text: &str) -> Result<()> {
    let draft = path.with_extension("draft");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(text.as_bytes())?;
    Ok(fs::rename(draft, path)?)
}
