use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::super::arbitrary;
use super::*;

fn owner(text: &str) -> Owner {
    text.parse().unwrap()
}

fn name(text: &str) -> OwnerName {
    text.parse().unwrap()
}

/// One who leaves where there is no forge.
fn leaver(text: &str) -> Leaver {
    text.parse().unwrap()
}

/// One who leaves by a name that means this on the forge.
fn meaning(text: &str, meant: Meant) -> Leaver {
    let name = name(text);
    Leaver { name, meant }
}

/// The login of an owner that is a person.
fn login(owner: &Owner) -> &Login {
    match owner {
        Owner::User { login, .. } => login,
        Owner::Team { name, .. } => panic!("{name} is a team"),
    }
}

fn owners(logins: &[&str]) -> Owners {
    let logins: Vec<Owner> = logins.iter().map(|login| owner(login)).collect();
    Owners::default().with(&logins).unwrap()
}

fn plain() -> impl Strategy<Value = PlainText> {
    arbitrary::text().prop_filter_map("not a plain text", |text| text.trim().parse().ok())
}

/// Files as people and forges may write them.
fn any_owners() -> impl Strategy<Value = Owners> {
    let login = "[a-zA-Z0-9][a-zA-Z0-9._-]{0,5}".prop_map(|text| text.parse::<Login>().unwrap());
    let id = 0..=i64::MAX as u64;
    (
        vec(
            (login, option::of(id.clone())).prop_map(|(login, id)| User { login, id }),
            0..5,
        ),
        vec(
            (plain(), id.clone()).prop_map(|(name, id)| Team { name, id }),
            0..4,
        ),
        option::of((plain(), id).prop_map(|(name, id)| Repository { name, id })),
    )
        .prop_map(|(users, teams, repository)| Owners {
            users,
            teams,
            repository,
        })
}

fn some_owners() -> impl Strategy<Value = Vec<Owner>> {
    vec("[a-d]".prop_map(|text| owner(&text)), 0..5)
}

fn some_leavers() -> impl Strategy<Value = Vec<Leaver>> {
    vec("[a-d]".prop_map(|text| leaver(&text)), 0..5)
}

