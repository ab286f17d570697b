//! Runs kubectl and weft as a user does, and shows the commands.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{say::say, wait};

const POLL: Duration = Duration::from_millis(20);

#[derive(Clone, Debug)]
pub(super) struct Tools {
    kubectl: PathBuf,
    weft: PathBuf,
    kubeconfig: PathBuf,
    interruptible: bool,
}

/// A part of a pipe.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tool {
    Kubectl,
    Weft,
}

impl Tools {
    pub(super) fn new(kubectl: PathBuf, weft: PathBuf, kubeconfig: PathBuf) -> Self {
        Self { kubectl, weft, kubeconfig, interruptible: true }
    }

    /// The same for what must be done after Ctrl-C.
    pub(super) fn uninterruptible(&self) -> Self {
        Self { interruptible: false, ..self.clone() }
    }

    pub(super) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A program, for this cluster.
    pub(super) fn program(&self, tool: Tool) -> Command {
        let mut command = Command::new(match tool {
            Tool::Kubectl => &self.kubectl,
            Tool::Weft => &self.weft,
        });
        command.env("KUBECONFIG", &self.kubeconfig).env("NO_COLOR", "1");
        command
    }

    /// A command line with words that are separated by spaces.
    pub(super) fn command(&self, tool: Tool, words: &str) -> Command {
        let mut command = self.program(tool);
        command.args(words.split(' '));
        command
    }

    /// Runs commands as a shell runs them with `|` in between, shows them, and returns the last one's output.
    pub(super) fn pipe(&self, parts: &[(Tool, &str)]) -> Result<String> {
        self.shown(&shown(parts), || {
            let mut text = None;
            for (tool, words) in parts {
                text = Some(self.output(*tool, words, text)?);
            }
            Ok(text.unwrap_or_default())
        })
    }

    /// Applies manifests, and shows that as the command with their file.
    pub(super) fn apply(&self, file: &str, manifests: String) -> Result<String> {
        let apply = || self.output(Tool::Kubectl, "apply -f -", Some(manifests));
        self.shown(&format!("kubectl apply -f {file}"), apply)
    }

    fn shown(&self, command: &str, run: impl FnOnce() -> Result<String>) -> Result<String> {
        let begun = Instant::now();
        let output = run()?;
        say(format_args!("  {:>5.1} s  {command}", begun.elapsed().as_secs_f64()));
        Ok(output)
    }

    /// The output of one command, without a word about it.
    pub(super) fn output(&self, tool: Tool, words: &str, input: Option<String>) -> Result<String> {
        let mut command = self.command(tool, words);
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let shown = || format!("{} {words}", tool.name());
        let output = self.finish(command, input).with_context(shown)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if !output.status.success() {
            bail!("{}: {}\n{}\n{}", shown(), output.status, text(&output.stdout), text(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Ends the command if a signal asks for the end.
    fn finish(&self, mut command: Command, input: Option<String>) -> Result<Output> {
        let mut child = command.spawn().context("cannot be started")?;
        let pid = Pid::from_raw(child.id().cast_signed());
        let running = thread::spawn(move || {
            if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
                // If the program stops reading, it says why.
                let _ = stdin.write_all(input.as_bytes());
            }
            child.wait_with_output()
        });
        while !running.is_finished() {
            if self.interruptible && wait::check().is_err() {
                // It fails only if the program has ended.
                let _ = kill(pid, Signal::SIGKILL);
                break;
            }
            thread::sleep(POLL);
        }
        let output = running.join().map_err(|_| anyhow!("a thread has panicked"))?;
        if self.interruptible {
            wait::check()?;
        }
        Ok(output?)
    }
}

/// Commands as they are typed, with `|` in between.
pub(super) fn shown(parts: &[(Tool, &str)]) -> String {
    let shown: Vec<String> = parts.iter().map(|(tool, words)| format!("{} {words}", tool.name())).collect();
    shown.join(" | ")
}

impl Tool {
    fn name(self) -> &'static str {
        match self {
            Self::Kubectl => "kubectl",
            Self::Weft => "weft",
        }
    }
}
