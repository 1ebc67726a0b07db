//! Signing in at the forge: OAuth 2.0 for native programs (RFC 8252), with a code and PKCE (RFC 7636).

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::Url;
use url::form_urlencoded;

use super::browser;
use super::fault::Fault;
use super::loopback::{Brought, Loopback};
use super::protocol::Operation;
use super::registry::{Registry, SignIn, wanted};
use super::requests::{Reply, ask, client};
use super::store::{Session, Store};
use crate::domain::harmless;

/// What is asked for: who somebody is, and nothing that could be done in their name.
const SCOPE: &str = "openid profile groups read:user";
const DISCOVERY: &str = ".well-known/openid-configuration";
/// What is repeated of the forge's words, in characters.
const WORDS_MAX: usize = 300;

/// What the forge tells of itself.
#[derive(Deserialize)]
struct Discovered {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
}

/// What the forge gives.
#[derive(Deserialize)]
struct Tokens {
    id_token: String,
    /// A forge that gives none leaves the old one good.
    refresh_token: Option<String>,
}

/// What belongs to one question and is never asked again.
struct Secrets {
    state: String,
    verifier: String,
    nonce: String,
}

/// Signs somebody in with a browser, and tries whether the registry takes it.
pub async fn sign_in(registry: &Registry, browser: Option<&str>) -> Result<Session, Fault> {
    let SignIn { forge, client_id } = registry.sign_in().await?;
    let discovered = discover(&forge).await?;
    let secrets = Secrets::new()?;
    let loopback = Loopback::open().await?;
    let redirect = loopback.address();
    let url = question(&discovered, &client_id, &redirect, &secrets)?;
    eprintln!(
        "Sign in at {forge} for the registry {}:\n\n{url}\n",
        registry.root()
    );
    warn_of_plain(&forge);
    browser::open(url.as_str(), browser);
    let (brought, waiting) = loopback.wait(&secrets.state).await?;
    let session = async {
        let code = match brought {
            Brought::Code(code) => code,
            Brought::Refused(said) => return Err(not_signed_in(&forge, &said)),
        };
        let fields = [
            ("grant_type", "authorization_code"),
            ("client_id", client_id.as_str()),
            ("code", code.as_str()),
            ("redirect_uri", redirect.as_str()),
            ("code_verifier", secrets.verifier.as_str()),
        ];
        let reply = redeem(&forge, &discovered.token_endpoint, &fields).await?;
        if reply.status != 200 {
            return Err(not_signed_in(&forge, &reply.said()));
        }
        let tokens: Tokens = reply.json(&forge)?;
        let is_ours = claims(&tokens.id_token).is_some_and(|it| it["nonce"] == secrets.nonce);
        let Some(refresh_token) = tokens.refresh_token.filter(|_| is_ours) else {
            return Err(Fault::Odd {
                who: forge.clone(),
                what: "an id_token for another question, or no refresh token",
            });
        };
        // What the registry has against it is better heard now.
        let asked = wanted(&Operation::Read)?;
        registry.exchange(&tokens.id_token, &asked).await?;
        Ok(Session::SignedIn {
            forge: forge.clone(),
            client_id: client_id.clone(),
            token_endpoint: discovered.token_endpoint.clone(),
            refresh_token,
        })
    };
    let session = session.await;
    let sentence = match &session {
        Ok(_) => "You are signed in. Cargo goes on; this page can be closed.".to_owned(),
        Err(fault) => fault.to_string(),
    };
    waiting.show(&sentence).await;
    session
}

