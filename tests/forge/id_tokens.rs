//! People who signed in at the forge and come with what it signed for them.

use std::fs;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header, decode_header, encode};
use serde_json::{Value, json};

use super::beside::{Beside, DEVELOPER, Wanted, publish};
use super::gitea::{Gitea, Settings, Signing};
use super::scene::User;
use super::sign_in::{Tokens, claims};
use crate::common::http::Reply;
use crate::common::upload::Release;
use crate::common::watch::eventually;

const SCOPE: &str = "openid profile groups";

/// A private registry that is an application of the forge, and somebody who may read it.
struct SignedIn<'forge> {
    beside: Beside<'forge>,
    client: String,
    alice: User,
    tokens: Tokens,
}

impl<'forge> SignedIn<'forge> {
    #[track_caller]
    fn start(forge: &'forge Gitea) -> Self {
        let client = forge.application();
        let beside = Beside::start_as(forge, &Wanted::private().signs_in(&client));
        let alice = forge.user("alice");
        forge.collaborate(&beside.repository, &alice, "read");
        let tokens = forge.sign_in(&alice, &client, SCOPE);
        beside.registry.look_for(&tokens.id);
        Self {
            beside,
            client,
            alice,
            tokens,
        }
    }

    #[track_caller]
    fn id_token(&self, user: &User) -> String {
        let token = self.beside.forge.sign_in(user, &self.client, SCOPE).id;
        self.beside.registry.look_for(&token);
        token
    }

    #[track_caller]
    fn upload(&self, token: &str) -> Reply {
        Release::new("greeter", "9.9.9").publish(self.beside.registry.port, token)
    }

    /// Panics unless the token is refused for reading and for writing, with this sentence.
    #[track_caller]
    fn assert_refused(&self, token: &str, sentence: &str) {
        for reply in [self.beside.read(token), self.upload(token)] {
            assert_eq!(reply.status, 401, "{reply:?}");
            let said = reply.refusal();
            assert!(said.contains(sentence), "{said}");
        }
    }
}

#[test]
fn a_person_who_signed_in_reads_and_publishes_with_their_id_token() {
    let Some(forge) = Gitea::shared() else { return };
    let scene = SignedIn::start(forge);
    let beside = &scene.beside;
    let person = beside.developer(&scene.tokens.id);
    publish(&person, "0.1.0").succeeds();
    let newest = beside.newest();
    let (login, id) = (&scene.alice.login, scene.alice.id);
    assert!(newest.starts_with(&format!("{login}\n")), "{newest}");
    let via = format!("\nAuthenticated-via: id-token of user {id}\n");
    assert!(newest.contains(&via), "{newest}");
    let number = format!("{{ login = \"{login}\", id = {id} }}");
    assert!(beside.file("owners/gr/ee/greeter.toml").contains(&number));
    let bearer = beside.developer(&format!("Bearer {}", scene.tokens.id));
    publish(&bearer, "0.1.1").succeeds();

    // Somebody who signed in, and whom the index repository is not shown.
    let stranger = forge.user("bob");
    let token = scene.id_token(&stranger);
    for reply in [beside.read(&token), scene.upload(&token)] {
        assert_eq!(reply.status, 403, "{reply:?}");
    }
    let said = beside.read(&token).refusal();
    assert!(said.contains("may not read the index repository"), "{said}");
    // And once they may read, they own nothing yet.
    forge.collaborate(&beside.repository, &stranger, "read");
    let said = scene.upload(&scene.id_token(&stranger)).refusal();
    assert!(said.contains("is not an owner of the crate"), "{said}");
    beside.tip();
}

#[test]
fn a_team_is_asked_for_by_its_number_whatever_an_id_token_calls_it() {
    let Some(forge) = Gitea::shared() else { return };
    let scene = SignedIn::start(forge);
    let beside = &scene.beside;
    let acme = forge.organisation("acme");
    let platform = forge.team(&acme, "Platform", "write");
    forge.join(&platform, &scene.alice);
    let alice = beside.developer(&beside.token(&scene.alice, &DEVELOPER));
    publish(&alice, "0.1.0").succeeds();
    let add = ["owner", "--add", &format!("{acme}:platform"), "greeter"];
    let add = [&add[..], &["--registry", "crates"]].concat();
    alice.cargo(&alice.work(), &add).succeeds();

    let bob = forge.user("bob");
    forge.collaborate(&beside.repository, &bob, "read");
    forge.join(&platform, &bob);
    let token = scene.id_token(&bob);
    let of_bob = beside.developer(&token);
    // The server's own account asks, and is told nothing of a team that it is not in.
    let robots = forge.team(&acme, "Robots", "read");
    for robots in [None, Some(&robots)] {
        if let Some(robots) = robots {
            forge.join(robots, &beside.robot);
        }
        let refused = publish(&of_bob, "0.1.1");
        let refused = refused.fails_with("is not an owner of the crate `greeter`");
        refused.fails_with("only if the registry's own account at the forge is in it too");
    }
    let log = beside.registry.log();
    assert!(log.contains("is not told who is in a team"), "{log}");
    forge.join(&platform, &beside.robot);
    publish(&of_bob, "0.1.1").succeeds();
    forge.rename_team(&platform, "Core");
    let of_bob = beside.developer(&scene.id_token(&bob));
    publish(&of_bob, "0.1.2").succeeds();
    // What the token says is an hour old, perhaps; the forge knows of today.
    forge.leave(&platform, &bob);
    publish(&of_bob, "0.1.3").fails_with("is not an owner of the crate `greeter`");
}

