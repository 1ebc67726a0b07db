//! Who may do what with a repository, as the forges count it: by accounts, by teams and their parts, and for all.
//!
//! What a forge says of the repository as a whole is not what counts for its code. Gitea 1.26 keeps no right of a team as
//! a whole unless it administers, Forgejo the least of its rights; both keep those on each part beside it.

use serde_json::{Value, json};

use super::{Answer, Asked, Holder, Repository, Team, Token, User, World};
use super::{not_found, ok, refuse};

/// The part that is the code.
const CODE: &str = "repo.code";

/// The rights, each with those before it.
const LEVELS: [&str; 5] = ["none", "read", "write", "admin", "owner"];
const READ: usize = 1;
const WRITE: usize = 2;
const ADMIN: usize = 3;
const OWNER: usize = 4;

fn level(name: &str) -> usize {
    LEVELS.iter().position(|level| *level == name).unwrap()
}

impl Team {
    pub fn new(id: u64, organisation: &'static str, name: &'static str, members: &[u64]) -> Self {
        Self {
            id,
            organisation,
            name,
            members: members.to_vec(),
            units: vec![(CODE, "write")],
            repositories: Vec::new(),
        }
    }

    /// The same, with these rights on parts of the repositories of these numbers.
    pub fn open(mut self, units: &[(&'static str, &'static str)], repositories: &[u64]) -> Self {
        self.units = units.to_vec();
        self.repositories = repositories.to_vec();
        self
    }

    fn is_of_owners(&self) -> bool {
        self.name == "Owners"
    }

    fn is_open(&self, repository: &Repository) -> bool {
        self.is_of(repository.owner())
            && (self.is_of_owners() || self.repositories.contains(&repository.id))
    }

    fn is_of(&self, organisation: &str) -> bool {
        self.organisation.eq_ignore_ascii_case(organisation)
    }

    fn unit(&self, name: &str) -> usize {
        let found = self.units.iter().find(|(unit, _)| *unit == name);
        found.map_or(0, |(_, right)| level(right))
    }

    /// What the forge keeps of it for a repository as a whole.
    fn whole(&self, is_forgejo: bool) -> usize {
        let least = self.units.iter().map(|(_, right)| level(right)).min();
        match is_forgejo {
            _ if self.is_of_owners() => OWNER,
            true => least.unwrap_or_default(),
            false => 0,
        }
    }

    pub(super) fn json(&self, is_forgejo: bool) -> Value {
        let mut units = self.units.clone();
        if self.is_of_owners() {
            units = vec![(CODE, "owner"), ("repo.pulls", "owner")];
        }
        let names: Vec<&str> = units.iter().map(|(unit, _)| *unit).collect();
        let map: serde_json::Map<String, Value> = { units.iter() }
            .map(|(unit, right)| ((*unit).to_owned(), json!(right)))
            .collect();
        json!({"id": self.id, "name": self.name, "description": "", "organization": null,
            "includes_all_repositories": self.is_of_owners(),
            "permission": LEVELS[self.whole(is_forgejo)], "units": names, "units_map": map,
            "can_create_org_repo": self.is_of_owners()})
    }
}

impl Repository {
    fn owner(&self) -> &str {
        self.path.split_once('/').unwrap().0
    }

    /// What the account itself was given.
    fn given(&self, user: u64) -> Option<usize> {
        let found = self.rights.iter().find(|(id, _)| *id == user);
        found.map(|(_, right)| level(right))
    }
}

impl World {
    /// Pull and push of a holder, or nothing if it is invisible.
    pub(super) fn rights(
        &self,
        repository: &Repository,
        holder: Option<Holder>,
    ) -> Option<(bool, bool)> {
        let is_for_all = !repository.is_private && !repository.is_internal;
        match holder {
            Some(Holder::User(id)) => {
                let user = self.users.iter().find(|user| user.id == id).unwrap();
                let code = self.code(repository, user);
                let by_team = self.teams_at(repository, user).any(|team| {
                    let mut units = team.units.iter();
                    units.any(|(_, right)| level(right) >= READ)
                });
                let is_shown = self.whole(repository, user) >= READ
                    || by_team
                    || repository.given(id).is_some();
                is_shown.then_some((code >= READ, code >= WRITE))
            }
            Some(Holder::Job {
                repository: own, ..
            }) if own == repository.id => Some((true, true)),
            _ => is_for_all.then_some((true, false)),
        }
    }