proptest! {
    #[test]
    fn the_file_reads_back_and_is_its_own_canonical_form(owners in any_owners()) {
        let text = owners.to_string();
        prop_assert_eq!(Owners::parse(&text).unwrap(), owners);
        prop_assert_eq!(Owners::parse(&text).unwrap().to_string(), text);
    }

    #[test]
    fn one_fact_is_one_line(owners in any_owners()) {
        prop_assert!(owners.to_string().lines().count() <= 3);
    }

    #[test]
    fn adding_keeps_who_is_there_and_adds_each_once(owners in any_owners(), added in some_owners()) {
        let more = owners.with(&added).unwrap();
        prop_assert!(more.users.starts_with(&owners.users));
        prop_assert!(added.iter().all(|owner| more.includes(login(owner))));
        prop_assert!(more.users().all(|user| owners.includes(user) || added.iter().any(|o| login(o) == user)));
        prop_assert_eq!(more.with(&added).unwrap(), more);
    }

    #[test]
    fn removing_takes_those_named_and_leaves_somebody(added in some_owners(), removed in some_leavers()) {
        let owners = Owners::first("e".parse().unwrap()).with(&added).unwrap();
        match owners.without(&removed) {
            Ok(fewer) => {
                prop_assert!(fewer.users().count() >= 1);
                let is_removed = |login: &Login| removed.contains(&leaver(login.as_str()));
                prop_assert!(owners.users().all(|login| fewer.includes(login) != is_removed(login)));
                prop_assert!(removed.iter().all(|leaver| owners.records(&leaver.name)));
            }
            Err(fault) => {
                let mut seen = Vec::new();
                let is_unknown = removed.iter().any(|Leaver { name, .. }| {
                    let is_repeated = seen.contains(&name);
                    seen.push(name);
                    is_repeated || !owners.records(name)
                });
                prop_assert!(is_unknown && matches!(fault, OwnerFault::NotAnOwner(_)), "{}", fault);
            }
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in arbitrary::text()) {
        let _ = Owners::parse(&text);
        let _ = Owners::parse(&format!("users = [{{ login = \"{text}\" }}]"));
        if let Err(fault) = text.parse::<OwnerName>() {
            prop_assert!(!fault.to_string().contains(char::is_control), "{}", fault);
        }
        if let Err(fault) = text.parse::<Owner>() {
            prop_assert!(!fault.to_string().contains(char::is_control), "{}", fault);
        }
    }
}

#[test]
fn who_stands_in_a_file_twice_is_listed_once_and_leaves_as_one() {
    let text = "users = [{ login = \"alice\", id = 7 }, { login = \"bob\" }, { login = \"Bob\" }, \
        { login = \"carol\", id = 7 }, { login = \"alice\" }, { login = \"dave\", id = 8 }]\n\
        teams = [{ name = \"acme:one\", id = 1 }, { name = \"acme:one\", id = 2 }, { name = \"acme:two\", id = 1 }]\n";
    let owners = Owners::parse(text).unwrap();
    let listed = |owners: &Owners| {
        let names = owners.named().map(|(name, id)| match id {
            Some(id) => format!("{name} {id}"),
            None => name,
        });
        names.collect::<Vec<_>>().join(", ")
    };
    let all = "alice 7, bob, alice, dave 8, acme:one 1, acme:one 2";
    assert_eq!(listed(&owners), all);
    for (removed, meant, left) in [
        (
            "bob",
            Meant::Unknown,
            "alice 7, alice, dave 8, acme:one 1, acme:one 2",
        ),
        (
            "carol",
            Meant::Unknown,
            "bob, alice, dave 8, acme:one 1, acme:one 2",
        ),
        (
            "alice",
            Meant::Number(7),
            "bob, dave 8, acme:one 1, acme:one 2",
        ),
        (
            "acme:two",
            Meant::Unknown,
            "alice 7, bob, alice, dave 8, acme:one 2",
        ),
        (
            "acme:one",
            Meant::Number(1),
            "alice 7, bob, alice, dave 8, acme:one 2",
        ),
    ] {
        let fewer = owners.without(&[meaning(removed, meant)]).unwrap();
        assert_eq!(listed(&fewer), left, "{removed}");
    }
    let fewer = owners.without(&[leaver("carol")]).unwrap();
    assert_eq!(fewer.difference(&owners), " -carol");
}

#[test]
fn whoever_has_the_name_on_the_forge_leaves_and_no_namesake() {
    const ALICES: &str = "{ login = \"alice\", id = 3 }, { login = \"alice\", id = 7 }";
    let text = format!(
        "users = [{ALICES}, {{ login = \"zoe\", id = 9 }}]\n\
         teams = [{{ name = \"acme:core\", id = 2 }}, {{ name = \"acme:core\", id = 3 }}]\n"
    );
    let owners = Owners::parse(&text).unwrap();
    let after = |name: &str, meant| owners.without(&[meaning(name, meant)]);
    let gone = |name: &str, meant| {
        let fewer = after(name, meant).unwrap();
        let ids = |owners: &Owners| {
            let ids = owners.named().map(|(_, id)| id.unwrap());
            ids.collect::<Vec<_>>()
        };
        (ids(&fewer), fewer.difference(&owners))
    };
    for (name, number, left, difference) in [
        ("alice", 7, [3, 9, 2, 3], " -alice"),
        ("alicia", 3, [7, 9, 2, 3], " -alice"),
        ("alice", 9, [3, 7, 2, 3], " -zoe"),
        ("acme:core", 3, [3, 7, 9, 2], " -acme:core"),
        ("acme:kernel", 2, [3, 7, 9, 3], " -acme:core"),
    ] {
        let found = gone(name, Meant::Number(number));
        assert_eq!(found, (left.to_vec(), difference.to_owned()), "{name}");
    }
    assert_eq!(gone("ZOE", Meant::Unknown).1, " -zoe");
    // Without a forge nobody has a number.
    assert_eq!(gone("alice", Meant::Recorded).1, " -alice -alice");
    for (name, meant, sentence) in [
        (
            "alice",
            Meant::Unknown,
            "the forge does not know `alice`, or does not show it, and recorded under that name are number 3 and number 7: remove the one",
        ),
        (
            "acme:core",
            Meant::Unknown,
            "are number 2 and number 3: remove",
        ),
        (
            "zoe",
            Meant::Number(11),
            "`zoe` is number 11 on the forge, which is not an owner of this crate; recorded under that name is number 9: remove the one",
        ),
        (
            "acme:core",
            Meant::Number(4),
            "is number 2 and number 3: remove",
        ),
        (
            "bob",
            Meant::Number(8),
            "`bob` is not an owner of this crate",
        ),
        // The number of a team is no person's.
        ("bob", Meant::Number(2), "`bob` is not an owner"),
        ("bob", Meant::Unknown, "`bob` is not an owner of this crate"),
    ] {
        let said = after(name, meant).unwrap_err().to_string();
        assert!(said.contains(sentence), "{said}");
    }
}

#[test]
fn the_file_is_plain_toml() {
    assert_eq!(
        owners(&["alice", "bob"]).to_string(),
        "users = [{ login = \"alice\" }, { login = \"bob\" }]\n"
    );
    let whole = "users = [{ login = \"alice\", id = 7 }]\nteams = [{ name = \"acme:platform\", id = 3 }]\n\
                 repository = { name = \"acme/serde\", id = 12 }\n";
    assert_eq!(Owners::parse(whole).unwrap().to_string(), whole);
    assert_eq!(
        Owners::parse(whole).unwrap().names(),
        "alice, acme:platform, whoever writes to acme/serde"
    );
}

#[test]
fn a_refusal_names_the_first_twenty() {
    let logins: Vec<String> = (0..22).map(|number| format!("u{number}")).collect();
    let logins: Vec<&str> = logins.iter().map(String::as_str).collect();
    let owners = owners(&logins);
    assert!(owners.names().ends_with("u18, u19 and 2 more"));
    assert!(
        owners
            .numbered()
            .ends_with("u19 (without a number) and 2 more")
    );
}

#[test]
fn the_last_owner_stays() {
    let both = owners(&["alice", "bob"]);
    let one = both.without(&[leaver("alice")]).unwrap();
    assert_eq!(one, owners(&["bob"]));
    let fault = one.without(&[leaver("bob")]).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "a crate must keep at least one owner; add another before `bob` leaves"
    );
    let fault = both.without(&[leaver("bob"), leaver("alice")]).unwrap_err();
    assert_eq!(fault, OwnerFault::Last(name("alice")));
    let fault = both.without(&[leaver("carol")]).unwrap_err();
    assert_eq!(fault.to_string(), "`carol` is not an owner of this crate");
}

