//! What the repository must be like, whoever has to do with it.

use serde_json::{Map, Value, json};

/// The branch that is the index.
pub(super) const BRANCH: &str = "main";
/// The file that every index has.
pub(super) const IDENTITY_FILE: &str = "registry.toml";
/// Events that the server wants to hear of. The forges add what belongs to them.
pub(super) const EVENTS: [&str; 2] = ["push", "pull_request"];
/// Ways to merge that not every forge shows: to say that it was done elsewhere, and that the forge finds out.
const NOT_EVERYWHERE: [&str; 2] = ["allow_manual_merge", "autodetect_manual_merge"];

/// What the repository `found` must have: pull requests, no way to merge them that leaves more than one commit, and
/// nothing that belongs to other repositories. What the forge does not show is left out.
pub(super) fn settings(found: &Value) -> Value {
    let mut wanted = json!({
        "default_branch": BRANCH,
        "has_pull_requests": true,
        "has_issues": false,
        "has_wiki": false,
        "has_projects": false,
        "allow_merge_commits": false,
        "allow_rebase": false,
        "allow_rebase_explicit": false,
        "allow_fast_forward_only_merge": false,
        "allow_squash_merge": true,
        "default_merge_style": "squash",
    });
    for key in NOT_EVERYWHERE {
        if found.is_null() || found.get(key).is_some() {
            wanted[key] = false.into();
        }
    }
    wanted
}

/// Whether the hook is alive and tells all that the server wants to hear of, in the form that it reads.
pub(super) fn tells_all(hook: &Value) -> bool {
    let events = hook["events"].as_array();
    let hears =
        |event: &&str| events.is_some_and(|events| events.iter().any(|known| known == event));
    let is_read = hook["config"]["content_type"] == "json";
    let branches = hook["branch_filter"].as_str().unwrap_or_default();
    let is_open = matches!(branches, "" | "*" | "**" | BRANCH);
    is_read && is_open && hook["active"] == true && EVENTS.iter().all(hears)
}

/// Whether one of the repository's hooks tells all of it to this address.
pub fn is_told(hooks: &Value, url: &str) -> bool {
    let mut hooks = hooks.as_array().into_iter().flatten();
    hooks.any(|hook| tells_all(hook) && hook["config"]["url"] == url)
}

/// The names of the settings that are otherwise in the repository `found`.
pub fn otherwise_set(found: &Value) -> Vec<String> {
    keys(differing(&settings(found), found))
}

/// The names of the fields in what [`differing`] gave.
pub(super) fn keys(change: Option<Value>) -> Vec<String> {
    let change = change.as_ref().and_then(Value::as_object);
    change.map_or_else(Vec::new, |change| change.keys().cloned().collect())
}

/// What of `wanted` is otherwise in `found`, or `None` if nothing is.
pub(super) fn differing(wanted: &Value, found: &Value) -> Option<Value> {
    let wanted = wanted.as_object()?;
    let is_other = |(key, value): &(&String, &Value)| match value {
        Value::Array(_) => !same_members(&found[key.as_str()], value),
        value => found[key.as_str()] != **value,
    };
    let change: Map<String, Value> = wanted
        .iter()
        .filter(is_other)
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    (!change.is_empty()).then_some(Value::Object(change))
}

/// Whether two lists of words have the same members, whatever their case and order.
pub(super) fn same_members(one: &Value, other: &Value) -> bool {
    let members = |list: &Value| {
        let words = list.as_array().into_iter().flatten();
        let mut words: Vec<String> = words
            .filter_map(|word| Some(word.as_str()?.to_lowercase()))
            .collect();
        words.sort_unstable();
        words
    };
    members(one) == members(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_otherwise_is_changed() {
        let wanted = json!({ "a": true, "b": ["X", "y"], "c": "d" });
        let same = json!({ "a": true, "b": ["Y", "x"], "c": "d", "e": 1 });
        assert_eq!(differing(&wanted, &same), None);
        let other = json!({ "a": false, "b": ["x"], "c": "d" });
        let change = differing(&wanted, &other).unwrap();
        assert_eq!(change, json!({ "a": true, "b": ["X", "y"] }));
        assert_eq!(differing(&wanted, &Value::Null), Some(wanted.clone()));
    }

    #[test]
    fn what_is_otherwise_is_named() {
        for (key, other) in [
            ("has_wiki", true),
            ("has_pull_requests", false),
            ("allow_manual_merge", true),
            ("autodetect_manual_merge", true),
        ] {
            let mut found = settings(&Value::Null);
            found[key] = other.into();
            assert_eq!(otherwise_set(&found), [key]);
        }
    }

    #[test]
    fn what_a_forge_does_not_show_is_not_asked_for() {
        let mut found = settings(&Value::Null);
        for key in NOT_EVERYWHERE {
            found.as_object_mut().unwrap().remove(key);
        }
        assert_eq!(otherwise_set(&found), Vec::<String>::new());
    }

    #[test]
    fn a_hook_must_be_alive_and_tell_all() {
        let url = "https://crates.example.com/crates/webhook";
        let hook = |url: &str, active, form: &str, events: &[&str]| json!([{ "active": active, "events": events, "config": { "url": url, "content_type": form } }]);
        let good = hook(url, true, "json", &["pull_request", "push", "create"]);
        assert!(is_told(&good, url));
        for (branches, tells) in [("main", true), ("*", true), ("release/*", false)] {
            let mut filtered = good.clone();
            filtered[0]["branch_filter"] = branches.into();
            assert_eq!(is_told(&filtered, url), tells, "{branches}");
        }
        for hooks in [
            hook(url, false, "json", &EVENTS),
            hook(url, true, "json", &["push"]),
            hook(url, true, "form", &EVENTS),
            hook(
                "https://other.example.com/crates/webhook",
                true,
                "json",
                &EVENTS,
            ),
            Value::Null,
        ] {
            assert!(!is_told(&hooks, url), "{hooks}");
        }
    }
}
