use std::fs;
use std::sync::LazyLock;

use jsonwebtoken::EncodingKey;
use jsonwebtoken::crypto::sign;
use proptest::prelude::{any, proptest};
use serde_json::json;
use tempfile::TempDir;

use super::super::{
    CredentialsFault, GuestOrder, Issuer, Lifetime, Malformed, MintFault, Minted, TokenOrder,
};
use super::*;

const HOUR_SECS: i64 = 3_600;

struct Registry {
    id: RegistryId,
    keys: Arc<TokenKeys>,
    verifier: Verifier,
    issuer: Issuer,
    dir: TempDir,
}

fn registry() -> Registry {
    let dir = tempfile::tempdir().unwrap();
    let keys = Arc::new(TokenKeys::open_or_create(dir.path()).unwrap());
    let id = RegistryId::from([7; 16]);
    Registry {
        id,
        keys: Arc::clone(&keys),
        verifier: Verifier::new(id, Arc::clone(&keys)),
        issuer: Issuer::new(id, keys),
        dir,
    }
}

fn never(_: &TokenId) -> bool {
    false
}

/// A fixed moment; tests count from it.
fn at(secs: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + secs).unwrap()
}

fn order(can: &[Can], crates: &[&str], lifetime: &str) -> TokenOrder {
    TokenOrder {
        login: "alice".parse().unwrap(),
        scopes: Scopes {
            can: can.to_vec(),
            crates: crates.iter().map(|text| text.parse().unwrap()).collect(),
        },
        lifetime: lifetime.parse().unwrap(),
    }
}

fn part(json: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(json.to_string())
}

impl Registry {
    fn mint(&self) -> Minted {
        let order = order(&[Can::Publish], &["acme-*"], "1h");
        self.issuer.mint(&order, at(0)).unwrap()
    }

    fn header(&self) -> Value {
        json!({"alg": "EdDSA", "typ": "JWT", "kid": self.keys.signing_id().as_str()})
    }

    fn claims(&self) -> Value {
        json!({
            "iss": self.id, "aud": self.id, "sub": "alice",
            "iat": at(0).as_second(), "exp": at(HOUR_SECS).as_second(),
            "jti": "0123456789abcdef0123456789abcdef",
            "can": ["read"], "crates": ["*"],
        })
    }

    /// A token with a good signature, whatever it says.
    fn signed(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", part(header), part(claims));
        let signature = sign(
            message.as_bytes(),
            self.keys.signing_key(),
            Algorithm::EdDSA,
        );
        format!("{message}.{}", signature.unwrap())
    }

    fn verify(&self, token: impl Into<String>) -> Result<Arc<Grant>, TokenFault> {
        self.verifier
            .verify(&Secret::new(token.into()), at(0), &never)
    }

    fn fault_of_header(&self, key: &str, value: Option<Value>) -> TokenFault {
        let header = changed(self.header(), key, value);
        self.verify(self.signed(&header, &self.claims()))
            .unwrap_err()
    }

    fn verify_claim(&self, key: &str, value: Option<Value>) -> Result<Arc<Grant>, TokenFault> {
        let claims = changed(self.claims(), key, value);
        self.verify(self.signed(&self.header(), &claims))
    }
}

fn changed(mut object: Value, key: &str, value: Option<Value>) -> Value {
    let map = object.as_object_mut().unwrap();
    match value {
        Some(value) => map.insert(key.to_owned(), value),
        None => map.remove(key),
    };
    object
}

fn guest_order(bearer: Actor, until: Timestamp) -> GuestOrder {
    GuestOrder {
        bearer,
        scopes: order(&[Can::Publish], &["serde"], "1h").scopes,
        only: Only {
            version: Some("1.0.0".parse().unwrap()),
            cksum: Some([3; 32].into()),
        },
        until,
    }
}

#[test]
fn a_token_for_a_guest_says_for_whom_and_for_what_it_is() {
    let registry = registry();
    let person = Actor::Person(Person {
        login: "bob".parse().unwrap(),
        id: 8,
    });
    let job = Actor::Job(Box::new(Job {
        repository: "acme/serde".parse().unwrap(),
        repository_id: 12,
        workflow: "release.yml".parse().unwrap(),
        run: "4".parse().unwrap(),
        commit: "ab".parse().unwrap(),
    }));
    for bearer in [person, job] {
        let order = guest_order(bearer, at(HOUR_SECS));
        let minted = registry.issuer.mint_for_guest(&order, at(0)).unwrap();
        let grant = registry.verify(minted.token.expose()).unwrap();
        assert_eq!((&grant.bearer, &grant.only), (&order.bearer, &order.only));
        assert_eq!(grant.scopes, order.scopes);
    }
}