#[test]
fn who_hides_their_profile_is_told_what_helps() {
    let Some(forge) = Gitea::shared() else { return };
    let client = forge.application();
    let wanted = Wanted {
        robot: "write",
        ..Wanted::default().signs_in(&client)
    };
    let beside = Beside::start_as(forge, &wanted);
    let alice = forge.user("alice");
    let token = forge.sign_in(&alice, &client, SCOPE).id;
    let publish = |version: &str, token: &str| {
        Release::new("greeter", version).publish(beside.registry.port, token)
    };
    beside.registry.look_for(&token);
    publish("0.1.0", &token).succeeds();
    forge.show_profile(&alice, "private");
    let refused = publish("0.1.1", &token);
    assert_eq!(refused.status, 403, "{refused:?}");
    let said = refused.refusal();
    assert!(said.contains("its profile is hidden"), "{said}");
    publish("0.1.1", &beside.token(&alice, &DEVELOPER)).succeeds();
    forge.show_profile(&alice, "limited");
    publish("0.1.2", &token).succeeds();
}

/// What the forge itself signs with.
struct Signer {
    key: EncodingKey,
    header: Header,
}

impl Signer {
    fn of(forge: &Gitea, like: &str) -> Self {
        let pem = fs::read_to_string(forge.signing_key()).unwrap();
        let lines: Vec<&str> = pem.lines().filter(|line| !line.contains("---")).collect();
        let der = BASE64_STANDARD.decode(lines.concat()).unwrap();
        Self {
            key: EncodingKey::from_ec_der(&der),
            header: decode_header(like).unwrap(),
        }
    }

    /// A token with these claims.
    fn sign(&self, claims: &Value) -> String {
        encode(&self.header, claims, &self.key).unwrap()
    }
}

