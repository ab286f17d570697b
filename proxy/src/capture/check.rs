//! The report of `weft-proxy check`: whether this kernel can run weft.
//!
//! Every need is asked for and every program goes through the verifier; nothing is attached or pinned.

use std::fmt::Write as _;

use aya::{
    EbpfLoader,
    programs::{Program, ProgramError},
};

use super::{CaptureError, kernel, load::OBJECT};

/// What was found.
pub struct Report {
    /// One line for each thing.
    pub text: String,
    /// The reason why this kernel cannot carry weft.
    pub verdict: Result<(), CaptureError>,
}

/// Looks at the running kernel.
pub fn check() -> Report {
    let mut text = format!("kernel {}\n", kernel::release());
    for need in kernel::NEEDS {
        let sign = match need.is_there() {
            Some(true) => "✓",
            Some(false) => "✗",
            None => "?",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{sign} {} (since {})", need.what, need.since);
    }
    let verdict = kernel::check().map_err(CaptureError::Kernel).and_then(|()| programs(&mut text));
    Report { text, verdict }
}

fn programs(text: &mut String) -> Result<(), CaptureError> {
    let mut ebpf = EbpfLoader::new().load(OBJECT).map_err(CaptureError::Load)?;
    let mut verdict = Ok(());
    let mut programs: Vec<_> =
        ebpf.programs_mut().map(|(name, program)| (name.to_owned(), program)).collect();
    programs.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, program) in programs {
        match load(program) {
            Ok(()) => {
                let _ = writeln!(text, "✓ program {name} loaded{}", size(program));
            }
            Err(error) => {
                let error = CaptureError::program(&name)(error);
                let _ = writeln!(text, "✗ {error}");
                // Without it nothing is spliced, and that is all.
                if name != super::splice::PROGRAM {
                    verdict = verdict.and(Err(error));
                }
            }
        }
    }
    verdict
}

fn load(program: &mut Program) -> Result<(), ProgramError> {
    match program {
        Program::CgroupSockAddr(program) => program.load(),
        Program::SkLookup(program) => program.load(),
        Program::SkMsg(program) => program.load(),
        Program::SockOps(program) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

/// How much work it is for the verifier: its limit is a million instructions.
fn size(program: &Program) -> String {
    let verified = program.info().ok().and_then(|info| info.verified_instruction_count());
    verified.map(|count| format!(": {count} instructions verified")).unwrap_or_default()
}