#[test]
fn a_token_for_a_guest_is_short_and_does_not_outlive_what_vouched_for_them() {
    let registry = registry();
    let alice = Actor::Local("alice".parse().unwrap());
    let mint = |until| {
        let order = guest_order(alice.clone(), at(until));
        registry.issuer.mint_for_guest(&order, at(0))
    };
    for (until, expires) in [(1, 1), (600, 600), (900, 900), (901, 900), (90_000, 900)] {
        assert_eq!(mint(until).unwrap().expires, at(expires));
    }
    for until in [0, -1] {
        let fault = mint(until).unwrap_err();
        assert!(matches!(fault, MintFault::TooLate(moment) if moment == at(until)));
    }
}

#[test]
fn a_minted_token_grants_what_was_ordered() {
    let registry = registry();
    let order = order(
        &[Can::Yank, Can::Publish, Can::Yank],
        &["acme-*", "Serde-JSON"],
        "12h",
    );
    let minted = registry.issuer.mint(&order, at(0)).unwrap();
    assert_eq!(minted.expires, at(12 * HOUR_SECS));
    let grant = registry
        .verifier
        .verify(&minted.token, at(0), &never)
        .unwrap();
    assert_eq!(
        *grant,
        Grant {
            bearer: Actor::Local(order.login),
            only: Only::default(),
            token_id: minted.id,
            scopes: Scopes {
                can: vec![Can::Publish, Can::Yank],
                crates: order.scopes.crates
            },
        }
    );
}

#[test]
fn the_test_bench_itself_makes_good_tokens() {
    let registry = registry();
    let token = registry.signed(&registry.header(), &registry.claims());
    assert_eq!(
        registry.verify(token).unwrap().bearer.name().as_str(),
        "alice"
    );
}

#[test]
fn minted_tokens_are_all_different_and_of_the_documented_form() {
    let registry = registry();
    let (one, two) = (registry.mint(), registry.mint());
    assert_ne!(one.id, two.id);
    assert_eq!(one.id.to_string().len(), 32);
    let parts: Vec<&str> = one.token.expose().split('.').collect();
    let header: Value = json_part(parts[0]).unwrap();
    let claims: Value = json_part(parts[1]).unwrap();
    assert_eq!(header, registry.header());
    let id = "07".repeat(16);
    let expected = json!({
        "iss": id, "aud": id, "sub": "alice", "jti": one.id,
        "iat": 1_790_000_000, "exp": 1_790_003_600, "can": ["publish"], "crates": ["acme_*"],
    });
    assert_eq!(claims, expected);
}

#[test]
fn orders_that_cannot_be_met_are_refused() {
    let registry = registry();
    let mint = |order: &TokenOrder, now| registry.issuer.mint(order, now).unwrap_err();
    let everything = TokenOrder::for_everything("alice".parse().unwrap());
    let nothing = TokenOrder {
        scopes: Scopes {
            can: vec![],
            ..Scopes::all()
        },
        ..everything.clone()
    };
    assert!(matches!(mint(&nothing, at(0)), MintFault::Order(_)));
    assert!(matches!(
        mint(&everything, Timestamp::MAX),
        MintFault::Calendar
    ));
    let long_names: Vec<String> = (10..90).map(|i| format!("{}{i}", "a".repeat(62))).collect();
    let long_names: Vec<&str> = long_names.iter().map(String::as_str).collect();
    let too_long = mint(&order(&[Can::Read], &long_names, "1h"), at(0));
    assert!(matches!(too_long, MintFault::TooLong(bytes) if bytes > TOKEN_BYTES_MAX));
}

#[test]
fn every_token_that_is_made_is_short_enough_to_be_read() {
    let registry = registry();
    let name = "a".repeat(60);
    let mint = |crates: &[&str]| {
        let order = order(&[Can::Read], crates, "1h");
        registry.issuer.mint(&order, at(0))
    };
    let mut crates = vec![name.as_str()];
    while mint(&crates).is_ok() {
        crates.push(&name);
    }
    crates.pop();
    let mut longest = 0;
    // Up to the limit and beyond it, byte by byte: base64 grows by one or two.
    for bytes in 1..=name.len() {
        let crates = [&crates[..], &[&name[..bytes]]].concat();
        match mint(&crates) {
            Ok(minted) => {
                longest = minted.token.expose().len();
                assert!(registry.verify(minted.token.expose().clone()).is_ok());
            }
            Err(fault) => assert!(
                matches!(fault, MintFault::TooLong(bytes) if bytes > TOKEN_BYTES_MAX),
                "{fault}"
            ),
        }
    }
    assert_eq!(longest, TOKEN_BYTES_MAX);
}

