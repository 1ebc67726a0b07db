//! What the operator changes, judged by the git program.

use super::*;

use crate::domain::{Capability, TokenId};
use crate::index::edit::Verdict;
use crate::index::revoked::REVOKED_MAX;

const NEXT_KEY: &str = "keys/signing-ed25519.next";
const KEY: &str = "keys/signing-ed25519";

fn id(number: u8) -> TokenId {
    TokenId::from([number; 16])
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + secs).unwrap()
}

impl Fixture {
    async fn operate(&self, operation: Operation) -> Result<Landed, WriteFault> {
        let deadline = Instant::now() + Duration::from_secs(60);
        self.index.operate(operation, at(0), deadline).await
    }

    async fn revoke(&self, number: u8, until: Timestamp) -> Result<Landed, WriteFault> {
        let id = id(number);
        self.operate(Operation::RevokeToken { id, until }).await
    }

    async fn rotate(&self) -> Result<Landed, WriteFault> {
        let to = self.index.prepare_signing_key().unwrap();
        self.operate(Operation::RotateSigningKey { to }).await
    }

    fn again(self) -> Self {
        let Self { folder, index } = self;
        drop(index);
        let index = open(folder.path(), "http://localhost:1").unwrap();
        Self { folder, index }
    }

    fn read(&self, path: &str) -> Option<Vec<u8>> {
        fs::read(self.folder.path().join(path)).ok()
    }

    /// What git says of each commit, the newest first, with the keys that the tip names: `%G?` is its verdict,
    /// `%GK` the fingerprint of the key that signed.
    fn log(&self, format: &str) -> Vec<String> {
        let signers = self.folder.path().join("signers");
        fs::write(&signers, self.git(&["show", "main:allowed_signers"])).unwrap();
        let setting = format!("gpg.ssh.allowedSignersFile={}", signers.display());
        let format = format!("--format={format}");
        let log = self.git(&["-c", &setting, "log", &format, "main"]);
        log.lines().map(str::to_owned).collect()
    }
}

fn has_ssh_keygen() -> bool {
    Command::new("ssh-keygen").arg("-?").output().is_ok()
}

#[tokio::test]
async fn a_revocation_is_one_commit_of_the_registry_and_lasts() {
    let fixture = Fixture::new();
    let landed = fixture.revoke(7, at(3600)).await.unwrap();
    assert_eq!(fixture.revoke(7, at(3600)).await, Ok(landed));
    let shown = fixture.git(&["log", "-1", "--format=%an %cn%n%B", "main"]);
    assert_eq!(
        shown.trim_end(),
        "Sidecargo Sidecargo\nrevoke token 07070707070707070707070707070707\n\n\
         Token: 07070707070707070707070707070707"
    );
    assert_eq!(
        fixture.git(&["show", "main:revoked.toml"]),
        "# Tokens that were revoked before their time, by their id, and when each expires anyway.\n\
         # Written by the registry itself.\ntokens = [\n  \
         { id = \"07070707070707070707070707070707\", until = \"2026-09-21T15:13:20Z\" },\n]\n"
    );
    let fixture = fixture.again();
    let snapshot = fixture.index.snapshot();
    let revoked = &snapshot.registry().revoked;
    assert!(revoked.contains(&id(7)) && !revoked.contains(&id(8)));
    let found = place(fixture.folder.path()).revoked(snapshot.commit());
    assert_eq!(**revoked, found.unwrap());
    // One that expired long ago is revoked as well: the clock may be ahead.
    let landed = fixture.revoke(8, at(-100_000)).await.unwrap();
    assert_eq!(fixture.revoke(8, at(-100_000)).await, Ok(landed));
    let snapshot = fixture.index.snapshot();
    assert!(snapshot.registry().revoked.contains(&id(8)));
    assert_eq!(fixture.git(&["rev-list", "--count", "main"]).trim(), "3");
    assert_eq!(fixture.git(&["fsck", "--strict", "--full"]), "");
}

