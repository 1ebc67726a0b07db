//! What the forge is told of a judgement.

use super::GOOD;
use crate::index::ReviewFault;

/// The state and the words of a judgement.
pub(super) fn told(judged: Result<(), ReviewFault>, is_branch_bad: bool) -> (&'static str, String) {
    let Err(fault) = judged else {
        return (GOOD, "keeps the rules of the index".to_owned());
    };
    match &fault {
        // It may be the branch that does it, on which the pull request stands.
        ReviewFault::Rule { .. } | ReviewFault::Forbidden(_) | ReviewFault::Conflict
            if is_branch_bad =>
        {
            let sentence = format!(
                "judged again once the branch itself is good, which it is not now: {fault}"
            );
            ("error", sentence)
        }
        ReviewFault::Rule { .. }
        | ReviewFault::Forbidden(_)
        | ReviewFault::Conflict
        | ReviewFault::TooLarge(_)
        | ReviewFault::TooMuchMemory(_) => ("failure", fault.to_string()),
        _ => ("error", fault.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_blamed_for_what_may_be_wrong_with_the_branch() {
        let state = |fault, is_branch_bad| told(Err(fault), is_branch_bad).0;
        assert_eq!(state(ReviewFault::Conflict, false), "failure");
        assert_eq!(state(ReviewFault::Conflict, true), "error");
        for is_branch_bad in [false, true] {
            for fault in [ReviewFault::TooLarge(64), ReviewFault::TooMuchMemory(64)] {
                assert_eq!(state(fault, is_branch_bad), "failure");
            }
            let fault = ReviewFault::Io(std::io::Error::other("no room"));
            assert_eq!(state(fault, is_branch_bad), "error");
            // What heals the branch.
            assert_eq!(told(Ok(()), is_branch_bad).0, "success");
        }
    }
}
