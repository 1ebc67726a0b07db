//! Whether the forge trusts the key with which the registry signs.

use serde_json::Value;

use super::forge::Examined;
use super::{Finding, Verdict, WORDS_MAX, find};
use crate::domain::{Secret, harmless};
use crate::index::REGISTRY_ADDRESS;

/// Among how many of the newest commits one of the registry is looked for.
const COMMITS_MAX: usize = 50;

impl Examined<'_> {
    /// Whether the forge shows the newest commit of the registry as verified; those of people are no matter of ours.
    pub(super) async fn is_verified(&self, robot: &Secret) -> Finding {
        let what = "signing";
        let path = format!("/commits?sha=main&limit={COMMITS_MAX}&stat=false&files=false");
        let commits = match self.look(&self.api(&path), robot).await {
            Ok(commits) => commits,
            Err(fault) => return find(what, Err(fault.to_string())),
        };
        let Some(commit) = newest_of_registry(&commits) else {
            let how =
                "the newest commits are all of people: look again when the registry has made one";
            let verdict = Verdict::Unknown(how.to_owned());
            return Finding { what, verdict };
        };
        let verification = &commit["verification"];
        if verification["verified"] == true {
            let good = "the forge shows the registry's newest commit as verified";
            return find(what, Ok(good.to_owned()));
        }
        let reason = verification["reason"]
            .as_str()
            .unwrap_or("no reason is given");
        let mend = format!(
            "the forge does not show the registry's newest commit as verified ({}): its administrator can trust the key in `allowed_signers` of the index by `TRUSTED_SSH_KEYS` of the section `[repository.signing]`",
            harmless(reason, WORDS_MAX)
        );
        find(what, Err(mend))
    }
}

/// The first that the registry committed, of commits as the forge lists them.
fn newest_of_registry(commits: &Value) -> Option<&Value> {
    let mut commits = commits.as_array()?.iter().map(|entry| &entry["commit"]);
    commits.find(|commit| commit["committer"]["email"] == REGISTRY_ADDRESS)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_people_merged_is_not_asked_for_the_registrys_signature() {
        let by = |email: &str, number: u8| json!({ "commit": { "committer": { "email": email }, "number": number } });
        let people = || by("olga@example.org", 1);
        let listed = json!([
            people(),
            people(),
            by(REGISTRY_ADDRESS, 2),
            by(REGISTRY_ADDRESS, 3)
        ]);
        assert_eq!(newest_of_registry(&listed).unwrap()["number"], 2);
        for listed in [json!([people()]), json!([]), json!({})] {
            assert_eq!(newest_of_registry(&listed), None);
        }
    }
}
