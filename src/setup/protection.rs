//! The rule that protects `main`: what it must be like, what is otherwise, and how it is made so.

use reqwest::Method;
use serde_json::{Value, json};

use super::told::is_so;
use super::wanted::{BRANCH, differing, keys};
use super::{Owner, Plan, SetupFault, Step};
use crate::domain::harmless;

/// The status by which the server says what it thinks of a pull request.
const STATUS: &str = "sidecargo";
/// Fields that some forges have not; such a forge passes over them.
const NOT_EVERYWHERE: [&str; 8] = [
    // Two names for one thing: the rule holds for administrators too.
    "block_admin_merge_override",
    "apply_to_admins",
    "enable_bypass_allowlist",
    "enable_force_push",
    "enable_force_push_allowlist",
    "force_push_allowlist_usernames",
    "force_push_allowlist_teams",
    "force_push_allowlist_deploy_keys",
];
/// How much of a rule's name is repeated, in characters.
const NAME_CHARS_MAX: usize = 100;

/// Who may do something to `main`.
#[derive(Debug, Clone, Copy)]
pub struct Allowed<'a> {
    /// The one who pushes; if it is not known who that is, whoever stands alone on the list.
    pub robot: Option<&'a str>,
    /// The team that approves and merges, or none; if that is not known, whichever stands alone on the list.
    pub reviewers: Option<Option<&'a str>>,
}

impl Allowed<'_> {
    /// What is otherwise than it must be in the forge's list of rules, in words; nothing if all is well.
    pub fn otherwise(&self, rules: &Value) -> Vec<String> {
        let (ours, before) = winning(rules);
        let Some(ours) = ours else {
            return vec![format!("`{BRANCH}` has no rule of its own")];
        };
        let mut strayed = keys(differing(&self.rule(Some(ours)), ours));
        strayed.extend(before.iter().map(|rule| {
            let name = rule["rule_name"].as_str().unwrap_or_default();
            let name = harmless(name, NAME_CHARS_MAX);
            format!("the rule `{name}` comes before it")
        }));
        strayed
    }

    /// Nobody but the robot pushes, nobody rewrites, and a merge needs an approval and the server's word.
    ///
    /// Of the rule that is there it keeps that more is needed: more approvals than one, the words of others. It leaves
    /// out what the forge does not know.
    fn rule(&self, found: Option<&Value>) -> Value {
        let found = found.unwrap_or(&Value::Null);
        let robots = match self.robot {
            Some(robot) => json!([robot]),
            None => only_one(&found["push_whitelist_usernames"]),
        };
        let teams = match self.reviewers {
            Some(team) => json!(team.as_slice()),
            None => only_one(&found["merge_whitelist_teams"]),
        };
        let is_reviewed = teams != json!([]);
        let approvals = found["required_approvals"].as_u64().unwrap_or(0).max(1);
        // A list that is not in force may name what nobody says any more.
        let mut contexts = match found["enable_status_check"] == true {
            true => { found["status_check_contexts"].as_array() }.map_or_else(Vec::new, Vec::clone),
            false => Vec::new(),
        };
        if !contexts.iter().any(|context| context == STATUS) {
            contexts.push(STATUS.into());
        }
        let mut rule = json!({
            "rule_name": BRANCH,
            "enable_push": true,
            "enable_push_whitelist": true,
            "push_whitelist_usernames": robots,
            "push_whitelist_teams": [],
            "push_whitelist_deploy_keys": false,
            "protected_file_patterns": "",
            "unprotected_file_patterns": "",
            "enable_merge_whitelist": is_reviewed,
            "merge_whitelist_usernames": [],
            "merge_whitelist_teams": teams,
            "enable_approvals_whitelist": is_reviewed,
            "approvals_whitelist_username": [],
            "approvals_whitelist_teams": teams,
            "required_approvals": approvals,
            "dismiss_stale_approvals": true,
            "enable_status_check": true,
            "status_check_contexts": contexts,
            "block_on_rejected_reviews": true,
            // Each publish would hold up the merge of what was reviewed before it.
            "block_on_outdated_branch": false,
            // The forge would take no push until it trusts the registry's key, and none after the next rotation.
            "require_signed_commits": false,
        });
        for key in NOT_EVERYWHERE {
            if found.is_null() || found.get(key).is_some() {
                rule[key] = match key {
                    "block_admin_merge_override" | "apply_to_admins" => json!(true),
                    "force_push_allowlist_usernames" | "force_push_allowlist_teams" => json!([]),
                    _ => json!(false),
                };
            }
        }
        rule
    }
}

/// The teams that merge, by the forge's list of rules.
pub fn reviewing(rules: &Value) -> Vec<&str> {
    let (ours, _) = winning(rules);
    let teams = ours.and_then(|rule| rule["merge_whitelist_teams"].as_array());
    let teams = teams.into_iter().flatten();
    teams.filter_map(Value::as_str).collect()
}

