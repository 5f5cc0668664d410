//! The memory of the process, which holds secrets in use, is for nobody else.

use std::io;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// From now on the kernel writes no core dump of this process, whatever its limits and wherever dumps go, and
/// nobody but root may attach to it or read its memory.
///
/// # Errors
/// A filter of system calls forbids it.
pub fn keep_memory_private() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}