#[test]
fn the_longest_life_is_ten_years() {
    let registry = registry();
    let order = TokenOrder {
        lifetime: Lifetime::MAX,
        ..order(&[Can::Read], &["*"], "1m")
    };
    let minted = registry.issuer.mint(&order, at(0)).unwrap();
    let end = 10 * 365 * 24 * HOUR_SECS;
    assert!(
        registry
            .verifier
            .verify(&minted.token, at(end - 1), &never)
            .is_ok()
    );
    assert_eq!(
        registry.verifier.verify(&minted.token, at(end), &never),
        Err(TokenFault::Expired(at(end)))
    );
}

#[test]
fn only_our_algorithm_is_accepted_even_under_our_signature() {
    let registry = registry();
    for alg in [
        "none", "None", "HS256", "RS256", "ES256", "PS512", "eddsa", "Ed25519", "",
    ] {
        assert_eq!(
            registry.fault_of_header("alg", Some(json!(alg))),
            TokenFault::Algorithm,
            "{alg}"
        );
    }
    let message = |alg| {
        let header = changed(registry.header(), "alg", Some(json!(alg)));
        format!("{}.{}", part(&header), part(&registry.claims()))
    };
    assert_eq!(
        registry.verify(format!("{}.", message("none"))),
        Err(TokenFault::Algorithm)
    );
    // The public key is public: a verifier that lets the header choose would take it for a shared secret.
    let key = registry
        .keys
        .verifying_key(registry.keys.signing_id())
        .unwrap();
    let secret = EncodingKey::from_secret(key.try_get_as_bytes().unwrap());
    for (alg, fault) in [
        ("HS256", TokenFault::Algorithm),
        ("EdDSA", TokenFault::Signature),
    ] {
        let message = message(alg);
        let signature = sign(message.as_bytes(), &secret, Algorithm::HS256).unwrap();
        assert_eq!(
            registry.verify(format!("{message}.{signature}")),
            Err(fault)
        );
    }
}

#[test]
fn a_header_that_ours_do_not_have_is_refused() {
    let registry = registry();
    for (key, value) in [
        ("alg", None),
        ("alg", Some(json!(["EdDSA"]))),
        ("typ", Some(json!("at+jwt"))),
        ("typ", Some(json!(1))),
        ("crit", Some(json!(["exp"]))),
        ("kid", None),
        ("kid", Some(json!(null))),
        ("kid", Some(json!(7))),
        ("kid", Some(json!("../../etc/passwd"))),
    ] {
        let fault = registry.fault_of_header(key, value.clone());
        assert_eq!(fault, TokenFault::NotOurs, "{key} {value:?}");
    }
    let kid = registry.keys.signing_id();
    let list = registry.signed(
        &json!(["EdDSA", "JWT", kid.as_str(), null]),
        &registry.claims(),
    );
    assert_eq!(registry.verify(list).unwrap_err(), TokenFault::NotOurs);
    let stranger = BASE64_URL_SAFE_NO_PAD.encode([1; 32]);
    assert_eq!(
        registry.fault_of_header("kid", Some(json!(stranger))),
        TokenFault::UnknownKey(stranger.parse().unwrap())
    );
}

#[test]
fn a_key_of_another_registry_does_not_sign_for_us() {
    let (ours, theirs) = (registry(), registry());
    let foreign = theirs.mint();
    assert_eq!(
        ours.verifier.verify(&foreign.token, at(0), &never),
        Err(TokenFault::UnknownKey(theirs.keys.signing_id().clone()))
    );
    // Their signature under the name of our key.
    let forged = theirs.signed(&ours.header(), &ours.claims());
    assert_eq!(ours.verify(forged), Err(TokenFault::Signature));
}

