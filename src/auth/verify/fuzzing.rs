//! What holds for every token, fed by a fuzzer: nobody without the key makes one, and what the key signs is not all good.

use std::sync::LazyLock;

use base64::prelude::BASE64_STANDARD;
use jsonwebtoken::crypto::sign;

use super::super::CredentialsFault;
use super::*;
use crate::fuzzing::{Verdict, check_sentences};

/// A registry with a key that is known to everybody, and others beside it.
struct Bench {
    keys: Arc<TokenKeys>,
    verifier: Verifier,
    with_another_key: Verifier,
    with_another_id: Verifier,
    /// A token that is good.
    good: String,
}

static BENCH: LazyLock<Bench> = LazyLock::new(|| {
    let id = RegistryId::from([7; 16]);
    let keys = Arc::new(TokenKeys::from_seed([1; 32]));
    let other_keys = Arc::new(TokenKeys::from_seed([2; 32]));
    let good = signed(
        &keys,
        r#"{"alg":"EdDSA","typ":"JWT","kid":"$kid"}"#,
        r#"{"iss":"$id","aud":"$id","sub":"alice","iat":1790000000,"exp":1790003600,"jti":"0123456789abcdef0123456789abcdef","can":["read","publish"],"crates":["acme-*"]}"#,
    );
    let bench = Bench {
        verifier: Verifier::new(id, Arc::clone(&keys)),
        with_another_key: Verifier::new(id, other_keys),
        with_another_id: Verifier::new(RegistryId::from([8; 16]), Arc::clone(&keys)),
        keys,
        good,
    };
    let found = bench
        .verifier
        .verify(&Secret::new(bench.good.clone()), now(), &never);
    found.expect("the good token is good");
    bench
});

fn now() -> Timestamp {
    Timestamp::from_second(1_790_000_000).expect("a moment")
}

fn never(_: &TokenId) -> bool {
    false
}

