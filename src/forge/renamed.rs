//! Where the forge says that a renamed owner or repository is.

use reqwest::header::LOCATION;
use reqwest::{Response, StatusCode};
use url::Url;

use super::Forge;

impl Forge {
    /// Where a renamed owner or repository is now: the same question under another name, at this very forge.
    pub(super) fn renamed(&self, asked: &Url, response: &Response) -> Option<Url> {
        let is_renamed = matches!(
            response.status(),
            StatusCode::MOVED_PERMANENTLY | StatusCode::TEMPORARY_REDIRECT
        );
        if !is_renamed {
            return None;
        }
        let location = response.headers().get(LOCATION)?.to_str().ok()?;
        let url = asked.join(location).ok()?;
        let is_here = url.origin() == asked.origin() && url.username().is_empty();
        let question = asked.path().strip_prefix(self.root.path())?;
        let mut below = self.paths.below(url.path());
        let place = below.find(|place| is_same_question(question, place))?;
        let mut renamed = asked.clone();
        renamed.set_path(&format!("{}{place}", self.root.path()));
        (is_here && url.query() == asked.query()).then_some(renamed)
    }
}

/// Whether two paths ask the same of two owners or repositories.
fn is_same_question(asked: &str, other: &str) -> bool {
    let git = "/info/refs";
    if let (Some(_), Some(repository)) = (asked.strip_suffix(git), other.strip_suffix(git)) {
        return repository.split('/').count() == 2 && !repository.starts_with("api/");
    }
    let api = |path: &str| -> Option<Vec<String>> {
        let rest = path.strip_prefix("api/v1/")?;
        Some(rest.split('/').map(str::to_owned).collect())
    };
    match (api(asked), api(other)) {
        (Some(asked), Some(other)) => {
            // `repos/{owner}/{name}/…`, `orgs/{name}/…`, `users/{name}`
            let names = if asked[0] == "repos" { 3 } else { 2 };
            asked[0] == other[0] && asked.get(names..) == other.get(names..)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_followed_to_the_same_question_alone() {
        for (asked, other) in [
            ("api/v1/repos/alice/pub", "api/v1/repos/alice/pub2"),
            ("api/v1/orgs/old/teams", "api/v1/orgs/new/teams"),
            ("alice/pub.git/info/refs", "alice/pub2/info/refs"),
        ] {
            assert!(is_same_question(asked, other), "{asked} {other}");
        }
        for (asked, other) in [
            ("api/v1/repos/alice/pub", "user/login"),
            ("api/v1/repos/alice/pub", "api/v1/user"),
            ("api/v1/repos/alice/pub", "api/v1/repos/alice/pub/keys"),
            ("api/v1/orgs/old/teams", "api/v1/orgs/new/members"),
            ("alice/pub.git/info/refs", "user/settings/change_password"),
            ("alice/pub.git/info/refs", "api/v1/x/info/refs"),
        ] {
            assert!(!is_same_question(asked, other), "{asked} {other}");
        }
    }
}