#[test]
fn issuer_and_audience_must_be_this_registry() {
    let registry = registry();
    for name in ["iss", "aud"] {
        for other in ["00000000000000000000000000000000", "", "crates", "07"] {
            let verdict = registry.verify_claim(name, Some(json!(other)));
            assert_eq!(verdict, Err(TokenFault::OtherRegistry), "{name} {other}");
        }
        let list = Some(json!([registry.id]));
        assert_eq!(
            registry.verify_claim(name, list),
            Err(TokenFault::ClaimForm(name))
        );
    }
}

#[test]
fn every_claim_is_required_and_none_may_be_added() {
    let registry = registry();
    for name in ["iss", "aud", "sub", "iat", "exp", "jti", "can", "crates"] {
        assert_eq!(
            registry.verify_claim(name, None),
            Err(TokenFault::MissingClaim(name))
        );
        for wrong in [
            json!(null),
            json!({"a": 1}),
            json!([[]]),
            json!(true),
            json!(1.5),
        ] {
            let verdict = registry.verify_claim(name, Some(wrong.clone()));
            assert_eq!(verdict, Err(TokenFault::ClaimForm(name)), "{name} {wrong}");
        }
    }
    for name in ["vers", "cksum", "user_id", "job"] {
        let verdict = registry.verify_claim(name, Some(json!("1")));
        assert_eq!(verdict, Err(TokenFault::ClaimForm(name)));
    }
    for restriction in ["nbf", "scope"] {
        let verdict = registry.verify_claim(restriction, Some(json!("1")));
        assert_eq!(verdict, Err(TokenFault::UnknownClaim), "{restriction}");
    }
}

#[test]
fn claims_of_the_right_type_must_also_be_of_the_right_form() {
    let registry = registry();
    for (name, value) in [
        ("sub", json!("")),
        ("sub", json!("al ice")),
        ("sub", json!("a\nb")),
        ("sub", json!("a".repeat(41))),
        ("jti", json!("")),
        ("jti", json!("0123456789ABCDEF0123456789ABCDEF")),
        ("jti", json!("0123456789abcdef0123456789abcdef0")),
        ("iat", json!("1790000000")),
        ("exp", json!("1790003600")),
        ("exp", json!(i64::MAX)),
        ("exp", json!(u64::MAX)),
        ("iat", json!(i64::MIN)),
        ("can", json!("read")),
        ("can", json!(["delete"])),
        ("can", json!(["Read"])),
        ("crates", json!("*")),
        ("crates", json!(["a*b"])),
        ("crates", json!(["-acme"])),
        ("crates", json!(vec!["a"; CRATE_SCOPES_MAX + 1])),
        ("job", json!([12, "publish.yml", "34", "0123"])),
    ] {
        let verdict = registry.verify_claim(name, Some(value.clone()));
        assert_eq!(verdict, Err(TokenFault::ClaimForm(name)), "{name} {value}");
    }
    let most = registry.verify_claim("crates", Some(json!(vec!["a"; CRATE_SCOPES_MAX])));
    assert_eq!(most.unwrap().scopes.crates.len(), CRATE_SCOPES_MAX);
}

#[test]
fn time_is_checked_to_the_second() {
    let registry = registry();
    let token = Secret::new(registry.signed(&registry.header(), &registry.claims()));
    let verify = |now| registry.verifier.verify(&token, now, &never).map(drop);
    assert_eq!(verify(at(-61)), Err(TokenFault::NotYetValid(at(0))));
    assert_eq!(verify(at(-60)), Ok(()));
    assert_eq!(verify(at(HOUR_SECS - 1)), Ok(()));
    assert_eq!(
        verify(at(HOUR_SECS)),
        Err(TokenFault::Expired(at(HOUR_SECS)))
    );
    assert_eq!(verify(Timestamp::MIN), Err(TokenFault::NotYetValid(at(0))));
    assert_eq!(
        verify(Timestamp::MAX),
        Err(TokenFault::Expired(at(HOUR_SECS)))
    );
}

