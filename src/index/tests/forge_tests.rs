//! Changes of people and jobs of the forge: what their commits say, and whom owners admit.

use super::*;

fn by(actor: Actor) -> Standing {
    Standing::of(actor, Proof::ForgeToken)
}

fn person(login: &str, id: u64) -> Standing {
    let login = login.parse().unwrap();
    by(Actor::Person(Person { login, id }))
}

fn job() -> Standing {
    let job = Job {
        repository: "acme/serde".parse().unwrap(),
        repository_id: 12,
        workflow: "release.yml".parse().unwrap(),
        run: "4".parse().unwrap(),
        commit: "ab".repeat(20).parse().unwrap(),
    };
    Standing {
        repositories: vec![12],
        ..by(Actor::Job(Box::new(job)))
    }
}

impl Fixture {
    async fn submit_as(&self, by: Standing, action: Action) -> Result<Landed, WriteFault> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let change = Change {
            by,
            ..change("nobody", action)
        };
        self.index.submit(change, deadline).await
    }

    fn owners_of(&self, name: &str) -> String {
        let name = name.parse().unwrap();
        self.index
            .snapshot()
            .find(&name)
            .unwrap()
            .owners
            .to_string()
    }
}

#[tokio::test]
async fn the_commit_of_a_job_names_its_run_and_its_repository_becomes_the_owner() {
    let fixture = Fixture::new();
    let refused = fixture
        .submit_as(person("bob", 8), publish("dep", "1.0.0", 1))
        .await;
    refused.unwrap();
    fixture
        .submit_as(job(), publish("Serde", "1.0.0", 2))
        .await
        .unwrap();
    assert_eq!(
        fixture.owners_of("Serde"),
        "users = []\nrepository = { name = \"acme/serde\", id = 12 }\n"
    );
    let commit = fixture.git(&["log", "-1", "--format=%an <%ae>%n%B", "main"]);
    let cksum = Cksum::from([2; 32]);
    assert_eq!(
        commit.trim_end(),
        format!(
            "acme/serde <acme/serde@jobs.sidecargo.invalid>\n\
             publish Serde 1.0.0\n\n\
             Crate: Serde\nVersion: 1.0.0\nCksum: {cksum}\nPublished-by: acme/serde\n\
             Authenticated-via: job forge token of repository 12\nCI-workflow: release.yml\nCI-run: 4\n\
             CI-commit: {}\nRequest-id: 0123",
            "ab".repeat(20)
        )
    );
    fixture
        .submit_as(job(), publish("Serde", "1.0.1", 3))
        .await
        .unwrap();

    // Whoever reads the history finds each commit as it should be, but for the files, which this store does not have.
    let folder = fixture.folder.path();
    let report = verify(&place(folder), &blobs(folder), None, &mut |_| {}).unwrap();
    assert_eq!((report.commits, report.signed), (4, 4));
    let is_of_file = |fault: &Fault| fault.what.starts_with("the crate file of ");
    assert!(report.faults.iter().all(is_of_file), "{:?}", report.faults);
}

#[tokio::test]
async fn on_a_forge_the_number_is_the_owner() {
    let fixture = Fixture::new();
    fixture
        .submit_as(person("alice", 7), publish("a", "1.0.0", 1))
        .await
        .unwrap();
    assert_eq!(
        fixture.owners_of("a"),
        "users = [{ login = \"alice\", id = 7 }]\n"
    );
    let said = fixture.git(&[
        "log",
        "-1",
        "--format=%(trailers:key=Authenticated-via)",
        "main",
    ]);
    assert_eq!(said.trim(), "Authenticated-via: forge token of user 7");
    let renamed = fixture
        .submit_as(person("alicia", 7), publish("a", "1.0.1", 2))
        .await;
    renamed.unwrap();
    let other = fixture
        .submit_as(person("alice", 9), publish("a", "1.0.2", 3))
        .await;
    assert_eq!(
        other.unwrap_err().to_string(),
        "`alice (number 9)` is not an owner of the crate `a`; its owners are alice (number 7)"
    );
    let stranger = fixture
        .submit_as(person("bob", 8), publish("a", "1.0.2", 3))
        .await;
    assert_eq!(
        stranger.unwrap_err().to_string(),
        "`bob` is not an owner of the crate `a`; its owners are alice"
    );
    // What was found out of somebody is compared with the owners of the moment.
    let mut bob = person("bob", 8);
    bob.teams = vec![3];
    let early = fixture
        .submit_as(bob.clone(), publish("a", "1.0.2", 3))
        .await;
    assert!(matches!(
        early,
        Err(WriteFault::Refused(Refusal::NotAnOwner { .. }))
    ));
    let OwnerName::Team(team) = "acme:platform".parse().unwrap() else {
        panic!("a team")
    };
    let add = Action::AddOwners {
        name: "a".parse().unwrap(),
        owners: vec![Owner::Team { name: team, id: 3 }],
    };
    fixture.submit_as(person("alice", 7), add).await.unwrap();
    let subject = fixture.git(&["log", "-1", "--format=%s", "main"]);
    assert_eq!(subject, "own a +acme:platform\n");
    fixture
        .submit_as(bob, publish("a", "1.0.2", 3))
        .await
        .unwrap();
}

