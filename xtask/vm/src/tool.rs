//! Runs `ip` and `nft`, and turns their messages into errors.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::error::{Error, Result};

/// Runs `program` in the calling thread's network namespace with `input` as its stdin.
pub(crate) fn feed(program: &'static str, package: &'static str, args: &[&str], input: &str) -> Result<()> {
    ask(program, package, args, input).map(drop)
}

/// Like [`feed`], and returns the output.
pub(crate) fn ask(
    program: &'static str,
    package: &'static str,
    args: &[&str],
    input: &str,
) -> Result<String> {
    let failed = |source| Error::Program { program, package, source };
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // If the program stops reading, its message on stderr says why.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Refused { program, stderr, input: input.to_owned() })
}