#[test]
fn a_file_that_names_somebody_twice_loses_them_at_once() {
    let text = "users = [{ login = \"a\" }, { login = \"b\" }, { login = \"a\", id = 1 }]";
    let fewer = Owners::parse(text)
        .unwrap()
        .without(&[leaver("a")])
        .unwrap();
    assert_eq!(fewer, owners(&["b"]));
}

#[test]
fn hostile_logins_do_not_get_out_of_their_string() {
    for login in [
        "a\\\", id = 1 }, { login = \\\"b",
        "a\\nb",
        "<a>",
        "",
        " a",
        "a\\u0000",
        "../a",
        "a b",
    ] {
        let text = format!("users = [{{ login = \"{login}\" }}]");
        let fault = Owners::parse(&text).unwrap_err();
        assert!(matches!(fault, OwnerFault::Syntax(_)), "{text}");
    }
    let text = "users = []\nteams = [{ name = \"a\\nb\", id = 1 }]";
    assert!(
        Owners::parse(text).is_err(),
        "a team's name stands in refusals"
    );
}

#[test]
fn files_of_another_shape_are_refused() {
    for text in [
        "users = 1",
        "users = [{}]",
        "users = [\"alice\"]",
        "owners = []",
        "users = [{ login = \"a\", x = 1 }]",
        "users = []\nusers = []",
        "teams = [{ name = \"a:b\" }]",
        "users = [{ login = \"a\", id = -1 }]",
        "repository = { name = \"a/b\", id = 99999999999999999999 }",
        "\u{0}",
        "users = [",
    ] {
        assert!(
            matches!(Owners::parse(text), Err(OwnerFault::Syntax(_))),
            "{text}"
        );
    }
    assert_eq!(Owners::parse("").unwrap(), Owners::default());
}

#[test]
fn size_and_depth_are_bounded() {
    let just = format!("#{}", "x".repeat(FILE_BYTES_MAX - 1));
    assert_eq!(Owners::parse(&just), Ok(Owners::default()));
    let huge = format!("# {}\n", "x".repeat(FILE_BYTES_MAX));
    assert_eq!(Owners::parse(&huge), Err(OwnerFault::TooLarge(huge.len())));
    let deep = format!("users = {}", "[".repeat(FILE_BYTES_MAX - 100));
    assert!(matches!(Owners::parse(&deep), Err(OwnerFault::Syntax(_))));
    let dotted = format!("{}x = 1", "a.".repeat(FILE_BYTES_MAX / 2 - 100));
    assert!(matches!(Owners::parse(&dotted), Err(OwnerFault::Syntax(_))));
}