#[test]
fn a_remembered_token_still_expires_and_one_that_failed_is_not_remembered() {
    let registry = registry();
    let minted = registry.mint();
    assert!(
        registry
            .verifier
            .verify(&minted.token, at(-61), &never)
            .is_err()
    );
    assert!(
        registry
            .verifier
            .trust
            .load()
            .cache
            .get(&minted.token)
            .is_none()
    );
    let first = registry
        .verifier
        .verify(&minted.token, at(0), &never)
        .unwrap();
    let second = registry
        .verifier
        .verify(&minted.token, at(1), &never)
        .unwrap();
    assert!(
        Arc::ptr_eq(&first, &second),
        "the second answer comes from the cache"
    );
    assert_eq!(registry.verifier.remembered(), 1);
    registry
        .verifier
        .verify(&registry.mint().token, at(1), &never)
        .unwrap();
    assert_eq!(registry.verifier.remembered(), 2);
    assert_eq!(
        registry
            .verifier
            .verify(&minted.token, at(HOUR_SECS), &never),
        Err(TokenFault::Expired(at(HOUR_SECS)))
    );
    assert_eq!(
        registry.verifier.verify(&minted.token, at(-61), &never),
        Err(TokenFault::NotYetValid(at(0)))
    );
}

#[test]
fn a_remembered_token_can_be_revoked_and_expiry_is_told_first() {
    let registry = registry();
    let (minted, other) = (registry.mint(), registry.mint());
    let verify = |minted: &Minted, now| {
        let is_revoked = |id: &TokenId| *id == other.id;
        let verdict = registry.verifier.verify(&minted.token, now, &is_revoked);
        verdict.map(drop)
    };
    // Good, and so remembered.
    registry
        .verifier
        .verify(&other.token, at(0), &never)
        .unwrap();
    assert_eq!(verify(&other, at(1)), Err(TokenFault::Revoked(other.id)));
    assert_eq!(verify(&minted, at(1)), Ok(()));
    assert_eq!(
        verify(&other, at(HOUR_SECS)),
        Err(TokenFault::Expired(at(HOUR_SECS)))
    );
    assert_eq!(
        TokenFault::Revoked([0xab; 16].into()).to_string(),
        "the token abababababababababababababababab was revoked; get a new one"
    );
}

#[test]
fn a_new_key_signs_and_the_old_one_still_verifies() {
    let registry = registry();
    let old = registry.mint();
    registry.verifier.verify(&old.token, at(0), &never).unwrap();
    let dir = registry.dir.path();
    let id = TokenKeys::add(dir).unwrap();
    let with_both = Arc::new(TokenKeys::open(dir).unwrap());
    assert_eq!(with_both.signing_id(), registry.keys.signing_id());
    registry.verifier.use_keys(with_both);
    TokenKeys::sign_with(dir, &id).unwrap();

    let keys = Arc::new(TokenKeys::open(dir).unwrap());
    assert_eq!(keys.signing_id(), &id);
    let issuer = Issuer::new(registry.id, keys);
    let order = order(&[Can::Read], &["*"], "1h");
    let new = issuer.mint(&order, at(0)).unwrap();
    for minted in [&old, &new] {
        assert!(
            registry
                .verifier
                .verify(&minted.token, at(0), &never)
                .is_ok()
        );
    }
    // A verifier that trusts the new key alone no longer remembers the old token.
    fs::remove_file(dir.join(format!("token-{}.pk8", registry.keys.signing_id()))).unwrap();
    registry
        .verifier
        .use_keys(Arc::new(TokenKeys::open(dir).unwrap()));
    assert_eq!(
        registry.verifier.verify(&old.token, at(0), &never),
        Err(TokenFault::UnknownKey(registry.keys.signing_id().clone()))
    );
}

#[test]
fn what_is_no_token_is_refused() {
    let registry = registry();
    let good = registry.mint().token.expose().clone();
    assert!(registry.verify(good.clone()).is_ok());
    for text in [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "A.B.C.D",
        "e30.e30.e30",
        "bnVsbA.bnVsbA.",
        "tök.ö.ö",
        "0123456789abcdef0123456789abcdef01234567",
        "eyJhbGciOiJFZERTQSJ9",
        "%2e.%2e.%2e",
    ] {
        assert_eq!(registry.verify(text), Err(TokenFault::NotOurs), "{text:?}");
    }
    for text in [format!(".{good}"), format!(" {good}")] {
        assert_eq!(registry.verify(text), Err(TokenFault::NotOurs));
    }
    for text in [format!("{good}."), format!("{good}.{good}")] {
        assert_eq!(registry.verify(text), Err(TokenFault::Signature));
    }
    assert_eq!(
        registry.verify("A".repeat(1 << 20)),
        Err(TokenFault::TooLong)
    );
    assert_eq!(
        registry.verify("A".repeat(TOKEN_BYTES_MAX + 1)),
        Err(TokenFault::TooLong)
    );
    assert_eq!(
        registry.verify("A".repeat(TOKEN_BYTES_MAX)),
        Err(TokenFault::NotOurs)
    );
    let deep = BASE64_URL_SAFE_NO_PAD.encode("[".repeat(1_000));
    assert_eq!(
        registry.verify(format!("{deep}.{deep}.")),
        Err(TokenFault::NotOurs)
    );
}

