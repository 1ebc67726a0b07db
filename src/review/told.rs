//! What the forge is told of a judgement.

use std::fmt::Display;

use super::GOOD;
use crate::index::ReviewFault;

/// The state and the words of a judgement.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) state: &'static str,
    pub(super) sentence: String,
    /// Whether it is so as long as the index and its branch are what they were; else it is tried again.
    pub(super) is_settled: bool,
}

impl Told {
    /// It may not be merged.
    pub(super) fn failure(sentence: String) -> Self {
        Self {
            state: "failure",
            sentence,
            is_settled: true,
        }
    }

    /// It is not known whether it may.
    pub(super) fn error(sentence: String) -> Self {
        Self {
            state: "error",
            sentence,
            is_settled: false,
        }
    }
}

/// What is said while the branch is to blame.
pub(super) fn once_good(why: impl Display) -> String {
    format!("judged again once the branch itself is good, which it is not now: {why}")
}

/// What is told of a judgement; where the branch is bad, that may be why.
pub(super) fn told(judged: Result<(), ReviewFault>, is_branch_bad: bool) -> Told {
    let Err(fault) = judged else {
        return Told {
            state: GOOD,
            sentence: "keeps the rules of the index".to_owned(),
            is_settled: true,
        };
    };
    match &fault {
        // It may be the branch that does it, on which the pull request stands.
        ReviewFault::Rule { .. } | ReviewFault::Forbidden(_) | ReviewFault::Conflict
            if is_branch_bad =>
        {
            Told {
                is_settled: true,
                ..Told::error(once_good(fault))
            }
        }
        ReviewFault::Rule { .. }
        | ReviewFault::Forbidden(_)
        | ReviewFault::Conflict
        | ReviewFault::TooLarge(_)
        | ReviewFault::TooMuchMemory(_) => Told::failure(fault.to_string()),
        _ => Told::error(fault.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_blamed_for_what_may_be_wrong_with_the_branch() {
        let state = |fault, is_branch_bad| told(Err(fault), is_branch_bad).state;
        assert_eq!(state(ReviewFault::Conflict, false), "failure");
        assert_eq!(state(ReviewFault::Conflict, true), "error");
        // Nothing but another branch makes another answer of it.
        assert!(told(Err(ReviewFault::Conflict), true).is_settled);
        for is_branch_bad in [false, true] {
            for fault in [ReviewFault::TooLarge(64), ReviewFault::TooMuchMemory(64)] {
                assert_eq!(state(fault, is_branch_bad), "failure");
            }
            let fault = ReviewFault::Io(std::io::Error::other("no room"));
            let told = told(Err(fault), is_branch_bad);
            assert!(told.state == "error" && !told.is_settled);
            // What heals the branch.
            assert_eq!(super::told(Ok(()), is_branch_bad).state, "success");
        }
    }
}
