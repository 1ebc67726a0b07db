//! What the tokens of somebody who signed in say, and by which keys they are checked.

use std::collections::BTreeSet;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Value, json};

use crate::forge::api::text;
use crate::forge::gitea::{Gitea, Settings, Signing};
use crate::forge::sign_in::{NONCE, Tokens, claims};

const SCOPE: &str = "openid profile groups";

#[track_caller]
fn discovery(forge: &Gitea) -> Value {
    let path = "/.well-known/openid-configuration";
    forge.anonymous().ask(path).succeeds().json()
}

#[track_caller]
fn keys(forge: &Gitea) -> Value {
    let place = text(&discovery(forge), "jwks_uri");
    let path = place.strip_prefix(&forge.url()).expect("it is the forge's");
    forge.anonymous().ask(path).succeeds().json()
}

/// The claims of an id token, whose signature and audience must hold by the forge's own keys.
#[track_caller]
fn proved(forge: &Gitea, token: &str, client_id: &str) -> Value {
    let keys: JwkSet = serde_json::from_value(keys(forge)).unwrap();
    let [key] = keys.keys.as_slice() else {
        panic!("not one key: {keys:?}");
    };
    let header = decode_header(token).unwrap();
    assert!(header.kid.is_some());
    assert_eq!(header.kid, key.common.key_id);
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&[client_id]);
    validation.set_issuer(&[forge.url()]);
    let key = DecodingKey::from_jwk(key).unwrap();
    decode::<Value>(token, &key, &validation).unwrap().claims
}

#[test]
fn an_id_token_says_who_it_is_and_for_whom() {
    let Some(forge) = Gitea::shared() else { return };
    let alice = forge.user("alice");
    let client = forge.application();
    let tokens = forge.sign_in(&alice, &client, SCOPE);
    let claims = proved(forge, &tokens.id, &client);
    assert_eq!(claims["iss"], forge.url());
    assert_eq!(claims["iss"], discovery(forge)["issuer"]);
    assert_eq!(claims["aud"], json!([client]));
    assert_eq!(claims["sub"], alice.id.to_string());
    assert_eq!(claims["preferred_username"], alice.login);
    assert_eq!(claims["nonce"], NONCE);
    assert_eq!(
        claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
        3600
    );
    for absent in ["groups", "azp", "jti", "auth_time"] {
        assert_eq!(claims.get(absent), None, "{claims}");
    }
}

#[test]
fn groups_are_there_for_who_is_in_an_organisation() {
    let Some(forge) = Gitea::shared() else { return };
    let alice = forge.user("alice");
    let acme = forge.organisation("Acme");
    let team = forge.team(&acme, "Platform", "write");
    forge.join(&team, &alice);
    let client = forge.application();
    let tokens = forge.sign_in(&alice, &client, SCOPE);
    let groups = json!([acme, format!("{acme}:platform")]);
    assert_eq!(proved(forge, &tokens.id, &client)["groups"], groups);
    // They are those of the moment, also in what is refreshed.
    forge.leave(&team, &alice);
    let fresh = forge.refresh(&tokens, &client);
    assert_eq!(proved(forge, &fresh.id, &client).get("groups"), None);
}

#[test]
fn the_other_tokens_say_neither_who_nor_for_whom() {
    let Some(forge) = Gitea::shared() else { return };
    let alice = forge.user("alice");
    let client = forge.application();
    let Tokens {
        id,
        access,
        refresh,
    } = forge.sign_in(&alice, &client, SCOPE);
    for (token, kind) in [(&access, 0), (&refresh, 1)] {
        let claims = claims(token);
        let names: BTreeSet<&str> = claims
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(names, BTreeSet::from(["exp", "gnt", "iat", "tt"]));
        assert_eq!(claims["tt"], kind);
    }
    // The forge itself takes one of the three.
    let asked = |token: &str| forge.with_bearer(token).get("/user").status;
    assert_eq!(
        [asked(&access), asked(&refresh), asked(&id)],
        [200, 401, 401]
    );
}

#[test]
fn a_forge_that_signs_with_secrets_says_so_and_shows_no_key() {
    let settings = Settings {
        signing: Signing::Hs256,
        ..Settings::default()
    };
    let Some(forge) = Gitea::start_with(settings) else {
        return;
    };
    let algorithms = &discovery(&forge)["id_token_signing_alg_values_supported"];
    assert_eq!(*algorithms, json!(["HS256"]));
    let keys = keys(&forge);
    assert_eq!(
        keys,
        json!({ "keys": [{ "alg": "HS256", "kty": "oct", "use": "sig" }] })
    );
    let tokens = forge.sign_in(&forge.user("alice"), &forge.application(), SCOPE);
    let header = decode_header(&tokens.id).unwrap();
    assert_eq!((header.alg, header.kid), (Algorithm::HS256, None));
}

#[test]
fn a_forge_that_signs_with_rsa_shows_one_key() {
    let settings = Settings {
        signing: Signing::Rs256,
        ..Settings::default()
    };
    let Some(forge) = Gitea::start_with(settings) else {
        return;
    };
    let algorithms = &discovery(&forge)["id_token_signing_alg_values_supported"];
    assert_eq!(*algorithms, json!(["RS256"]));
    let keys = keys(&forge);
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1, "{keys}");
    assert_eq!(keys["keys"][0]["kty"], "RSA");
}
