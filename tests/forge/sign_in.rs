//! Signing in at the forge by OpenID Connect, as a browser and an application do it together.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

use super::api::{done, text};
use super::gitea::{Gitea, PASSWORD};
use super::scene::{User, admin};
use crate::common::http::{Reply, request};

/// Where the browser would go after all. Any port will do for an application that is registered without one.
const REDIRECT: &str = "http://127.0.0.1:7777/callback";
/// The secret of one sign-in: long enough, and no secret here.
const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters";
/// What comes back in the token.
pub const NONCE: &str = "a-nonce";

/// The tokens of somebody who has signed in.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// Says who it is.
    pub id: String,
    /// Opens the API.
    pub access: String,
    /// Gets all three anew.
    pub refresh: String,
}

/// A browser, as far as signing in needs one.
struct Browser<'forge> {
    forge: &'forge Gitea,
    cookies: BTreeMap<String, String>,
}

impl Gitea {
    /// Registers an application that keeps no secret; gives its client id.
    #[track_caller]
    pub fn application(&self) -> String {
        let wanted = json!({
            "name": self.fresh_name("application"),
            "redirect_uris": ["http://127.0.0.1/callback"],
            "confidential_client": false,
        });
        let made = self
            .admin()
            .send("POST", "/user/applications/oauth2", &wanted);
        text(&done(made, 201), "client_id")
    }

    /// Signs somebody in at an application.
    #[track_caller]
    pub fn sign_in(&self, user: &User, client_id: &str, scope: &str) -> Tokens {
        let mut browser = Browser {
            forge: self,
            cookies: BTreeMap::new(),
        };
        browser.sign_in(user);
        let code = browser.authorize(client_id, scope);
        self.exchange(&[
            ("grant_type", "authorization_code"),
            ("client_id", client_id),
            ("code", &code),
            ("redirect_uri", REDIRECT),
            ("code_verifier", VERIFIER),
        ])
    }

    /// Fills in a form of the administrator's pages, for what the API does not know.
    #[track_caller]
    pub fn fill_in(&self, path: &str, fields: &[(&str, &str)]) {
        let mut browser = Browser {
            forge: self,
            cookies: BTreeMap::new(),
        };
        browser.sign_in(&admin());
        let reply = browser.post(path, fields);
        assert!(matches!(reply.status, 200 | 303), "{reply:?}");
    }

    /// Does what somebody does with a browser that was opened at `url`: signs in, agrees, and goes where they are sent.
    /// Gives what is shown there.
    #[track_caller]
    pub fn browse(&self, user: &User, url: &str) -> Reply {
        let mut browser = Browser {
            forge: self,
            cookies: BTreeMap::new(),
        };
        browser.sign_in(user);
        let question = url.strip_prefix(&self.url()).expect("it is the forge's");
        let place = browser.agree(question);
        let place = Url::parse(&place).unwrap();
        assert_eq!(place.host_str(), Some("127.0.0.1"), "it leads to {place}");
        let path = &place[url::Position::BeforePath..url::Position::AfterQuery];
        request("GET", path).send(place.port().unwrap())
    }

    /// Gets all tokens anew.
    #[track_caller]
    pub fn refresh(&self, tokens: &Tokens, client_id: &str) -> Tokens {
        self.exchange(&[
            ("grant_type", "refresh_token"),
            ("client_id", client_id),
            ("refresh_token", &tokens.refresh),
        ])
    }

    #[track_caller]
    fn exchange(&self, fields: &[(&str, &str)]) -> Tokens {
        let reply = request("POST", "/login/oauth/access_token")
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(form(fields))
            .send(self.port);
        let json = done(reply, 200);
        Tokens {
            id: text(&json, "id_token"),
            access: text(&json, "access_token"),
            refresh: text(&json, "refresh_token"),
        }
    }
}

impl Browser<'_> {
    #[track_caller]
    fn sign_in(&mut self, user: &User) {
        let fields = [("user_name", user.login.as_str()), ("password", PASSWORD)];
        let reply = self.post("/user/login", &fields);
        assert_eq!(reply.status, 303, "{}", reply.text());
    }

    /// Lets the person agree; gives the code that the application gets.
    #[track_caller]
    fn authorize(&mut self, client_id: &str, scope: &str) -> String {
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
        let question = form(&[
            ("client_id", client_id),
            ("redirect_uri", REDIRECT),
            ("response_type", "code"),
            ("scope", scope),
            ("nonce", NONCE),
            ("state", "a-state"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]);
        let location = self.agree(&format!("/login/oauth/authorize?{question}"));
        let (_, answer) = location.split_once('?').unwrap_or_default();
        let code = answer
            .split('&')
            .find_map(|pair| pair.strip_prefix("code="));
        let code = code.unwrap_or_else(|| panic!("no code: {location}"));
        percent_decode_str(code).decode_utf8().unwrap().into_owned()
    }

    /// Lets the person agree to a question; gives where they are sent.
    #[track_caller]
    fn agree(&mut self, question: &str) -> String {
        let page = self.send("GET", question, None);
        assert_eq!(page.status, 200, "{page:?}");
        let hidden = hidden_fields(page.text());
        let mut fields: Vec<(&str, &str)> = hidden
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        fields.push(("granted", "true"));
        let granted = self.post("/login/oauth/grant", &fields);
        let location = granted.header("location");
        location
            .unwrap_or_else(|| panic!("it leads nowhere: {granted:?}"))
            .to_owned()
    }

    fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Reply {
        self.send("POST", path, Some(form(fields)))
    }

    fn send(&mut self, method: &'static str, path: &str, body: Option<String>) -> Reply {
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut request = request(method, path)
            .header("Cookie", &cookies.join("; "))
            .header("Origin", &format!("http://localhost:{}", self.forge.port));
        if let Some(body) = body {
            request = request
                .header("Content-Type", "application/x-www-form-urlencoded")
                .body(body);
        }
        let reply = request.send(self.forge.port);
        for cookie in reply.headers("set-cookie") {
            let pair = cookie.split(';').next().unwrap_or_default();
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        reply
    }
}

/// What a token says, with nothing proved.
#[track_caller]
pub fn claims(token: &str) -> Value {
    let claims = token.split('.').nth(1).expect("it is a JWT");
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

fn form(fields: &[(&str, &str)]) -> String {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect();
    pairs.join("&")
}

/// The hidden fields of a page's form, whose values need no unescaping here.
fn hidden_fields(page: &str) -> Vec<(String, String)> {
    let attribute = |tag: &str, name: &str| {
        let (_, after) = tag.split_once(&format!(" {name}=\""))?;
        Some(after.split_once('"')?.0.to_owned())
    };
    page.split("<input type=\"hidden\"")
        .skip(1)
        .filter_map(|tag| Some((attribute(tag, "name")?, attribute(tag, "value")?)))
        .collect()
}