    fn is_organisation(&self, name: &str) -> bool {
        self.teams.iter().any(|team| team.is_of(name))
    }

    fn is_in(&self, organisation: &str, user: u64) -> bool {
        let is_it = |team: &Team| team.is_of(organisation) && team.members.contains(&user);
        self.teams.iter().any(is_it)
    }

    fn teams_at(&self, repository: &Repository, user: &User) -> impl Iterator<Item = &Team> {
        let is_it = |team: &&Team| team.is_open(repository) && team.members.contains(&user.id);
        self.teams
            .iter()
            .filter(is_it)
            .collect::<Vec<_>>()
            .into_iter()
    }

    fn is_owner_shown(&self, repository: &Repository, user: &User) -> bool {
        !repository.is_internal
            || self.is_in(repository.owner(), user.id)
            || repository.given(user.id).is_some()
    }

    /// What an account may do with the repository as a whole, as the forge says it.
    fn whole(&self, repository: &Repository, user: &User) -> usize {
        if !self.is_owner_shown(repository, user) {
            return 0;
        }
        let is_of_owners = |team: &Team| team.is_of_owners();
        if self.teams_at(repository, user).any(is_of_owners) {
            return OWNER;
        }
        let by_team = self
            .teams_at(repository, user)
            .map(|team| team.whole(self.is_forgejo));
        let kept = by_team.chain(repository.given(user.id)).max();
        let is_hidden = user.is_restricted && repository.is_internal;
        match kept {
            Some(kept) if kept >= READ => kept,
            _ if !repository.is_private && !is_hidden => READ,
            _ => 0,
        }
    }

    /// What an account may do with the code.
    fn code(&self, repository: &Repository, user: &User) -> usize {
        if !repository.has_code {
            return 0;
        }
        let whole = self.whole(repository, user);
        let is_shown = self.is_owner_shown(repository, user);
        if whole >= ADMIN || !is_shown || !self.is_organisation(repository.owner()) {
            return whole;
        }
        let of_all = match !repository.is_private && !user.is_restricted {
            true => READ,
            false => 0,
        };
        let by_team = self
            .teams_at(repository, user)
            .map(|team| team.unit(CODE))
            .max();
        let own = repository.given(user.id).map(|_| whole);
        match by_team {
            // Gitea.
            None if !self.is_forgejo => whole.max(of_all),
            by_team => own.max(by_team).unwrap_or_default().max(of_all),
        }
    }

    fn at(&self, owner: &str, name: &str) -> Option<&Repository> {
        let path = format!("{owner}/{name}");
        let mut all = self.repositories.iter();
        all.find(|repository| repository.path.eq_ignore_ascii_case(&path))
    }

    fn named(&self, login: &str) -> Option<&User> {
        self.users
            .iter()
            .find(|user| user.login.eq_ignore_ascii_case(login))
    }

    fn of_token(&self, token: &Token) -> Option<&User> {
        match token.of {
            Holder::User(id) => self.users.iter().find(|user| user.id == id),
            Holder::Job { .. } => None,
        }
    }

    /// What is asked of a repository about people and teams; nothing else is answered here.
    pub(super) fn of_people(&self, token: Option<&Token>, rest: &[&str]) -> Option<Answer> {
        let answer = match (rest, token) {
            (["repos", owner, name, "collaborators", login, "permission"], Some(token)) => {
                self.permission(token, self.at(owner, name), login)
            }
            (["repos", owner, name, "collaborators", login], Some(_)) => {
                self.collaborator(self.at(owner, name), login)
            }
            (["repos", owner, name, "teams"], Some(_)) => self.teams_of(self.at(owner, name)),
            (["orgs", organisation, "members", login], Some(token)) => {
                self.in_organisation(token, organisation, login)
            }
            (["orgs", organisation, "teams"], Some(token)) => {
                self.teams_of_organisation(token, organisation)
            }
            (["teams", id, rest @ ..], Some(token)) => self.team(token, id, rest),
            (["user", "teams"], Some(token)) => {
                let own = self.of_token(token).map(|user| user.id);
                let is_own = |team: &&Team| own.is_some_and(|own| team.members.contains(&own));
                self.listed(self.teams.iter().filter(is_own))
            }
            _ => return None,
        };
        Some(answer)
    }