#[test]
fn no_prefix_and_no_changed_character_of_a_good_token_verifies() {
    let registry = registry();
    let good = registry.mint().token.expose().clone();
    for end in 0..good.len() {
        assert!(registry.verify(&good[..end]).is_err(), "cut at {end}");
    }
    for place in 0..good.len() {
        for other in ["A", "B", "-", ".", "="] {
            let mut text = good.clone();
            text.replace_range(place..=place, other);
            assert!(
                text == good || registry.verify(text).is_err(),
                "{other} at {place}"
            );
        }
    }
}

#[test]
fn the_header_is_the_door_for_all_forms() {
    let registry = registry();
    let minted = registry.mint();
    let token = minted.token.expose();
    let pair = base64::prelude::BASE64_STANDARD.encode(format!("alice:{token}"));
    for value in [
        token.clone(),
        format!("Bearer {token}"),
        format!("Basic {pair}"),
    ] {
        let grant = registry
            .verifier
            .authenticate(Some(value.as_bytes()), at(0), &never)
            .unwrap();
        assert_eq!(grant.token_id, minted.id);
    }
    let fault = |value: Option<&[u8]>| {
        registry
            .verifier
            .authenticate(value, at(0), &never)
            .unwrap_err()
    };
    assert_eq!(
        fault(None),
        AuthFault::Credentials(CredentialsFault::Missing)
    );
    assert_eq!(
        fault(Some(b"Digest x")),
        AuthFault::Credentials(CredentialsFault::Malformed(Malformed::Scheme))
    );
    assert_eq!(fault(Some(b"x")), AuthFault::Token(TokenFault::NotOurs));
}

#[test]
fn nothing_prints_a_token() {
    let registry = registry();
    let minted = registry.mint();
    let token = minted.token.expose().clone();
    let grant = registry.verify(token.clone()).unwrap();
    let mut broken = token.clone();
    broken.replace_range(token.len() - 4.., "AAAA");
    let fault = registry.verify(broken).unwrap_err();
    let late = registry
        .verifier
        .verify(&minted.token, at(HOUR_SECS), &never)
        .unwrap_err();
    let printed = format!(
        "{minted:?} {grant:?} {:?} {:?} {:?} {fault:?} {fault} {late:?} {late} {:?}",
        registry.verifier,
        registry.issuer,
        registry.keys,
        AuthFault::from(fault.clone()),
    );
    assert!(printed.contains("***") && printed.contains("Verifier { registry: "));
    for part in token.split('.') {
        assert!(!printed.contains(part), "{printed}");
    }
    let private = registry.keys.signing_key().as_bytes();
    assert!(!printed.contains(&format!("{private:?}")));
}

#[test]
fn faults_are_sentences() {
    let texts = [
        TokenFault::Expired(at(0)).to_string(),
        TokenFault::MissingClaim("jti").to_string(),
        TokenFault::OtherRegistry.to_string(),
    ];
    assert_eq!(
        texts,
        [
            "the token expired at 2026-09-21T14:13:20Z; get a new one",
            "the token lacks the claim `jti`; get a new one",
            "the token is for another registry; get one for this registry",
        ]
    );
}

/// One for all cases: making keys is slow.
static REGISTRY: LazyLock<Registry> = LazyLock::new(registry);

proptest! {
    #[test]
    fn arbitrary_text_never_verifies(text in any::<String>(), parts in "[A-Za-z0-9_.-]{0,200}") {
        let registry = &*REGISTRY;
        assert!(registry.verify(text).is_err());
        assert!(registry.verify(parts).is_err());
    }

    #[test]
    fn arbitrary_claims_under_our_signature_never_panic(json in ".{0,200}", name in "[a-z]{2,6}") {
        let registry = &*REGISTRY;
        let message = format!("{}.{}", part(&registry.header()), BASE64_URL_SAFE_NO_PAD.encode(&json));
        let signature = sign(message.as_bytes(), registry.keys.signing_key(), Algorithm::EdDSA);
        assert!(registry.verify(format!("{message}.{}", signature.unwrap())).is_err());
        let _ = registry.verify_claim(&name, Some(json!(json)));
    }
}
