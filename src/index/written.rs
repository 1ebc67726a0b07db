//! What becomes of a change.

use thiserror::Error;

use crate::domain::CommitId;

use super::change::Refusal;

/// Why a change did not become part of the index.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WriteFault {
    /// It may not.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too many changes wait.
    #[error("too many changes are waiting to be written; try again in a moment")]
    Busy,
    /// Its time was over before its turn came; nothing was done.
    #[error("the change was not written in time; nothing was done, try again")]
    Late,
    /// The `.crate` file that it needs was not kept; nothing was done.
    #[error("the crate file could not be stored: {0}; nothing was published, try again later")]
    BlobLost(String),
    /// Nothing can be written now; nothing was done.
    #[error("the registry cannot write now: {0}; nothing was done, try again later")]
    Unavailable(String),
    /// The forge does not take its commit, and these are its words; nothing was done.
    #[error("the forge refuses the commit: {0}; nothing was done")]
    ForgeRefused(String),
    /// It may or may not have been done.
    #[error("it is not known whether the change was written: {0}; look before you try again")]
    OutcomeUnknown(String),
}

impl WriteFault {
    /// Whether nothing was done, for a reason that has nothing to do with the change.
    pub fn is_none_of_the_senders(&self) -> bool {
        matches!(
            self,
            Self::Busy | Self::Late | Self::BlobLost(_) | Self::Unavailable(_)
        )
    }
}

/// What happened to a change that succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Landed {
    /// The commit that all can see and that contains the change.
    pub commit: CommitId,
}

/// How far a group came.
pub(super) enum Failure {
    /// Nothing of it is in place.
    NotDone(String),
    /// Nothing of it is in place, because somebody else moved the branch meanwhile, or a `.crate` file was not kept:
    /// those whose own was kept are judged again.
    JudgeAgain(String),
    /// Nothing of it is in place, because the forge refuses one of its commits, in these words.
    Refused(String),
    /// The tip was moved; whether that lasts is not known.
    Unknown(String),
}

impl Failure {
    pub(super) fn into_reason(self) -> String {
        match self {
            Self::NotDone(reason)
            | Self::JudgeAgain(reason)
            | Self::Refused(reason)
            | Self::Unknown(reason) => reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_nothing_to_do_with_a_change_is_none_of_the_senders() {
        let why = || "why".to_owned();
        for fault in [
            WriteFault::Busy,
            WriteFault::Late,
            WriteFault::BlobLost(why()),
            WriteFault::Unavailable(why()),
        ] {
            assert!(fault.is_none_of_the_senders(), "{fault}");
        }
        for fault in [
            WriteFault::ForgeRefused(why()),
            WriteFault::OutcomeUnknown(why()),
        ] {
            assert!(!fault.is_none_of_the_senders(), "{fault}");
        }
    }

    #[test]
    fn a_failure_gives_its_reason_however_far_it_came() {
        let kinds = [
            Failure::NotDone,
            Failure::JudgeAgain,
            Failure::Refused,
            Failure::Unknown,
        ];
        for kind in kinds as [fn(String) -> Failure; 4] {
            assert_eq!(kind("why".to_owned()).into_reason(), "why");
        }
    }
}