/// The rule of the branch, and those that the forge would rather take for it. It lists them in its order of choice.
fn winning(rules: &Value) -> (Option<&Value>, Vec<&Value>) {
    let rules = rules.as_array().map_or(&[][..], Vec::as_slice);
    let place = rules.iter().position(|rule| rule["rule_name"] == BRANCH);
    let before = &rules[..place.unwrap_or(rules.len())];
    let may_be_taken = |rule: &&Value| rule["rule_name"].as_str().is_none_or(may_match);
    (
        place.map(|place| &rules[place]),
        before.iter().filter(may_be_taken).collect(),
    )
}

/// Whether a rule of this name may be one for the branch. A pattern may be if it begins so: it is better to come
/// before one rule too many than before one too few.
fn may_match(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let name = name.to_lowercase();
    match name.find(|c| !is_plain(c)) {
        None => name == BRANCH,
        Some(end) => BRANCH.starts_with(&name[..end]),
    }
}

/// A priority by which a rule comes before all of these: the smallest is the first, and 0 would mean the last.
fn first_priority(rules: &Value) -> i64 {
    let rules = rules.as_array().into_iter().flatten();
    let least = rules.filter_map(|rule| rule["priority"].as_i64()).min();
    least.unwrap_or(0).min(0).saturating_sub(1)
}

/// The list if it has one member, or else an empty one.
fn only_one(list: &Value) -> Value {
    match list.as_array().map(Vec::as_slice) {
        Some([_]) => list.clone(),
        _ => json!([]),
    }
}

impl Plan {
    /// If nobody says who reviews, it is the team that does already.
    pub(super) async fn keep_reviewers(
        &mut self,
        forge: &Owner,
        found: &Value,
    ) -> Result<(), SetupFault> {
        if self.reviewers.is_some() || found.is_null() {
            return Ok(());
        }
        let rules = self.rules(forge).await?;
        let teams = reviewing(&rules);
        self.reviewers = match teams[..] {
            [] => None,
            [team] => Some(team.to_owned()),
            _ => return Err(SetupFault::ManyTeams(teams.join(", "))),
        };
        Ok(())
    }

    /// Makes the rule, or makes it so again, and reads it back.
    pub(super) async fn protection(
        &self,
        forge: &Owner,
        found: &Value,
        tell: &mut dyn FnMut(&Step),
    ) -> Result<(), SetupFault> {
        let allowed = Allowed {
            robot: Some(self.robot.as_str()),
            reviewers: Some(self.reviewers.as_deref()),
        };
        let what = "its protection: only the server pushes, nobody rewrites, a merge needs an approval and the server's word";
        let rules = match found.is_null() {
            true => json!([]),
            false => self.rules(forge).await?,
        };
        let strayed = allowed.otherwise(&rules);
        let step = match strayed.is_empty() {
            true => is_so(what),
            false => self.changed(&format!("{what} (before: {})", strayed.join(", "))),
        };
        if !self.is_dry {
            self.protect(forge, allowed, &rules).await?;
        }
        tell(&step);
        Ok(())
    }

    /// The rule is always sent, and whole. A forge passes over some fields if others are not with them, and it does
    /// not show who else is on a list but cannot read the repository yet.
    async fn protect(
        &self,
        forge: &Owner,
        allowed: Allowed<'_>,
        rules: &Value,
    ) -> Result<(), SetupFault> {
        let (ours, before) = winning(rules);
        let mut wanted = allowed.rule(ours);
        if !before.is_empty() {
            wanted["priority"] = first_priority(rules).into();
        }
        let path = self.api("/branch_protections");
        match ours {
            Some(_) => {
                let path = format!("{path}/{BRANCH}");
                forge.write(Method::PATCH, &path, &wanted).await?
            }
            None => forge.write(Method::POST, &path, &wanted).await?,
        };
        let strayed = allowed.otherwise(&self.rules(forge).await?);
        match strayed.is_empty() {
            true => Ok(()),
            false => Err(SetupFault::Unprotected(strayed.join(", "))),
        }
    }

