//! Attaches the programs so that a restart leaves no gap.
//!
//! Every link is pinned. A pinned link is given the new program (BPF_LINK_UPDATE); only what is missing is
//! attached.

use std::{fs::File, os::fd::AsFd, path::Path};

use aya::{
    Ebpf,
    programs::{CgroupAttachMode, CgroupSockAddr, SkLookup, SockOps, links::FdLink},
};

use super::{CaptureError, Netns, load::Pins, sys};

const CONNECT: &[&str] = &[
    "weft_getpeername4",
    "weft_getpeername6",
    "weft_getsockname4",
    "weft_getsockname6",
    "weft_connect4",
    "weft_connect6",
];
const SOCKOPS: &str = "weft_sockops";
const LOOKUP: &str = "weft_lookup";

/// The loaded programs and where their links are.
pub(super) struct Programs {
    ebpf: Ebpf,
    pins: Pins,
}

impl Programs {
    /// Attaches everything that belongs to the node. sockops first: what connect redirects it must hand over.
    pub(super) fn attach(mut ebpf: Ebpf, cgroup: &Path, pins: Pins) -> Result<Self, CaptureError> {
        let folder = File::open(cgroup).map_err(CaptureError::path("open cgroup", cgroup))?;
        let links = pins.links();

        let program: &mut SockOps = program(&mut ebpf, SOCKOPS)?;
        program.load().map_err(CaptureError::program(SOCKOPS))?;
        if !update(&links, SOCKOPS, program.fd().map_err(CaptureError::program(SOCKOPS))?.as_fd())? {
            let id =
                program.attach(&folder, CgroupAttachMode::Single).map_err(CaptureError::program(SOCKOPS))?;
            let link = program.take_link(id).map_err(CaptureError::program(SOCKOPS))?;
            pin(&links, SOCKOPS, FdLink::try_from(link).map_err(link_error(SOCKOPS))?)?;
        }
        for name in CONNECT {
            let program: &mut CgroupSockAddr = self::program(&mut ebpf, name)?;
            program.load().map_err(CaptureError::program(name))?;
            if !update(&links, name, program.fd().map_err(CaptureError::program(name))?.as_fd())? {
                let id =
                    program.attach(&folder, CgroupAttachMode::Single).map_err(CaptureError::program(name))?;
                let link = program.take_link(id).map_err(CaptureError::program(name))?;
                pin(&links, name, FdLink::try_from(link).map_err(link_error(name))?)?;
            }
        }
        let program: &mut SkLookup = self::program(&mut ebpf, LOOKUP)?;
        program.load().map_err(CaptureError::program(LOOKUP))?;
        Ok(Programs { ebpf, pins })
    }

    /// Has this proxy's programs run again where a successor that was given up had put its own: those of the node, and
    /// of the pods with these cookies.
    pub(super) fn attach_again(&mut self, pods: &[u64]) -> Result<(), CaptureError> {
        let links = self.pins.links();
        let program: &mut SockOps = program(&mut self.ebpf, SOCKOPS)?;
        update(&links, SOCKOPS, program.fd().map_err(CaptureError::program(SOCKOPS))?.as_fd())?;
        for name in CONNECT {
            let program: &mut CgroupSockAddr = self::program(&mut self.ebpf, name)?;
            update(&links, name, program.fd().map_err(CaptureError::program(name))?.as_fd())?;
        }
        let program: &mut SkLookup = self::program(&mut self.ebpf, LOOKUP)?;
        let program = program.fd().map_err(CaptureError::program(LOOKUP))?;
        pods.iter().try_for_each(|pod| update(&links, &lookup_link(*pod), program.as_fd()).map(drop))
    }

    /// Whether programs of another layout of maps are attached beside these.
    pub(super) fn has_others(&self) -> bool {
        self.pins.has_others()
    }

    /// Detaches them.
    pub(super) fn drop_others(&self) {
        self.pins.drop_others();
    }

    /// Lets `weft_lookup` see the connections to a pod.
    pub(super) fn attach_lookup(&mut self, netns: &Netns) -> Result<(), CaptureError> {
        let name = lookup_link(netns.cookie());
        let program: &mut SkLookup = program(&mut self.ebpf, LOOKUP)?;
        if update(&self.pins.links(), &name, program.fd().map_err(CaptureError::program(LOOKUP))?.as_fd())? {
            return Ok(());
        }
        let id = program.attach(netns).map_err(CaptureError::program(LOOKUP))?;
        let link = program.take_link(id).map_err(CaptureError::program(LOOKUP))?;
        pin(&self.pins.links(), &name, link.into())
    }

    /// Detaches `weft_lookup` from a pod. Nothing to do is fine.
    pub(super) fn detach_lookup(&mut self, cookie: u64) {
        let path = self.pins.links().join(lookup_link(cookie));
        if let Ok(link) = sys::open_pinned(&path)
            && let Err(error) = sys::detach_link(link.as_fd())
        {
            tracing::debug!(path = %path.display(), %error, "the pod's sk_lookup link was not detached: its namespace no longer exists");
        }
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "the pod's sk_lookup link was not removed");
        }
    }
}

fn lookup_link(cookie: u64) -> String {
    format!("{LOOKUP}-{cookie}")
}

fn program<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, CaptureError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = aya::programs::ProgramError>,
{
    ebpf.program_mut(name).ok_or(CaptureError::Missing(name))?.try_into().map_err(CaptureError::program(name))
}

/// Gives a pinned link the program; false: there is no such link, or its namespace or cgroup is gone.
fn update(links: &Path, name: &str, program: std::os::fd::BorrowedFd<'_>) -> Result<bool, CaptureError> {
    let path = links.join(name);
    if !path.exists() {
        return Ok(false);
    }
    let link = sys::open_pinned(&path).map_err(CaptureError::path("open pinned link", &path))?;
    match sys::update_link(link.as_fd(), program) {
        Ok(()) => Ok(true),
        Err(error) => {
            tracing::warn!(link = name, %error, "a pinned link could not be taken over and is replaced");
            std::fs::remove_file(&path).map_err(CaptureError::path("remove pinned link", &path))?;
            Ok(false)
        }
    }
}

fn pin(links: &Path, name: &str, link: FdLink) -> Result<(), CaptureError> {
    link.pin(links.join(name))
        .map(drop)
        .map_err(|error| CaptureError::Link { name: name.to_owned(), reason: error.to_string() })
}

fn link_error(name: &str) -> impl FnOnce(aya::programs::links::LinkError) -> CaptureError {
    move |error| CaptureError::Link { name: name.to_owned(), reason: error.to_string() }
}