#[test]
fn a_crate_has_at_most_200_owners_and_their_file_always_reads_back() {
    let many: Vec<Owner> = (0..200).map(|n| owner(&format!("user{n}"))).collect();
    let full = Owners::default().with(&many).unwrap();
    assert_eq!(Owners::parse(&full.to_string()).unwrap(), full);
    assert_eq!(
        full.with(&many).unwrap(),
        full,
        "those who are there need no room"
    );
    assert_eq!(full.with(&[owner("one-more")]), Err(OwnerFault::TooMany));
    let entry = "{ login = \"a\" },";
    assert_eq!(
        Owners::parse(&format!("users = [{}]", entry.repeat(201))),
        Err(OwnerFault::TooMany)
    );

    let longest: PlainText = "\"\\".repeat(256).parse().unwrap();
    let team = |id| Team {
        name: longest.clone(),
        id,
    };
    let worst = Owners {
        teams: (0..200).map(|n| team(i64::MAX as u64 - n)).collect(),
        repository: Some(Repository {
            name: longest.clone(),
            id: 0,
        }),
        ..Owners::default()
    };
    assert_eq!(Owners::parse(&worst.to_string()).unwrap(), worst);
}

#[test]
fn a_team_needs_a_forge() {
    assert_eq!(
        "github:acme:platform"
            .parse::<Owner>()
            .unwrap_err()
            .to_string(),
        "`github:acme:platform` names a team; teams need a forge, and this registry runs without one"
    );
    assert!(
        "a\nb:c"
            .parse::<Owner>()
            .unwrap_err()
            .to_string()
            .starts_with(r"`a\nb:c` names a team")
    );
    assert!(matches!("a b".parse::<Owner>(), Err(OwnerFault::Login(_))));
}

mod with_a_forge {
    use super::super::super::principal::{Actor, Job, Person, Proof, Standing};
    use super::*;

    const FILE: &str = "users = [{ login = \"alice\", id = 7 }, { login = \"zoe\" }]\n\
                        teams = [{ name = \"acme:platform\", id = 3 }]\n\
                        repository = { name = \"acme/serde\", id = 12 }\n";

    fn person(login: &str, id: u64) -> Standing {
        let login = login.parse().unwrap();
        Standing::of(Actor::Person(Person { login, id }), Proof::ForgeToken)
    }

    fn job(repository_id: u64) -> Actor {
        Actor::Job(Box::new(Job {
            repository: "acme/serde".parse().unwrap(),
            repository_id,
            workflow: "a.yml".parse().unwrap(),
            run: "4".parse().unwrap(),
            commit: "ab".parse().unwrap(),
        }))
    }

    /// What of publish, yank and own is allowed.
    fn allowed(by: &Standing) -> Vec<Can> {
        let owners = Owners::parse(FILE).unwrap();
        let all = [Can::Publish, Can::Yank, Can::Own];
        all.into_iter()
            .filter(|can| owners.admit(by, *can))
            .collect()
    }

    #[test]
    fn people_are_owners_by_their_number() {
        assert_eq!(
            allowed(&person("alice", 7)),
            [Can::Publish, Can::Yank, Can::Own]
        );
        assert_eq!(allowed(&person("renamed", 7)).len(), 3);
        // The name was given away; and a name without a number is nobody's.
        assert_eq!(allowed(&person("alice", 8)), []);
        assert_eq!(allowed(&person("zoe", 9)), []);
    }

    #[test]
    fn names_alone_are_nobody_of_a_forge() {
        let zoe = "users = [{ login = \"zoe\" }]\n";
        assert!(Owners::parse(zoe).unwrap().are_names_alone());
        for more in [
            "users = [{ login = \"zoe\" }, { login = \"alice\", id = 7 }]\n".to_owned(),
            format!("{zoe}teams = [{{ name = \"acme:platform\", id = 3 }}]\n"),
            format!("{zoe}repository = {{ name = \"acme/serde\", id = 12 }}\n"),
        ] {
            assert!(!Owners::parse(&more).unwrap().are_names_alone(), "{more}");
        }
    }

    #[test]
    fn a_token_of_the_registry_is_a_name_and_a_numbered_owner_is_not() {
        let local = |login: &str, names_suffice| {
            Standing::local(login.parse().unwrap(), [0; 16].into(), names_suffice)
        };
        assert_eq!(allowed(&local("zoe", false)).len(), 3);
        assert_eq!(allowed(&local("alice", false)), []);
        assert_eq!(allowed(&local("alice", true)).len(), 3);
    }