/// An id_token of this moment, by the refresh token. Another process that wants one waits: the refresh token may be good
/// once, and what comes with it is kept before the next may read it.
pub async fn fresh_id_token(registry: &Registry, store: &Store) -> Result<String, Fault> {
    let _turn = store.turn()?;
    // Another process may have changed it while this one waited.
    let Some(Session::SignedIn {
        forge,
        client_id,
        token_endpoint,
        refresh_token,
    }) = store.session()?
    else {
        return Err(Fault::NotFound);
    };
    let fields = [
        ("grant_type", "refresh_token"),
        ("client_id", client_id.as_str()),
        ("refresh_token", refresh_token.as_str()),
    ];
    let reply = redeem(&forge, &token_endpoint, &fields).await?;
    if matches!(reply.status, 400 | 401 | 403) {
        return Err(Fault::SignedOut {
            said: reply.said(),
            forge,
            name: registry.name().to_owned(),
        });
    }
    let tokens: Tokens = reply.json(&forge)?;
    if let Some(next) = tokens.refresh_token.filter(|next| *next != refresh_token) {
        store.keep(&Session::SignedIn {
            forge,
            client_id,
            token_endpoint,
            refresh_token: next,
        })?;
    }
    Ok(tokens.id_token)
}

/// What a token says, with nothing proved: it came from where it was made.
pub fn claims(token: &str) -> Option<Value> {
    let claims = token.split('.').nth(1)?;
    let json = BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?;
    serde_json::from_slice(&json).ok()
}

async fn discover(forge: &str) -> Result<Discovered, Fault> {
    let request = client()?.get(format!("{forge}/{DISCOVERY}"));
    let discovered: Discovered = ask(forge, request).await?.json(forge)?;
    let below = format!("{forge}/");
    let is_its = |url: &str| url.starts_with(&below);
    let is_itself = discovered.issuer.trim_end_matches('/') == forge;
    let has_both = is_its(&discovered.authorization_endpoint) && is_its(&discovered.token_endpoint);
    match is_itself && has_both {
        true => Ok(discovered),
        false => Err(Fault::Odd {
            who: forge.to_owned(),
            what: "what it tells of itself is of another place",
        }),
    }
}

fn question(
    discovered: &Discovered,
    client_id: &str,
    redirect: &str,
    secrets: &Secrets,
) -> Result<Url, Fault> {
    let odd = |_| Fault::Odd {
        who: discovered.issuer.clone(),
        what: "an address that is none",
    };
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(&secrets.verifier));
    let mut url = Url::parse(&discovered.authorization_endpoint).map_err(odd)?;
    url.query_pairs_mut()
        .append_pair("client_id", client_id)
        .append_pair("redirect_uri", redirect)
        .append_pair("response_type", "code")
        .append_pair("scope", SCOPE)
        .append_pair("state", &secrets.state)
        .append_pair("nonce", &secrets.nonce)
        .append_pair("code_challenge", &challenge)
        .append_pair("code_challenge_method", "S256");
    Ok(url)
}

async fn redeem(forge: &str, endpoint: &str, fields: &[(&str, &str)]) -> Result<Reply, Fault> {
    let form = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish();
    let request = client()?
        .post(endpoint)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form);
    ask(forge, request).await
}

fn not_signed_in(forge: &str, said: &str) -> Fault {
    Fault::NotSignedIn {
        forge: forge.to_owned(),
        said: harmless(said, WORDS_MAX),
    }
}

/// On the way to this machine's own forge nobody listens.
fn warn_of_plain(forge: &str) {
    let host = Url::parse(forge).ok().and_then(|url| {
        let is_plain = url.scheme() == "http";
        url.host_str().filter(|_| is_plain).map(str::to_owned)
    });
    if host.is_some_and(|host| !["127.0.0.1", "localhost", "[::1]"].contains(&host.as_str())) {
        eprintln!("WARNING: {forge} is not encrypted: whoever is on the way can sign in as you.\n");
    }
}

impl Secrets {
    fn new() -> Result<Self, Fault> {
        Ok(Self {
            state: random()?,
            verifier: random()?,
            nonce: random()?,
        })
    }
}

/// 256 random bits in 43 characters, as PKCE wants them.
fn random() -> Result<String, Fault> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|_| Fault::Random)?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}