#[test]
fn no_other_token_that_the_forge_signed_is_taken_for_one() {
    let Some(forge) = Gitea::shared() else { return };
    let scene = SignedIn::start(forge);
    let good = &scene.tokens.id;
    let access = "this is an OAuth access token, which says neither who you are nor for whom it is";
    scene.assert_refused(&scene.tokens.access, access);
    scene.assert_refused(&scene.tokens.refresh, "this is an OAuth refresh token");
    let other = forge.sign_in(&scene.alice, &forge.application(), SCOPE).id;
    scene.assert_refused(&other, "the claim `aud` of the token");

    let signer = Signer::of(forge, good);
    let now = Timestamp::now().as_second();
    let with = |changes: &[(&str, Value)]| {
        let mut claims = claims(good);
        for (name, value) in changes {
            claims[*name] = value.clone();
        }
        signer.sign(&claims)
    };
    // This is how the others differ from one that is good.
    scene.beside.read(&with(&[])).succeeds();
    let both = json!([scene.client, "another"]);
    let elsewhere = "the claim `iss` of the token";
    for (changes, sentence) in [
        (
            vec![("aud", json!("another"))],
            "the claim `aud` of the token",
        ),
        (vec![("aud", both)], "the claim `aud` of the token"),
        (vec![("iss", json!("https://git.example.com"))], elsewhere),
        (vec![("iss", json!(format!("{}/", forge.url())))], elsewhere),
        // This forge does not sign for its jobs.
        (
            vec![("iss", json!(format!("{}/api/actions", forge.url())))],
            "this forge signs no such tokens",
        ),
        (vec![("sub", json!("0"))], "the claim `sub`"),
        (vec![("sub", json!(scene.alice.id))], "the claim `sub`"),
        (
            vec![("iat", json!(now - 3600)), ("exp", json!(now - 120))],
            "the token expired at",
        ),
        (
            vec![("iat", json!(now + 86_400))],
            "the token is not good before",
        ),
    ] {
        scene.assert_refused(&with(&changes), sentence);
    }
    // Of somebody else's hand.
    let (head, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = head.split_once('.').unwrap();
    let part = |json: Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
    let mut changed = claims(good);
    changed["sub"] = "1".into();
    let changed = part(changed);
    let sentence = "the signature of the token is wrong";
    scene.assert_refused(&format!("{header}.{changed}.{signature}"), sentence);
    let kid = signer.header.kid.clone().unwrap();
    let unsigned = part(json!({ "alg": "none", "kid": kid, "typ": "JWT" }));
    scene.assert_refused(&format!("{unsigned}.{changed}."), sentence);
    // The public key as if it were a secret.
    let keys = forge.anonymous().ask("/login/oauth/keys").succeeds().json();
    let secret = BASE64_URL_SAFE_NO_PAD
        .decode(keys["keys"][0]["x"].as_str().unwrap())
        .unwrap();
    let mut shared = Header::new(Algorithm::HS256);
    shared.kid = Some(kid);
    for secret in [secret, keys["keys"][0].to_string().into_bytes()] {
        let token = encode(&shared, &claims(good), &EncodingKey::from_secret(&secret)).unwrap();
        scene.assert_refused(&token, "the token is signed with a shared secret");
    }
}

#[test]
fn an_id_token_that_is_too_old_to_write_with_still_reads() {
    let Some(forge) = Gitea::shared() else { return };
    let scene = SignedIn::start(forge);
    let mut old = claims(&scene.tokens.id);
    let now = Timestamp::now().as_second();
    old["iat"] = (now - 700).into();
    let old = Signer::of(forge, &scene.tokens.id).sign(&old);
    scene.beside.read(&old).succeeds();
    let refused = scene.upload(&old);
    assert_eq!(refused.status, 401, "{refused:?}");
    let said = refused.refusal();
    assert!(said.contains("must be less than ten minutes old"), "{said}");
    publish(&scene.beside.developer(&scene.tokens.id), "0.1.0").succeeds();
}

#[test]
fn a_forge_that_changes_its_key_is_followed() {
    let Some(mut forge) = Gitea::start() else {
        return;
    };
    let (registry, client, alice, old, _secret) = {
        let scene = SignedIn::start(&forge);
        scene.beside.read(&scene.tokens.id).succeeds();
        let Beside {
            registry, secret, ..
        } = scene.beside;
        (registry, scene.client, scene.alice, scene.tokens.id, secret)
    };
    let upload =
        |token: &str, version: &str| Release::new("greeter", version).publish(registry.port, token);
    upload(&old, "0.1.0").succeeds();
    forge.stop();
    fs::remove_file(forge.signing_key()).unwrap();
    // Another kind of key, too.
    forge.settings.signing = Signing::Rs256;
    forge.start_again();
    let new = forge.sign_in(&alice, &client, SCOPE).id;
    registry.look_for(&new);
    // The forge is asked for a key that is not known, though not at once again.
    eventually("the new key is known", || {
        let reply = upload(&new, "0.1.1");
        if reply.status != 200 {
            let said = reply.refusal();
            assert!(
                said.contains("a key that the forge does not have"),
                "{said}"
            );
            return None;
        }
        Some(())
    });
    let refused = upload(&old, "0.1.2");
    assert_eq!(refused.status, 401, "{refused:?}");
    let said = refused.refusal();
    assert!(
        said.contains("a key that the forge does not have"),
        "{said}"
    );
}

#[test]
fn a_forge_may_call_itself_otherwise_than_the_server_does() {
    let settings = Settings {
        host: "localhost",
        ..Settings::default()
    };
    let Some(forge) = Gitea::start_with(settings) else {
        return;
    };
    let scene = SignedIn::start(&forge);
    scene.assert_refused(&scene.tokens.id, "the claim `iss` of the token");
    let wanted = Wanted::private().signs_in(&scene.client);
    let issuer = format!("http://localhost:{}", forge.port);
    let wanted = Wanted {
        of_forge: format!("{}issuer = \"{issuer}\"\n", wanted.of_forge),
        ..wanted
    };
    let beside = Beside::start_as(&forge, &wanted);
    forge.collaborate(&beside.repository, &scene.alice, "read");
    assert_eq!(claims(&scene.tokens.id)["iss"], issuer);
    publish(&beside.developer(&scene.tokens.id), "0.1.0").succeeds();
}

#[test]
fn a_forge_that_signs_with_secrets_is_told_what_to_set() {
    let settings = Settings {
        signing: Signing::Hs256,
        ..Settings::default()
    };
    let Some(forge) = Gitea::start_with(settings) else {
        return;
    };
    let scene = SignedIn::start(&forge);
    let sentence = "its administrator can set JWT_SIGNING_ALGORITHM to RS256 or ES256";
    scene.assert_refused(&scene.tokens.id, sentence);
    // An access token works meanwhile.
    let token = scene.beside.token(&scene.alice, &DEVELOPER);
    publish(&scene.beside.developer(&token), "0.1.0").succeeds();
}
