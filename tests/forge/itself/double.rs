//! The double of the forge, held against the forge: what it says of people and teams is what that says.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::common::http::{Reply, request};
use crate::forge::double::{self, ForgeDouble, World};
use crate::forge::gitea::Gitea;
use crate::forge::scene::{Repository, Team, User, Visibility};

/// What a token of these tests may do.
const SCOPES: [&str; 3] = ["read:user", "read:organization", "read:repository"];

/// The people, by the word that their names begin with, and who is in which team.
const PEOPLE: [&str; 7] = ["robot", "alice", "bob", "carol", "dave", "frank", "eve"];
type Units = &'static [(&'static str, &'static str)];
const TEAMS: [(&str, Units, &[&str]); 4] = [
    (
        "Writers",
        &[("repo.code", "write"), ("repo.wiki", "read")],
        &["alice", "robot"],
    ),
    (
        "Readers",
        &[("repo.code", "read"), ("repo.issues", "write")],
        &["dave"],
    ),
    ("Triage", &[("repo.issues", "write")], &["bob", "robot"]),
    ("Elsewhere", &[("repo.code", "write")], &["frank"]),
];
/// And those who are collaborators of the repository.
const COLLABORATORS: [(&str, &str); 3] = [("robot", "admin"), ("carol", "read"), ("bob", "read")];

/// The same people and teams at both.
struct Both<'forge> {
    forge: &'forge Gitea,
    runtime: Runtime,
    double: ForgeDouble,
    people: BTreeMap<&'static str, (User, String)>,
    teams: Vec<Team>,
    organisation: String,
    repository: Repository,
    /// One that belongs to an account.
    own: Repository,
}

fn forever(text: &str) -> &'static str {
    text.to_owned().leak()
}

fn number(id: i64) -> u64 {
    u64::try_from(id).unwrap()
}

impl<'forge> Both<'forge> {
    #[track_caller]
    fn make(forge: &'forge Gitea, visibility: Visibility) -> Self {
        let organisation = forge.organisation("acme");
        let repository = forge.repository(&organisation, "crates", visibility);
        let person = |word: &'static str| {
            let user = forge.user(word);
            let token = forge.token(&user, &SCOPES).text;
            (word, (user, token))
        };
        let people: BTreeMap<_, _> = PEOPLE.into_iter().map(person).collect();
        let team = |(name, units, members): (&str, Units, &[&str])| {
            let units: serde_json::Map<String, Value> = { units.iter() }
                .map(|(unit, right)| ((*unit).to_owned(), json!(right)))
                .collect();
            let team = forge.team_with(&organisation, name, &units.into());
            for word in members {
                forge.join(&team, &people[word].0);
            }
            if name != "Elsewhere" {
                forge.open_to(&team, &repository);
            }
            team
        };
        let teams: Vec<Team> = TEAMS.into_iter().map(team).collect();
        for (word, right) in COLLABORATORS {
            forge.collaborate(&repository, &people[word].0, right);
        }
        let own = forge.repository(&people["alice"].0.login, "own", Visibility::Public);
        let runtime = Runtime::new().unwrap();
        let mut made = Self {
            double: runtime.block_on(ForgeDouble::start(World::gitea())),
            forge,
            runtime,
            people,
            teams,
            organisation,
            repository,
            own,
        };
        made.tell_the_double(visibility);
        made
    }

    fn tell_the_double(&mut self, visibility: Visibility) {
        let mut world = self.double.world();
        let id = |word: &str| number(self.people[word].0.id);
        for (user, token) in self.people.values() {
            let login = forever(&user.login);
            world.users.push(double::User::new(login, number(user.id)));
            let token_of = double::Token::of_user(number(user.id), &SCOPES);
            world.tokens.insert(forever(token), token_of);
        }
        let organisation = forever(&self.organisation);
        let index = number(self.repository.id);
        for ((_, units, members), team) in TEAMS.iter().zip(&self.teams) {
            let members: Vec<u64> = members.iter().map(|word| id(word)).collect();
            let made =
                double::Team::new(number(team.id), organisation, forever(&team.name), &members);
            let open: &[u64] = if team.name == "Elsewhere" {
                &[]
            } else {
                &[index]
            };
            world.teams.push(made.open(units, open));
        }
        let rights: Vec<(u64, &str)> = COLLABORATORS.map(|(word, right)| (id(word), right)).into();
        let path = |it: &Repository| forever(&format!("{}/{}", it.owner, it.name));
        let is_private = visibility == Visibility::Private;
        let repository =
            double::Repository::new(index, path(&self.repository), is_private, &rights);
        let owner = [(id("alice"), "owner")];
        let own = double::Repository::new(number(self.own.id), path(&self.own), false, &owner);
        world.repositories.extend([repository, own]);
    }

    /// What both answer to somebody, of the parts that we look at.
    #[track_caller]
    fn answers(&self, word: &str, path: &str) -> [(u16, Value); 2] {
        let (_, token) = &self.people[word];
        [self.forge.port, self.double.address.port()].map(|port| {
            let reply = request("GET", format!("/api/v1{path}"))
                .header("Authorization", &format!("token {token}"))
                .send(port);
            (reply.status, self.looked_at(&reply))
        })
    }

    fn looked_at(&self, reply: &Reply) -> Value {
        if reply.status != 200 {
            return Value::Null;
        }
        let json = reply.json();
        match json.as_array() {
            // The double has no Owners, whom nobody here is among.
            Some(entries) => {
                let entries = entries.iter().filter(|entry| entry["name"] != "Owners");
                let mut entries: Vec<Value> = entries.map(part).collect();
                entries.sort_by_key(|entry| entry["id"].as_u64());
                entries.into()
            }
            None => part(&json),
        }
    }

    /// All the questions about people and teams that the product has.
    fn questions(&self) -> Vec<String> {
        let (index, own) = (self.repository.api(), self.own.api());
        let organisation = &self.organisation;
        let mut all = vec![
            index.clone(),
            own.clone(),
            format!("/repositories/{}", self.repository.id),
            format!("{index}/teams"),
            format!("{own}/teams"),
            format!("/orgs/{organisation}/teams?limit=50"),
            format!("{index}/collaborators/no-such-person"),
            format!("{index}/collaborators/no-such-person/permission"),
            "/user/teams".to_owned(),
            "/teams/999999".to_owned(),
        ];
        for (user, _) in self.people.values() {
            let login = &user.login;
            all.push(format!("{index}/collaborators/{login}"));
            all.push(format!("{own}/collaborators/{login}"));
            all.push(format!("/orgs/{organisation}/members/{login}"));
            let members = |team: &Team| format!("/teams/{}/members/{login}", team.id);
            all.extend(self.teams.iter().map(members));
        }
        all.extend(self.teams.iter().map(|team| format!("/teams/{}", team.id)));
        all
    }
}

