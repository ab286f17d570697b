//! Writes lines for the user.

use std::{
    fmt::Arguments,
    io::{self, Write},
};

/// Unlike `println!` it does not panic when the reader is gone, as with `| head`.
pub(crate) fn say(line: Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{line}");
}
