//! One run of the git program, which ends when the server ends.

use std::process::Command;

use super::super::child::{self, ChildFault, Patience};
use super::Fault;

/// What is to be run; it tells how far it is.
pub(super) struct Job {
    /// Git's subcommand.
    pub(super) what: &'static str,
    pub(super) command: Command,
    pub(super) input: String,
}

impl Job {
    /// Runs it to its end and gives what it printed.
    pub(super) fn run(self, patience: &Patience) -> Result<String, Fault> {
        let what = self.what;
        child::run(self.command, self.input, patience).map_err(|fault| match fault {
            ChildFault::Io(cause) => cause.into(),
            ChildFault::Interrupted => Fault::Interrupted,
            ChildFault::Silent(_) => Fault::Killed {
                what,
                said: fault.to_string(),
            },
            ChildFault::Failed { status, .. } => {
                let said = fault.to_string();
                match status.code() {
                    Some(_) => Fault::Git { what, said },
                    None => Fault::Killed { what, said },
                }
            }
        })
    }
}