/// Reads the bytes behind the first line, which says by a letter what they are.
///
/// - `s`: the header of a token in one line and its claims in those that follow; the key signs them. `$kid` stands for
///   the id of the key, `$id` for that of the registry.
/// - `e`: changes to a good token, a line each: a place and the character that shall stand there.
/// - any other: an `Authorization` header, in which `$token` stands for a good token.
///
/// With a `b` beside it the token comes by `Basic`.
pub fn token(bytes: &[u8]) -> Verdict {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (how, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
    let rest = rest.strip_prefix(b"\n").unwrap_or(rest);
    let says = |letter: u8| how.contains(&letter);
    let bench = &*BENCH;
    let text = String::from_utf8_lossy(rest);
    if says(b's') {
        let (header, claims) = text.split_once('\n').unwrap_or((&text, ""));
        let token = signed(&bench.keys, header, claims);
        return judge_signed(&with_scheme(&token, says(b'b')), &token, header, claims);
    }
    if says(b'e') {
        let token = edited(&bench.good, &text);
        return judge(with_scheme(&token, says(b'b')).as_bytes(), Some(&token));
    }
    match std::str::from_utf8(rest) {
        Ok(text) => judge(text.replace("$token", &bench.good).as_bytes(), None),
        Err(_) => judge(rest, None),
    }
}

/// Without the key only the good token itself is good.
fn judge(header: &[u8], token: Option<&str>) -> Verdict {
    let bench = &*BENCH;
    let found = token_from_header(Some(header));
    if let (Ok(found), Some(token)) = (&found, token) {
        assert_eq!(found.expose(), token);
    }
    match bench.verifier.authenticate(Some(header), now(), &never) {
        Ok(grant) => {
            let found = found.expect("who is let in has shown a token");
            assert_eq!(*found.expose(), bench.good);
            assert_eq!(grant.bearer.name().as_str(), "alice");
            Verdict::Accepted(told(&grant))
        }
        Err(fault) => {
            let is_good = found.is_ok_and(|found| *found.expose() == bench.good);
            assert!(!is_good, "the good token is good in every form: {fault}");
            check_fault(&fault, header);
            Verdict::Refused(fault.to_string())
        }
    }
}

/// What the key has signed is good if it says all that it must, and nothing else.
fn judge_signed(sent: &str, token: &str, header: &str, claims: &str) -> Verdict {
    let bench = &*BENCH;
    let secret = Secret::new(token.to_owned());
    let grant = match bench
        .verifier
        .authenticate(Some(sent.as_bytes()), now(), &never)
    {
        Ok(grant) => grant,
        Err(fault) => {
            check_fault(&fault, sent.as_bytes());
            let again = bench.verifier.verify(&secret, now(), &never);
            let is_same = |again| AuthFault::from(again) == fault;
            let is_credentials = matches!(fault, AuthFault::Credentials(CredentialsFault::TooLong));
            assert!(is_credentials || again.is_err_and(is_same));
            return Verdict::Refused(fault.to_string());
        }
    };
    let header: Map<String, Value> = read(header);
    let mut claims: Map<String, Value> = read(claims);
    assert_eq!(header["alg"], "EdDSA");
    assert_eq!(header["kid"], bench.keys.signing_id().as_str());
    let may_be =
        |key: &str, text: &str| header.get(key).is_none_or(|it| it.is_null() || it == text);
    assert!(may_be("typ", "JWT") && may_be("crit", ""));
    let registry = bench.verifier.registry.to_string();
    let mut claim = |name: &str| claims.remove(name).expect("no claim can be left out");
    assert_eq!(
        (claim("iss"), claim("aud")),
        (registry.clone().into(), registry.into())
    );
    assert_eq!(claim("sub"), grant.bearer.name().as_str());
    assert_eq!(claim("jti"), grant.token_id.to_string());
    let (issued, expires) = (claim("iat"), claim("exp"));
    let second = now().as_second();
    assert!(
        issued
            .as_i64()
            .is_some_and(|issued| issued <= second + LEEWAY_SECS)
    );
    let expires = expires.as_i64().expect("a number");
    assert!(expires > second);
    let lengths = [claim("can"), claim("crates")].map(|list| list.as_array().map(Vec::len));
    assert_eq!(
        lengths,
        [
            Some(grant.scopes.can.len()),
            Some(grant.scopes.crates.len())
        ]
    );
    assert!(grant.scopes.crates.len() <= CRATE_SCOPES_MAX);
    let (user_id, job) = (claims.remove("user_id"), claims.remove("job"));
    match &grant.bearer {
        Actor::Local(_) => assert!(user_id.is_none() && job.is_none()),
        Actor::Person(person) => assert_eq!((user_id, job), (Some(person.id.into()), None)),
        Actor::Job(own) => {
            let job = job.expect("a job says which");
            assert_eq!(job["repository_id"], own.repository_id);
            assert!(user_id.is_none() && job["run"] == own.run.as_str());
        }
    }
    let text = |claim: Option<Value>| claim.map(|claim| claim.as_str().map(str::to_owned));
    let only = &grant.only;
    let version = only.version.as_ref().map(ToString::to_string);
    assert_eq!(text(claims.remove("vers")), version.map(Some));
    let cksum = only.cksum.as_ref().map(ToString::to_string);
    assert_eq!(text(claims.remove("cksum")), cksum.map(Some));
    assert!(claims.is_empty(), "{claims:?}");

    let verify = |verifier: &Verifier, now| verifier.verify(&secret, now, &never);
    assert_eq!(verify(&bench.verifier, now()), Ok(Arc::clone(&grant)));
    let over = Timestamp::from_second(expires).expect("a moment");
    assert_eq!(
        verify(&bench.verifier, over),
        Err(TokenFault::Expired(over))
    );
    let revoked = bench
        .verifier
        .verify(&secret, now(), &|id| *id == grant.token_id);
    assert_eq!(revoked, Err(TokenFault::Revoked(grant.token_id)));
    let foreign = verify(&bench.with_another_key, now());
    assert!(matches!(foreign, Err(TokenFault::UnknownKey(_))));
    let foreign = verify(&bench.with_another_id, now());
    assert_eq!(foreign, Err(TokenFault::OtherRegistry));
    Verdict::Accepted(told(&grant))
}

/// For whom and what a token is good.
fn told(grant: &Grant) -> String {
    let kind = match &grant.bearer {
        Actor::Local(_) => "local",
        Actor::Person(_) => "person",
        Actor::Job(_) => "job",
    };
    let mut words = format!("{kind} {}", grant.bearer.name());
    if let Some(version) = &grant.only.version {
        words += &format!(", only version {version}");
    }
    if let Some(cksum) = &grant.only.cksum {
        words += &format!(", only file {cksum}");
    }
    words
}

/// No fault repeats what was sent, but for what is no secret.
fn check_fault(fault: &AuthFault, header: &[u8]) {
    const SECRET_BYTES_MIN: usize = 16;
    let text = format!("{fault} {fault:?}");
    check_sentences(&[fault.to_string()]);
    let header = String::from_utf8_lossy(header);
    let is_part = |c: char| !c.is_ascii_graphic() || c == '.';
    for part in header
        .split(is_part)
        .filter(|part| part.len() >= SECRET_BYTES_MIN)
    {
        assert!(!text.contains(part), "{text}");
    }
}

fn with_scheme(token: &str, is_basic: bool) -> String {
    match is_basic {
        true => format!("Basic {}", BASE64_STANDARD.encode(format!("git:{token}"))),
        false => format!("Bearer {token}"),
    }
}

fn edited(good: &str, changes: &str) -> String {
    let mut token: Vec<char> = good.chars().collect();
    for line in changes.lines() {
        let Some((place, with)) = line.split_once(' ') else {
            continue;
        };
        let place: usize = place.parse().unwrap_or_default();
        let length = token.len();
        // A token is one word of printable characters; what else there may be is the header's business.
        match with.chars().next() {
            Some(with) if with.is_ascii_graphic() => token[place % length] = with,
            _ if length > 1 => drop(token.remove(place % length)),
            _ => {}
        }
    }
    token.into_iter().collect()
}

/// A token with a good signature, whatever it says.
fn signed(keys: &TokenKeys, header: &str, claims: &str) -> String {
    let id = RegistryId::from([7; 16]).to_string();
    let part = |text: &str| {
        let text = text.replace("$kid", keys.signing_id().as_str());
        BASE64_URL_SAFE_NO_PAD.encode(text.replace("$id", &id))
    };
    let message = format!("{}.{}", part(header), part(claims));
    let signature = sign(message.as_bytes(), keys.signing_key(), Algorithm::EdDSA);
    format!("{message}.{}", signature.expect("the key signs"))
}

fn read(text: &str) -> Map<String, Value> {
    let kid = BENCH.keys.signing_id().as_str();
    let text = text
        .replace("$kid", kid)
        .replace("$id", &BENCH.verifier.registry.to_string());
    serde_json::from_str(&text).expect("what is good is JSON")
}