    fn listed<'a>(&self, teams: impl Iterator<Item = &'a Team>) -> Answer {
        let teams: Vec<Value> = teams.map(|team| team.json(self.is_forgejo)).collect();
        ok(&json!(teams))
    }

    fn permission(&self, token: &Token, repository: Option<&Repository>, login: &str) -> Answer {
        let (Some(repository), Some(asking)) = (repository, self.of_token(token)) else {
            return not_found();
        };
        if self.whole(repository, asking) < ADMIN {
            let words = "Only admins can query all permissions, repo admins can query all repo permissions, collaborators can query only their own";
            return refuse(403, words);
        }
        let Some(user) = self.named(login) else {
            return not_found();
        };
        let permission = LEVELS[self.whole(repository, user)];
        // As an account is told that administers the forge.
        let mut shown = user.json();
        shown["prohibit_login"] = user.is_blocked.into();
        ok(&json!({"permission": permission, "role_name": permission, "user": shown}))
    }

    fn collaborator(&self, repository: Option<&Repository>, login: &str) -> Answer {
        match (repository, self.named(login)) {
            (None, _) => not_found(),
            (_, None) => refuse(422, "user does not exist"),
            // The owner is none.
            (Some(repository), Some(user)) => {
                is_so(repository.given(user.id).is_some_and(|given| given < OWNER))
            }
        }
    }

    /// All at once: these are never given page by page.
    fn teams_of(&self, repository: Option<&Repository>) -> Answer {
        match repository {
            None => not_found(),
            Some(repository) if !self.is_organisation(repository.owner()) => {
                refuse(405, "repo is not owned by an organization")
            }
            Some(repository) => {
                self.listed(self.teams.iter().filter(|team| team.is_open(repository)))
            }
        }
    }

    fn in_organisation(&self, token: &Token, organisation: &str, login: &str) -> Answer {
        let (Some(user), Some(asking)) = (self.named(login), self.of_token(token)) else {
            return not_found();
        };
        if self.is_in(organisation, asking.id) {
            return is_so(self.is_in(organisation, user.id));
        }
        if asking.id == user.id {
            return not_found();
        }
        let to = format!("/api/v1/orgs/{organisation}/public_members/{login}");
        (303, "text/html", String::new(), vec![("location", to)])
    }

    fn teams_of_organisation(&self, token: &Token, organisation: &str) -> Answer {
        let asking = self.of_token(token).map(|user| user.id);
        match asking.is_some_and(|user| self.is_in(organisation, user)) {
            _ if !self.is_organisation(organisation) => not_found(),
            false => refuse(403, "Must be an organization member"),
            true => self.listed(self.teams.iter().filter(|team| team.is_of(organisation))),
        }
    }

    /// A team, or one of its members, to those who are in it or own its organisation.
    fn team(&self, token: &Token, id: &str, rest: &[&str]) -> Answer {
        let team = self.teams.iter().find(|team| team.id.to_string() == id);
        let (Some(team), Some(asking)) = (team, self.of_token(token)) else {
            return not_found();
        };
        let is_owner = |other: &Team| {
            other.is_of_owners()
                && other.is_of(team.organisation)
                && other.members.contains(&asking.id)
        };
        if !team.members.contains(&asking.id) && !self.teams.iter().any(is_owner) {
            return match self.is_in(team.organisation, asking.id) {
                true => refuse(403, "Must be a team member"),
                false => not_found(),
            };
        }
        match rest {
            [] => ok(&team.json(self.is_forgejo)),
            ["members", login] => match self.named(login) {
                Some(user) if team.members.contains(&user.id) => ok(&user.json()),
                _ => not_found(),
            },
            _ => not_found(),
        }
    }
}

/// Whether these pages are given page by page.
pub(super) fn is_paged(asked: &Asked) -> bool {
    let path: Vec<&str> = asked.path.split('/').collect();
    !matches!(path[..], ["", "api", "v1", "repos", _, _, "teams"])
}

fn is_so(is_so: bool) -> Answer {
    match is_so {
        true => (204, "text/plain", String::new(), vec![]),
        false => not_found(),
    }
}