#[tokio::test]
async fn what_only_a_pull_request_changes_is_told_with_its_line() {
    let fixture = Fixture::new();
    let alice = || person("alice", 7);
    let published = fixture.submit_as(alice(), publish("a", "1.0.0", 1)).await;
    published.unwrap();
    let refused = fixture.submit_as(job(), publish("a", "1.0.1", 2)).await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        "`acme/serde` is not an owner of the crate `a`; its owners are alice; its jobs publish this crate once a pull \
         request on the index has put `repository = { name = \"acme/serde\", id = 12 }` into `owners/1/a.toml`"
    );
    let published = fixture.submit_as(job(), publish("b", "1.0.0", 3)).await;
    published.unwrap();
    let add = Action::AddOwners {
        name: "b".parse().unwrap(),
        owners: vec![Owner::User {
            login: "alice".parse().unwrap(),
            id: Some(7),
        }],
    };
    let pusher = Standing {
        repositories: vec![12],
        ..alice()
    };
    let refused = fixture.submit_as(pusher, add).await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        "`alice` is not an owner of the crate `b`; its owners are whoever writes to acme/serde; only people who are \
         named there change owners: name some by a pull request on the index, in `owners/1/b.toml`, as \
         `users = [{ login = \"alice\", id = 7 }]`"
    );
    // Nor is anybody sent there for whom the owners, or another token, will do.
    let leave = Action::RemoveOwners {
        name: "a".parse().unwrap(),
        owners: vec!["alice".parse().unwrap()],
    };
    for action in [publish("b", "1.0.1", 4), leave] {
        let refused = fixture.submit_as(person("bob", 8), action).await;
        let said = refused.unwrap_err().to_string();
        assert!(said.contains("`bob` is not an owner"), "{said}");
        assert!(!said.contains("pull request"), "{said}");
    }
}

#[tokio::test]
async fn who_signed_in_is_told_why_their_team_may_not_be_known() {
    let fixture = Fixture::new();
    let alice = || person("alice", 7);
    let published = fixture.submit_as(alice(), publish("a", "1.0.0", 1)).await;
    published.unwrap();
    let OwnerName::Team(team) = "acme:platform".parse().unwrap() else {
        panic!("a team")
    };
    let add = || Action::AddOwners {
        name: "a".parse().unwrap(),
        owners: vec![Owner::Team {
            name: team.clone(),
            id: 3,
        }],
    };
    fixture.submit_as(alice(), add()).await.unwrap();
    let snapshot = fixture.index.snapshot();
    let is_told = |proof, action| {
        let by = Standing {
            proof,
            ..person("bob", 8)
        };
        let change = Change {
            by,
            ..change("nobody", action)
        };
        let said = change.judge(&snapshot).err().unwrap().to_string();
        said.contains("found in a team only if")
    };
    assert!(is_told(Proof::IdToken, yank("a", "1.0.0", true)));
    // The forge tells the teams of whoever shows their own token, and no team may change owners.
    assert!(!is_told(Proof::ForgeToken, yank("a", "1.0.0", true)));
    assert!(!is_told(Proof::IdToken, add()));
}

#[tokio::test]
async fn whom_a_state_names_beyond_an_earlier_one_is_told_once_with_a_file() {
    let fixture = Fixture::new();
    let alice = || person("alice", 7);
    for (name, seed) in [("a", 1), ("b", 2)] {
        let published = fixture.submit_as(alice(), publish(name, "1.0.0", seed));
        published.await.unwrap();
    }
    let before = fixture.index.snapshot();
    let OwnerName::Team(team) = "acme:platform".parse().unwrap() else {
        panic!("a team")
    };
    let add = Action::AddOwners {
        name: "a".parse().unwrap(),
        owners: vec![Owner::Team { name: team, id: 3 }],
    };
    fixture.submit_as(alice(), add).await.unwrap();
    let published = fixture.submit_as(job(), publish("c", "1.0.0", 3));
    published.await.unwrap();
    let after = fixture.index.snapshot();
    let told = |earlier: Option<&Snapshot>| {
        let named = after.named_owners(earlier).into_iter();
        let words = named.map(|(it, file)| format!("{} {:?} {file}", it.called, it.id));
        words.collect::<Vec<_>>()
    };
    let fresh = [
        "acme:platform Some(3) owners/1/a.toml",
        "acme/serde Some(12) owners/1/c.toml",
    ];
    assert_eq!(told(Some(&before)), fresh);
    assert_eq!(told(Some(&after)), [""; 0]);
    // Of two crates that are alice's the first one names her.
    let alices = "alice Some(7) owners/1/a.toml";
    assert_eq!(told(None), [alices, fresh[0], fresh[1]]);
}
