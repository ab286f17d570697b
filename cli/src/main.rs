//! weft's command-line tool.

fn main() {}
