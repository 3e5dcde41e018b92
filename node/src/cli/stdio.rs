//! Standard output and standard error of the commands.
//!
//! A reader that has enough closes its end of the pipe, as `head` does. That is no failure: what would be written behind
//! it is dropped, and the command ends with the exit code of its work. The macros of the standard library panic instead, so
//! [`cli`](super) replaces them by these, which have the same names.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write as _};

/// Prints to standard output.
macro_rules! print {
    ($($text:tt)*) => { $crate::cli::stdio::print(format_args!($($text)*)) };
}

/// Prints a line to standard output.
macro_rules! println {
    ($($text:tt)*) => { $crate::cli::stdio::print(format_args!("{}\n", format_args!($($text)*))) };
}

/// Prints a line to standard error.
macro_rules! eprintln {
    ($($text:tt)*) => { $crate::cli::stdio::print_error(format_args!($($text)*)) };
}

/// Writes to standard output. Any failure but a closed pipe ends the program: its output is incomplete.
pub(in crate::cli) fn print(text: Arguments<'_>) {
    let mut stdout = io::stdout().lock();
    // Flushed, because a failure at the exit would not be seen.
    if let Err(error) = stdout.write_fmt(text).and_then(|()| stdout.flush())
        && error.kind() != ErrorKind::BrokenPipe
    {
        eprintln!("rookery: standard output: {error}");
        std::process::exit(1);
    }
}

/// Writes a line to standard error, if it can be written: a failure could be told nowhere.
pub(in crate::cli) fn print_error(line: Arguments<'_>) {
    let _unwritten = writeln!(io::stderr(), "{line}");
}