/// What is looked at of a repository, a team, a right or an account.
fn part(json: &Value) -> Value {
    let mut found = json!({});
    for key in [
        "id",
        "name",
        "login",
        "full_name",
        "private",
        "permission",
        "units_map",
    ] {
        found[key] = json[key].clone();
    }
    for key in ["pull", "push"] {
        found[key] = json["permissions"][key].clone();
    }
    found["user"] = json["user"]["id"].clone();
    found
}

#[test]
fn the_double_says_of_people_and_teams_what_the_forge_says() {
    let Some(forge) = Gitea::pinned() else { return };
    for visibility in [Visibility::Private, Visibility::Public] {
        let both = Both::make(forge, visibility);
        let logins = both.people.values().map(|(user, _)| user.login.clone());
        let permission =
            |login| format!("{}/collaborators/{login}/permission", both.repository.api());
        let permissions: Vec<String> = logins.map(permission).collect();
        // Everybody may ask what they may do themselves, which the product does not; it asks as one who administers.
        for path in permissions {
            let [forge, double] = both.answers("robot", &path);
            assert_eq!(forge, double, "{path}");
        }
        let mut asked = 0;
        for word in PEOPLE {
            for path in both.questions() {
                let [forge, double] = both.answers(word, &path);
                let is_hidden = forge.0 >= 400 && word != "robot" && path.contains("/repos/");
                if is_hidden && visibility == Visibility::Private {
                    // Who sees no repository is told nothing of it; how that is said does not matter.
                    continue;
                }
                assert_eq!(forge, double, "{word} asks {path}");
                asked += 1;
            }
        }
        assert!(asked > 200, "{asked}");
        let Both {
            runtime, double, ..
        } = both;
        runtime.block_on(double.stop());
    }
}

/// What is looked at of a member's rights, because as a whole nothing is said of them.
#[test]
fn a_right_by_a_team_is_none_to_the_repository_as_a_whole() {
    let Some(forge) = Gitea::shared() else { return };
    let both = Both::make(forge, Visibility::Private);
    let path = |word: &str| {
        let login = &both.people[word].0.login;
        format!("{}/collaborators/{login}/permission", both.repository.api())
    };
    for (word, whole, rights) in [
        ("alice", "none", (true, true)),
        ("dave", "none", (true, false)),
        ("carol", "read", (true, false)),
        ("bob", "read", (true, false)),
        ("robot", "admin", (true, true)),
    ] {
        let robot = forge.with_token(&both.people["robot"].1);
        assert_eq!(robot.read(&path(word))["permission"], whole, "{word}");
        let own = forge.with_token(&both.people[word].1);
        assert_eq!(super::rights(&own, &both.repository), rights, "{word}");
    }
}