#[tokio::test]
async fn whose_token_was_revoked_meanwhile_changes_nothing() {
    let fixture = Fixture::new();
    fixture.revoke(0, at(3600)).await.unwrap();
    let refused = fixture.submit("alice", publish("a", "1.0.0", 1)).await;
    let revoked = Refusal::Revoked(id(0));
    assert_eq!(refused, Err(WriteFault::Refused(revoked)));
}

#[tokio::test]
async fn who_may_read_and_the_secret_of_downloads_change_while_it_is_served() {
    let fixture = Fixture::new();
    let secret = |byte| Capability::from([byte; 16]);
    let show = |to, byte| Operation::Show {
        to,
        capability: Some(secret(byte)),
    };
    let rotate = |byte| Operation::RotateDownloads {
        fresh: secret(byte),
    };
    let shown = || {
        let snapshot = fixture.index.snapshot();
        let identity = &snapshot.registry().identity;
        (identity.visibility, identity.capability.clone())
    };
    let before = fixture.index.snapshot().commit();
    let same = fixture.operate(show(Visibility::Public, 1)).await.unwrap();
    assert_eq!((same.commit, shown()), (before, (Visibility::Public, None)));
    fixture.operate(rotate(1)).await.unwrap_err();
    fixture.operate(show(Visibility::Private, 1)).await.unwrap();
    assert_eq!(shown(), (Visibility::Private, Some(secret(1))));
    fixture.operate(rotate(2)).await.unwrap();
    assert_eq!(shown(), (Visibility::Private, Some(secret(2))));
    // What all have seen opens nothing later.
    fixture.operate(show(Visibility::Public, 3)).await.unwrap();
    assert_eq!(shown(), (Visibility::Public, None));
}

#[test]
fn the_last_place_for_a_revoked_token_is_given_and_read_back() {
    let fixture = Fixture::new();
    let entry = |number| format!("{{ id = \"{number:032x}\", until = \"2099-01-01T00:00:00Z\" }},");
    let entries: String = (1..REVOKED_MAX).map(entry).collect();
    let nearly = Revoked::parse(format!("tokens = [{entries}]").as_bytes()).unwrap();
    let judge = |revoked: &Revoked| {
        let mut snapshot = Snapshot::clone(&fixture.index.snapshot());
        let mut registry = RegistryFiles::clone(snapshot.registry());
        registry.revoked = Arc::new(revoked.clone());
        snapshot.registry = Arc::new(registry);
        let (id, until) = (id(0xff), at(60));
        Operation::RevokeToken { id, until }.judge(&snapshot, at(0))
    };
    assert!(matches!(judge(&nearly), Ok(Verdict::Edit(_))));
    let full = nearly.with(id(0xee), at(60), at(0));
    assert_eq!(full.len(), REVOKED_MAX);
    assert!(matches!(judge(&full), Err(OperationFault::TooManyRevoked)));
    // An index that holds it must open.
    assert_eq!(Revoked::parse(full.to_toml().as_bytes()).unwrap(), full);
}

#[tokio::test]
async fn operations_land_in_the_groups_of_changes() {
    let fixture = Fixture::new();
    let (published, revoked, rotated) = tokio::join!(
        fixture.submit("alice", publish("a", "1.0.0", 1)),
        fixture.revoke(1, at(60)),
        fixture.rotate(),
    );
    for landed in [published, revoked, rotated] {
        landed.unwrap();
    }
    fixture.revoke(2, at(60)).await.unwrap();
    let fixture = fixture.again();
    let snapshot = fixture.index.snapshot();
    assert!(snapshot.find(&"a".parse().unwrap()).is_some());
    assert_eq!(snapshot.registry().revoked.len(), 2);
    assert_eq!(fixture.git(&["rev-list", "--count", "main"]).trim(), "5");
    assert_eq!(fixture.git(&["fsck", "--strict", "--full"]), "");
}