    async fn rules(&self, forge: &Owner) -> Result<Value, SetupFault> {
        let rules = forge.read(&self.api("/branch_protections")).await?;
        Ok(rules.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: Allowed<'_> = Allowed {
        robot: Some("robot"),
        reviewers: Some(Some("reviewers")),
    };

    #[test]
    fn what_is_otherwise_is_named() {
        let good = ALLOWED.rule(None);
        let otherwise = |key: &str, value: Value| {
            let mut rule = good.clone();
            rule[key] = value;
            ALLOWED.otherwise(&json!([rule]))
        };
        for (key, same) in [
            ("id", json!(7)),
            ("required_approvals", json!(2)),
            ("status_check_contexts", json!(["lint", "sidecargo"])),
            ("push_whitelist_usernames", json!(["Robot"])),
            ("approvals_whitelist_username", Value::Null),
        ] {
            assert_eq!(otherwise(key, same), Vec::<String>::new(), "{key}");
        }
        for (key, other) in [
            ("enable_push", json!(false)),
            ("enable_push_whitelist", json!(false)),
            ("push_whitelist_usernames", json!(["robot", "mallory"])),
            ("push_whitelist_teams", json!(["others"])),
            ("push_whitelist_deploy_keys", json!(true)),
            ("enable_force_push", json!(true)),
            ("enable_force_push_allowlist", json!(true)),
            ("force_push_allowlist_usernames", json!(["mallory"])),
            ("force_push_allowlist_teams", json!(["others"])),
            ("force_push_allowlist_deploy_keys", json!(true)),
            ("enable_bypass_allowlist", json!(true)),
            ("protected_file_patterns", json!("config.json")),
            ("unprotected_file_patterns", json!("*")),
            ("enable_merge_whitelist", json!(false)),
            ("merge_whitelist_usernames", json!(["mallory"])),
            ("merge_whitelist_teams", json!(["reviewers", "others"])),
            ("enable_approvals_whitelist", json!(false)),
            ("approvals_whitelist_username", json!(["mallory"])),
            ("approvals_whitelist_teams", json!([])),
            ("required_approvals", json!(0)),
            ("enable_status_check", json!(false)),
            ("status_check_contexts", json!(["other"])),
            ("block_on_outdated_branch", json!(true)),
            ("require_signed_commits", json!(true)),
            ("block_admin_merge_override", json!(false)),
            ("apply_to_admins", json!(false)),
        ] {
            assert_eq!(otherwise(key, other), [key]);
        }
    }

    #[test]
    fn what_others_must_say_stays_if_it_is_in_force() {
        for (is_checked, found, wanted) in [
            (true, json!(["lint"]), json!(["lint", "sidecargo"])),
            (
                true,
                json!(["sidecargo", "lint"]),
                json!(["sidecargo", "lint"]),
            ),
            (true, Value::Null, json!(["sidecargo"])),
            (false, json!(["lint"]), json!(["sidecargo"])),
        ] {
            let found =
                json!({ "enable_status_check": is_checked, "status_check_contexts": found });
            let rule = ALLOWED.rule(Some(&found));
            assert_eq!(rule["status_check_contexts"], wanted, "{found}");
        }
    }

    #[test]
    fn a_forge_may_not_know_some_fields() {
        let mut rule = ALLOWED.rule(None);
        for key in NOT_EVERYWHERE {
            rule.as_object_mut().unwrap().remove(key);
        }
        assert_eq!(
            ALLOWED.otherwise(&json!([rule.clone()])),
            Vec::<String>::new()
        );
        rule.as_object_mut()
            .unwrap()
            .remove("enable_push_whitelist");
        assert_eq!(ALLOWED.otherwise(&json!([rule])), ["enable_push_whitelist"]);
    }

    #[test]
    fn whoever_is_not_known_must_stand_alone() {
        let unknown = Allowed {
            robot: None,
            reviewers: None,
        };
        for reviewers in [None, Some("reviewers")] {
            let rule = Allowed {
                reviewers: Some(reviewers),
                ..ALLOWED
            }
            .rule(None);
            assert_eq!(unknown.otherwise(&json!([rule])), Vec::<String>::new());
        }
        let mut rule = ALLOWED.rule(None);
        rule["push_whitelist_usernames"] = json!(["robot", "mallory"]);
        rule["enable_merge_whitelist"] = false.into();
        assert_eq!(
            unknown.otherwise(&json!([rule])),
            ["enable_merge_whitelist", "push_whitelist_usernames"]
        );
    }

    #[test]
    fn a_rule_that_comes_before_is_named() {
        let ours = ALLOWED.rule(None);
        let named = |name: &str| json!({ "rule_name": name });
        for name in [
            "*", "**", "m*", "ma?n", "[a-z]*", "{main,x}", "\\main", "Main", "MAIN*",
        ] {
            let said = ALLOWED.otherwise(&json!([named(name), ours]));
            assert_eq!(said, [format!("the rule `{name}` comes before it")]);
            let behind = json!([ours, named(name)]);
            assert_eq!(ALLOWED.otherwise(&behind), Vec::<String>::new(), "{name}");
        }
        for name in ["release/*", "mainly", "master", "maint*"] {
            let other = json!([named(name), ours]);
            assert_eq!(ALLOWED.otherwise(&other), Vec::<String>::new(), "{name}");
        }
        assert_eq!(
            ALLOWED.otherwise(&json!([named("**")])),
            ["`main` has no rule of its own"]
        );
    }

    #[test]
    fn the_first_priority_is_never_none() {
        for (others, first) in [
            (vec![], -1),
            (vec![1, 2], -1),
            (vec![0], -1),
            (vec![3, -4], -5),
        ] {
            let rules: Vec<Value> = others.iter().map(|at| json!({ "priority": at })).collect();
            assert_eq!(first_priority(&rules.into()), first, "{others:?}");
        }
    }
}
