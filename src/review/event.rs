//! What a forge tells of pull requests.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::forge::Side;
use crate::index;

/// What a forge tells of a pull request, as far as it matters.
#[derive(Debug, Deserialize)]
pub struct Event {
    action: String,
    pub(super) number: u64,
    pub(super) pull_request: Sides,
    #[serde(default)]
    changes: Option<Changes>,
}

/// The commits that a pull request is about.
#[derive(Debug, Deserialize)]
pub(super) struct Sides {
    pub(super) head: Side,
    base: Side,
}

/// What became another, of an `edited` pull request.
#[derive(Debug, Deserialize)]
struct Changes {
    /// The branch into which it shall be merged.
    #[serde(rename = "ref")]
    base: Option<IgnoredAny>,
}

impl Event {
    /// Whether there is something new to be judged, on the branch that is the index.
    pub(super) fn is_new(&self) -> bool {
        let is_news = match self.action.as_str() {
            "opened" | "reopened" | "synchronized" | "synchronize" => true,
            // Not for another title.
            "edited" => { self.changes.as_ref() }.is_some_and(|changes| changes.base.is_some()),
            _ => false,
        };
        is_news && self.pull_request.base.name == index::BRANCH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(action: &str, base: &str, changes: &str) -> Event {
        let id = "1".repeat(40);
        let json = format!(
            r#"{{"action":"{action}","number":7,"more":{{}},{changes}"pull_request":{{"id":1,
            "head":{{"label":"x","ref":"x","sha":"{id}"}},"base":{{"ref":"{base}","sha":"{id}"}}}}}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn only_what_is_new_on_the_branch_is_judged() {
        for action in ["opened", "reopened", "synchronized", "synchronize"] {
            assert!(event(action, "main", "").is_new(), "{action}");
            assert!(!event(action, "other", "").is_new(), "{action}");
        }
        for action in ["closed", "labeled", "edited", ""] {
            assert!(!event(action, "main", "").is_new(), "{action}");
        }
    }

    #[test]
    fn one_that_was_edited_is_judged_again_only_for_another_branch() {
        let title = r#""changes":{"title":{"from":"a"},"added_labels":null},"#;
        let base = r#""changes":{"title":{"from":"a"},"ref":{"from":"other"}},"#;
        for (changes, is_new) in [(title, false), (base, true), (r#""changes":null,"#, false)] {
            assert_eq!(event("edited", "main", changes).is_new(), is_new);
            assert!(!event("edited", "other", changes).is_new());
        }
    }
}