    #[test]
    fn teams_publish_and_yank_and_so_do_those_who_write_to_the_repository() {
        let mut bob = person("bob", 1);
        assert_eq!(allowed(&bob), []);
        bob.teams = vec![3];
        assert_eq!(allowed(&bob), [Can::Publish, Can::Yank]);
        bob.teams = vec![12];
        bob.repositories = vec![3];
        assert_eq!(allowed(&bob), []);
        bob.repositories = vec![12];
        assert_eq!(allowed(&bob), [Can::Publish, Can::Yank]);
    }

    #[test]
    fn a_job_publishes_for_its_repository_and_is_nobody() {
        let mut by = Standing::of(job(12), Proof::ForgeToken);
        assert_eq!(allowed(&by), [], "it was not found to write there");
        by.repositories = vec![12];
        assert_eq!(allowed(&by), [Can::Publish]);
        by.repositories = vec![13];
        assert_eq!(allowed(&by), []);
        by.teams = vec![3];
        assert_eq!(allowed(&by), [], "a job is in no team");
    }

    #[test]
    fn who_creates_a_crate_is_its_owner_and_a_job_makes_its_repository_that() {
        let alice = Owners::first_of(&person("alice", 7).actor);
        assert_eq!(
            alice.to_string(),
            "users = [{ login = \"alice\", id = 7 }]\n"
        );
        let serde = Owners::first_of(&job(12));
        let text = "users = []\nrepository = { name = \"acme/serde\", id = 12 }\n";
        assert_eq!(serde.to_string(), text);
        assert!(alice.are_first_of("alice") && serde.are_first_of("acme/serde"));
        assert!(!alice.are_first_of("bob") && !serde.are_first_of("alice"));
        assert!(!Owners::parse(FILE).unwrap().are_first_of("alice"));
    }

    #[test]
    fn numbers_come_and_go() {
        let owners = Owners::parse(FILE).unwrap();
        let user = |login: &str, id| Owner::User {
            login: login.parse().unwrap(),
            id: Some(id),
        };
        let OwnerName::Team(team) = name("Acme:Core") else {
            panic!("a team")
        };
        let added = [
            user("zoe", 9),
            user("alice", 8),
            Owner::Team { name: team, id: 4 },
        ];
        let more = owners.with(&added).unwrap();
        assert_eq!(more.with(&added).unwrap(), more);
        assert_eq!(
            more.numbered(),
            "alice (number 7), zoe (number 9), alice (number 8), acme:platform, Acme:Core"
        );
        assert_eq!(more.difference(&owners), " +zoe +alice +Acme:Core");
        let fewer = more
            .without(&[
                meaning("ACME:platform", Meant::Unknown),
                meaning("alice", Meant::Number(8)),
            ])
            .unwrap();
        assert_eq!(fewer.difference(&more), " -alice -acme:platform");
        assert_eq!(fewer.team_ids().collect::<Vec<_>>(), [4]);
        assert_eq!(fewer.teams().collect::<Vec<_>>(), [("Acme:Core", 4)]);
        assert_eq!(fewer.repository_id(), Some(12));
        let fault = fewer
            .without(&[meaning("acme:platform", Meant::Unknown)])
            .unwrap_err();
        assert_eq!(
            fault.to_string(),
            "`acme:platform` is not an owner of this crate"
        );
        // Who is there under an older name is there; the name alone is somebody else's.
        assert_eq!(owners.with(&[user("zoe", 7)]).unwrap(), owners);
        let text = "users = [{ login = \"zoe\" }, { login = \"zoe\", id = 9 }]\n";
        let zoe = Owners::parse(text).unwrap();
        assert_eq!(zoe.with(&[user("zoe", 9)]).unwrap(), zoe);
        let named: Vec<_> = owners.named().collect();
        let expected = [
            ("alice", Some(7)),
            ("zoe", None),
            ("acme:platform", Some(3)),
        ];
        assert_eq!(named, expected.map(|(name, id)| (name.to_owned(), id)));
        for text in ["a:", ":b", "github:acme:core", "a b:c", "a:b/c"] {
            let fault = text.parse::<OwnerName>().unwrap_err().to_string();
            assert!(fault.contains("ORGANISATION:TEAM"), "{fault}");
        }
    }

    #[test]
    fn a_team_is_named_with_its_organisation_and_case_does_not_matter() {
        let team = |text: &str| match name(text) {
            OwnerName::Team(team) => team,
            OwnerName::User(login) => panic!("{login} is a person"),
        };
        let platform = team("Acme:Platform");
        assert_eq!(platform.organisation().as_str(), "Acme");
        assert_eq!(platform.team(), "Platform");
        assert_eq!(platform, team("acme:platform"));
        assert_ne!(platform, team("acme:core"));
        assert_ne!(platform, team("other:platform"));
    }
}
