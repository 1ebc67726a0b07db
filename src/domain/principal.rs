//! Who asks for a change, and what is proved of them.

use std::fmt;

use super::forge::RepositoryPath;
use super::hash::TokenId;
use super::text::{Login, PlainText};

/// Who acts: what owners are compared with, and what a commit says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// The bearer of a token that this registry made.
    Local(Login),
    /// An account of the forge.
    Person(Person),
    /// A job of the forge's CI: it acts for its repository and for nobody else.
    Job(Box<Job>),
}

/// An account of the forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Its name at this moment.
    pub login: Login,
    /// Its number, which is never given to another.
    pub id: u64,
}

/// A job of the forge's CI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The repository that it runs for.
    pub repository: RepositoryPath,
    /// That one's number, which is never given to another.
    pub repository_id: u64,
    /// The workflow, as the forge names it.
    pub workflow: PlainText,
    /// The run, as the forge numbers it.
    pub run: PlainText,
    /// The commit that it works on.
    pub commit: PlainText,
}

/// By what somebody proved who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// A token of this registry.
    Token(TokenId),
    /// A token that the forge was shown.
    ForgeToken,
    /// A token that the forge signed.
    IdToken,
}

/// Somebody who asks for a change, with all that was found out of them before: the state that the change meets decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Who it is.
    pub actor: Actor,
    /// By what they proved it.
    pub proof: Proof,
    /// Whether a name is enough to be an owner, because there is no forge that numbers people.
    pub names_suffice: bool,
    /// The teams of the forge that they were found in.
    pub teams: Vec<u64>,
    /// The repositories of the forge that they were found to write to.
    pub repositories: Vec<u64>,
}

impl Actor {
    /// The name that a commit has as its author.
    pub fn name(&self) -> PlainText {
        let name = match self {
            Self::Local(login) => login.to_string(),
            Self::Person(person) => person.login.to_string(),
            Self::Job(job) => job.repository.to_string(),
        };
        name.parse()
            .expect("logins and paths of repositories are short, plain ASCII")
    }

    /// The account's name, if it is a person's.
    pub fn login(&self) -> Option<&Login> {
        match self {
            Self::Local(login) => Some(login),
            Self::Person(person) => Some(&person.login),
            Self::Job(_) => None,
        }
    }
}

impl Standing {
    /// The bearer of a token of this registry.
    pub fn local(login: Login, token: TokenId, names_suffice: bool) -> Self {
        Self {
            names_suffice,
            ..Self::of(Actor::Local(login), Proof::Token(token))
        }
    }

    /// Somebody of whom nothing else is known.
    pub fn of(actor: Actor, proof: Proof) -> Self {
        Self {
            actor,
            proof,
            names_suffice: false,
            teams: Vec::new(),
            repositories: Vec::new(),
        }
    }

    /// By what they proved who they are, as a commit says it.
    pub fn authenticated_via(&self) -> PlainText {
        let text = match (self.proof, &self.actor) {
            (Proof::Token(id), Actor::Local(_)) => format!("token {id}"),
            (proof, Actor::Person(person)) => format!("{proof} of user {}", person.id),
            (proof, Actor::Job(job)) => {
                format!("job {proof} of repository {}", job.repository_id)
            }
            (proof, Actor::Local(login)) => format!("{proof} of {login}"),
        };
        text.parse()
            .expect("words, names and numbers are plain text")
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(id) => write!(f, "token {id}"),
            Self::ForgeToken => f.write_str("forge token"),
            Self::IdToken => f.write_str("id-token"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login() -> Login {
        "alice".parse().unwrap()
    }

    #[test]
    fn a_commit_says_who_acted_and_by_what_they_proved_it() {
        let job = Job {
            repository: "acme/serde".parse().unwrap(),
            repository_id: 12,
            workflow: "a.yml".parse().unwrap(),
            run: "4".parse().unwrap(),
            commit: "ab".parse().unwrap(),
        };
        let token = TokenId::from([0; 16]);
        let id = 7;
        let person = Actor::Person(Person { login: login(), id });
        for (actor, proof, name, via) in [
            (
                Actor::Local(login()),
                Proof::Token(token),
                "alice",
                format!("token {token}"),
            ),
            (
                person.clone(),
                Proof::ForgeToken,
                "alice",
                "forge token of user 7".to_owned(),
            ),
            (
                person,
                Proof::IdToken,
                "alice",
                "id-token of user 7".to_owned(),
            ),
            (
                Actor::Job(Box::new(job)),
                Proof::IdToken,
                "acme/serde",
                "job id-token of repository 12".to_owned(),
            ),
        ] {
            assert_eq!(actor.name().as_str(), name);
            let is_person = !matches!(actor, Actor::Job(_));
            assert_eq!(actor.login(), is_person.then(login).as_ref());
            let standing = Standing::of(actor, proof);
            assert_eq!(standing.authenticated_via().as_str(), via);
        }
    }
}