#[tokio::test]
async fn a_new_signing_key_is_added_by_the_old_one_and_signs_what_follows() {
    let fixture = Fixture::new();
    let old = fixture.read(KEY).unwrap();
    let before = fixture.git(&["show", "main:allowed_signers"]);
    fixture.rotate().await.unwrap();
    let after = fixture.git(&["show", "main:allowed_signers"]);
    let added = after.strip_prefix(&before).unwrap();
    assert_eq!(added.trim(), added.trim_end_matches('\n'));
    assert_eq!(added.lines().count(), 1);
    let new = fixture.read(KEY).unwrap();
    assert_ne!(old, new);
    assert_eq!(fixture.read(NEXT_KEY), None);
    fixture.lands("alice", publish("a", "1.0.0", 1)).await;
    let fixture = fixture.again();
    fixture.revoke(1, at(60)).await.unwrap();
    assert_eq!(fixture.read(KEY).unwrap(), new, "a restart keeps the key");
    if !has_ssh_keygen() {
        return;
    }
    assert_eq!(
        fixture.log("%G? %s"),
        [
            "G revoke token 01010101010101010101010101010101",
            "G publish a 1.0.0",
            "G add signing key",
            "G found the registry crates",
        ]
    );
    let signers = fixture.log("%GK");
    assert_eq!(signers[0], signers[1]);
    assert_eq!(signers[2], signers[3]);
    assert_ne!(signers[1], signers[2]);
    let trailer = fixture.git(&["log", "-1", "--skip=2", "--format=%(trailers:only)", "main"]);
    assert_eq!(trailer.trim_end(), format!("Signing-key: {}", signers[0]));
}

#[tokio::test]
async fn a_rotation_that_was_killed_anywhere_is_taken_up_again() {
    // After the key was made: it does not sign, and the next rotation uses it.
    let fixture = Fixture::new();
    let old = fixture.read(KEY).unwrap();
    let prepared = fixture.index.prepare_signing_key().unwrap();
    let next = fixture.read(NEXT_KEY).unwrap();
    let fixture = fixture.again();
    assert_eq!(fixture.read(KEY).unwrap(), old);
    assert_eq!(fixture.index.prepare_signing_key().unwrap(), prepared);
    fixture.rotate().await.unwrap();
    assert_eq!(fixture.read(KEY).unwrap(), next);

    // After the commit: both keys are trusted, and the start finishes it.
    let landed = fixture.index.snapshot().commit();
    fs::write(fixture.folder.path().join(NEXT_KEY), &next).unwrap();
    fs::write(fixture.folder.path().join(KEY), &old).unwrap();
    let fixture = fixture.again();
    assert_eq!(fixture.read(KEY).unwrap(), next);
    assert_eq!(fixture.read(NEXT_KEY), None);
    assert_eq!(
        fixture.index.snapshot().commit(),
        landed,
        "no further commit"
    );
    fixture.revoke(1, at(60)).await.unwrap();
    if has_ssh_keygen() {
        let signers = fixture.log("%GK");
        assert_ne!(signers[0], signers[1], "the new key signs");
        assert!(fixture.log("%G?").iter().all(|verdict| verdict == "G"));
    }
}

#[tokio::test]
async fn a_key_that_the_index_does_not_trust_yet_never_signs() {
    let fixture = Fixture::new();
    fixture.rotate().await.unwrap();
    // Of two rotations at once the slower one asks for what is done, while a third prepares.
    let trusted = {
        let key = SigningKey::open_or_create(&fixture.folder.path().join("keys")).unwrap();
        key.signer().unwrap()
    };
    let key = fixture.read(KEY);
    fixture.index.prepare_signing_key().unwrap();
    let landed = fixture.index.snapshot().commit();
    let answer = fixture
        .operate(Operation::RotateSigningKey { to: trusted })
        .await;
    assert_eq!(answer, Ok(Landed { commit: landed }));
    assert_eq!(fixture.read(KEY), key);
    assert!(fixture.read(NEXT_KEY).is_some());
}
