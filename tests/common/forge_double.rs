//! A small double of the forge: the same addresses and answers, with what a test says it knows.

#[path = "forge_double/rights.rs"]
mod rights;

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// A forge on a port of this machine.
pub struct ForgeDouble {
    pub address: SocketAddr,
    world: Arc<Mutex<World>>,
    task: JoinHandle<()>,
}

/// What the forge knows, and how it is doing.
#[derive(Default)]
pub struct World {
    pub is_forgejo: bool,
    pub version: &'static str,
    pub users: Vec<User>,
    pub tokens: HashMap<&'static str, Token>,
    pub repositories: Vec<Repository>,
    /// Old names of repositories and where they lead.
    pub redirects: HashMap<&'static str, String>,
    pub teams: Vec<Team>,
    pub tasks: Vec<Value>,
    pub pull_requests: Vec<Value>,
    pub run: Value,
    pub issuer: Option<String>,
    pub keys: Vec<Value>,
    pub job_keys: Vec<Value>,
    /// What a running job gets that asks: by its token for that, for an audience, an id-token.
    pub job_id_tokens: Vec<(&'static str, String, String)>,
    pub trouble: Trouble,
    /// A path that is answered with this status.
    pub broken: Option<(&'static str, u16)>,
    /// How many entries a page of a list has at most, if not fifty.
    pub page_entries: Option<usize>,
    /// Whether lists come without the header that tells how long they are.
    pub hides_totals: bool,
    /// The questions that came.
    pub asked: Vec<String>,
}

#[derive(Default, Clone)]
pub enum Trouble {
    #[default]
    None,
    Status(u16),
    Busy(&'static str),
    /// Answers wait until the semaphore has a permit for each.
    Held(Arc<Semaphore>),
    Huge,
    Html,
}

#[derive(Clone, Copy)]
pub struct User {
    pub login: &'static str,
    pub id: u64,
    pub is_blocked: bool,
    pub is_restricted: bool,
}

#[derive(Clone)]
pub struct Token {
    pub of: Holder,
    pub scopes: &'static [&'static str],
}

#[derive(Clone, Copy)]
pub enum Holder {
    User(u64),
    Job { task: u64, repository: u64 },
}

#[derive(Clone)]
pub struct Repository {
    pub id: u64,
    pub path: &'static str,
    pub is_private: bool,
    /// Whether, though it is not private, only those see it who are in its organisation.
    pub is_internal: bool,
    pub is_archived: bool,
    /// Whether it has the part that is the code.
    pub has_code: bool,
    /// The numbers of its collaborators, and `read`, `write` or `admin`; for its owner `owner`.
    pub rights: Vec<(u64, &'static str)>,
}

#[derive(Clone)]
pub struct Team {
    pub id: u64,
    pub organisation: &'static str,
    pub name: &'static str,
    pub members: Vec<u64>,
    /// Its rights on parts of repositories.
    pub units: Vec<(&'static str, &'static str)>,
    /// The numbers of the repositories that are open to it; to `Owners` all are.
    pub repositories: Vec<u64>,
}

/// A key of the forge, with which tests sign.
pub struct SigningKey {
    pub kid: String,
    pub public: Vec<u8>,
    key: EncodingKey,
}

type Answer = (u16, &'static str, String, Vec<(&'static str, String)>);

impl ForgeDouble {
    pub async fn start(world: World) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let world = Arc::new(Mutex::new(world));
        let task = tokio::spawn(serve(listener, address, Arc::clone(&world)));
        Self {
            address,
            world,
            task,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// How many questions came whose path starts so.
    pub fn asked(&self, path: &str) -> usize {
        let world = self.world();
        let is_it = |asked: &&String| asked.starts_with(path);
        world.asked.iter().filter(is_it).count()
    }

    /// Ends it: nobody listens on the port any more.
    pub async fn stop(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

async fn serve(listener: TcpListener, address: SocketAddr, world: Arc<Mutex<World>>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((tcp, _)) = listener.accept().await else {
            continue;
        };
        let world = Arc::clone(&world);
        connections.spawn(async move {
            let answer = service_fn(|request| reply(request, address, Arc::clone(&world)));
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(tcp), answer)
                .await;
        });
    }
}

async fn reply(
    request: Request<Incoming>,
    address: SocketAddr,
    world: Arc<Mutex<World>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let trouble = {
        let mut world = world.lock().unwrap();
        let path = request.uri().path();
        world.asked.push(path.to_owned());
        match world.broken {
            Some((broken, status)) if broken == path => Trouble::Status(status),
            _ => world.trouble.clone(),
        }
    };
    if let Trouble::Held(gate) = &trouble {
        gate.acquire().await.unwrap().forget();
    }
    let (status, content_type, body, headers) = match trouble {
        Trouble::Status(status) => (status, "text/plain", String::new(), vec![]),
        Trouble::Busy(secs) => (
            429,
            "text/plain",
            String::new(),
            vec![("retry-after", secs.to_owned())],
        ),
        Trouble::Huge => (200, "application/json", "[".repeat(2 << 20), vec![]),
        Trouble::Html => (200, "text/html", "<!DOCTYPE html>".to_owned(), vec![]),
        Trouble::None | Trouble::Held(_) => {
            let authorization = request.headers().get("authorization");
            let authorization = authorization.map(|value| value.to_str().unwrap().to_owned());
            let asked = Asked {
                path: request.uri().path().to_owned(),
                query: request.uri().query().unwrap_or_default().to_owned(),
                root: format!("http://{address}"),
                credential: credential(authorization.as_deref()),
            };
            world.lock().unwrap().answer(&asked)
        }
    };
    let mut response = Response::builder()
        .status(status)
        .header("content-type", content_type);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    Ok(response.body(Full::from(body)).unwrap())
}

struct Asked {
    path: String,
    query: String,
    root: String,
    /// The token, and whether it came as git sends it.
    credential: Option<(String, bool)>,
}

fn credential(header: Option<&str>) -> Option<(String, bool)> {
    let (scheme, rest) = header?.split_once(' ')?;
    match scheme {
        "Basic" => {
            let pair = String::from_utf8(BASE64_STANDARD.decode(rest).unwrap()).unwrap();
            Some((pair.split_once(':').unwrap().1.to_owned(), true))
        }
        _ => Some((rest.to_owned(), false)),
    }
}

fn ok(body: &Value) -> Answer {
    (200, "application/json", body.to_string(), vec![])
}

fn refuse(status: u16, message: &str) -> Answer {
    let body = json!({"message": message, "url": "http://forge/api/swagger"});
    (status, "application/json", body.to_string(), vec![])
}

fn not_found() -> Answer {
    let body = json!({"errors": null, "message": "not found", "url": "http://forge/api/swagger"});
    (404, "application/json", body.to_string(), vec![])
}

const NO_ROUTE: (u16, &str, &str) = (404, "text/plain", "404 page not found\n");
const BLOCKED: &str =
    "This account is prohibited from signing in, please contact your site administrator.";

fn user_json(login: &str, id: i64, login_name: &str) -> Value {
    json!({"id": id, "login": login, "login_name": login_name, "source_id": 0, "full_name": "",
        "email": format!("{login}@localhost.test"), "is_admin": false, "active": true,
        "prohibit_login": false, "visibility": "public", "username": login})
}

impl User {
    pub fn new(login: &'static str, id: u64) -> Self {
        Self {
            login,
            id,
            is_blocked: false,
            is_restricted: false,
        }
    }

    fn json(&self) -> Value {
        user_json(self.login, self.id as i64, "")
    }
}

impl Token {
    pub fn of_user(id: u64, scopes: &'static [&'static str]) -> Self {
        let of = Holder::User(id);
        Self { of, scopes }
    }

    pub fn of_job(task: u64, repository: u64) -> Self {
        let of = Holder::Job { task, repository };
        Self { of, scopes: &[] }
    }

    fn may(&self, scope: &str) -> bool {
        let written = scope.replace("read:", "write:");
        let is_it = |own: &&str| *own == scope || *own == written || *own == "all";
        matches!(self.of, Holder::Job { .. }) || self.scopes.iter().any(is_it)
    }
}

impl Repository {
    pub fn new(
        id: u64,
        path: &'static str,
        is_private: bool,
        rights: &[(u64, &'static str)],
    ) -> Self {
        Self {
            id,
            path,
            is_private,
            is_internal: false,
            is_archived: false,
            has_code: true,
            rights: rights.to_vec(),
        }
    }

    fn json(&self, (pull, push): (bool, bool)) -> Value {
        let (owner, name) = self.path.split_once('/').unwrap();
        json!({"id": self.id, "owner": user_json(owner, 50, ""), "name": name, "full_name": self.path,
            "empty": false, "private": self.is_private, "internal": self.is_internal, "archived": self.is_archived,
            "default_branch": "main", "permissions": {"admin": false, "push": push, "pull": pull}})
    }
}

impl World {
    /// An ordinary Gitea.
    pub fn gitea() -> Self {
        Self {
            version: "1.26.0",
            ..Self::default()
        }
    }

    /// Whether it tells a job of its run, as Forgejo does since 16.
    fn tells_runs(&self) -> bool {
        self.is_forgejo && !self.version.starts_with("15.")
    }

    fn holder(&self, asked: &Asked) -> Result<Option<&Token>, Answer> {
        let Some((token, _)) = &asked.credential else {
            return Ok(None);
        };
        let token = self.tokens.get(&**token);
        let Some(token) = token.filter(|token| self.is_alive(token)) else {
            return Err(refuse(401, "invalid username, password or token"));
        };
        match self.user_of(token) {
            Some(user) if user.is_blocked => Err(refuse(403, BLOCKED)),
            _ => Ok(Some(token)),
        }
    }

    fn is_alive(&self, token: &Token) -> bool {
        matches!(token.of, Holder::Job { .. }) || self.user_of(token).is_some()
    }

    fn user_of(&self, token: &Token) -> Option<&User> {
        match token.of {
            Holder::User(id) => self.users.iter().find(|user| user.id == id),
            Holder::Job { .. } => None,
        }
    }

    fn answer(&self, asked: &Asked) -> Answer {
        let segments: Vec<&str> = asked.path.trim_start_matches('/').split('/').collect();
        if let Some(to) = self.redirects.get(&*asked.path) {
            return (
                301,
                "text/html",
                "<a>Moved</a>".to_owned(),
                vec![("location", to.clone())],
            );
        }
        match segments.as_slice() {
            ["api", "forgejo", "v1", "version"] if self.is_forgejo => {
                ok(&json!({"version": self.version}))
            }
            ["api", "v1", "version"] => ok(&json!({"version": self.version})),
            [".well-known", "openid-configuration"] => {
                self.discovery(asked, "", "login/oauth/keys")
            }
            ["login", "oauth", "keys"] => ok(&json!({"keys": self.keys})),
            ["api", "actions", ".well-known", "openid-configuration"] => {
                self.discovery(asked, "/api/actions", "api/actions/.well-known/keys")
            }
            ["api", "actions", ".well-known", "keys"] => ok(&json!({"keys": self.job_keys})),
            [
                "api",
                "actions",
                "_apis",
                "pipelines",
                "workflows",
                _,
                "idtoken",
            ] => self.job_id_token(asked),
            [owner, name, "info", "refs"] => self.advertisement(asked, owner, name),
            ["api", "v1", rest @ ..] => match self.holder(asked) {
                Ok(token) if rights::is_paged(asked) => self.page(asked, self.api(token, rest)),
                Ok(token) => self.api(token, rest),
                Err(refusal) => refusal,
            },
            _ => (NO_ROUTE.0, NO_ROUTE.1, NO_ROUTE.2.to_owned(), vec![]),
        }
    }

    /// The page that was asked for, if the answer is a list.
    fn page(&self, asked: &Asked, (status, content_type, body, mut headers): Answer) -> Answer {
        let mut json: Value = serde_json::from_str(&body).unwrap_or_default();
        let list = match json.get_mut("workflow_runs") {
            Some(list) => list,
            None => &mut json,
        };
        let Some(entries) = list.as_array_mut() else {
            return (status, content_type, body, headers);
        };
        let named = |name: &str| {
            let mut parts = asked.query.split('&');
            let number = parts.find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            number.map(|number| number.parse::<usize>().unwrap())
        };
        let most = self.page_entries.unwrap_or(50);
        let size = named("limit").unwrap_or(most).min(most);
        if !self.hides_totals {
            headers.push(("x-total-count", entries.len().to_string()));
        }
        let start = (named("page").unwrap_or(1) - 1) * size;
        *entries = entries.iter().skip(start).take(size).cloned().collect();
        (status, content_type, json.to_string(), headers)
    }

    fn discovery(&self, asked: &Asked, issuer: &str, keys: &str) -> Answer {
        let issuer = format!("{}{issuer}", asked.root);
        let issuer = self.issuer.clone().unwrap_or(issuer);
        ok(
            &json!({"issuer": issuer, "jwks_uri": format!("{}/{keys}", asked.root),
            "id_token_signing_alg_values_supported": ["ES256"], "subject_types_supported": ["public"]}),
        )
    }

    fn job_id_token(&self, asked: &Asked) -> Answer {
        let shown = asked.credential.as_ref().map(|(token, _)| token.as_str());
        let is_it = |(token, audience, _): &&(&str, String, String)| {
            Some(*token) == shown && asked.query == format!("placeholder=true&audience={audience}")
        };
        let found = self.job_id_tokens.iter().find(is_it);
        found.map_or_else(not_found, |(.., jwt)| ok(&json!({ "value": jwt })))
    }

    fn api(&self, token: Option<&Token>, rest: &[&str]) -> Answer {
        let lacks = |scope: &str| {
            let message = format!(
                "token does not have at least one of required scope(s), required=[{scope}]"
            );
            refuse(403, &message)
        };
        let needed = match rest {
            ["user"] | ["users", _] => "read:user",
            ["repos", ..] | ["repositories", _] => "read:repository",
            ["user", "teams"] | ["orgs", ..] | ["teams", ..] => "read:organization",
            _ => "",
        };
        if let Some(token) = token
            && !needed.is_empty()
            && !token.may(needed)
        {
            return lacks(needed);
        }
        if let Some(answer) = self.of_people(token, rest) {
            return answer;
        }
        match (rest, token) {
            (["user"], Some(token)) => match token.of {
                Holder::User(_) => ok(&self.user_of(token).unwrap().json()),
                Holder::Job { .. } if self.is_forgejo => {
                    ok(&user_json("forgejo-actions", -2, "forgejo-actions"))
                }
                Holder::Job { task, .. } => ok(&user_json(
                    "gitea-actions",
                    -2,
                    &format!("@gitea-actions/{task}"),
                )),
            },
            (["token"], Some(token)) if self.version == "1.27.0" => match token.of {
                Holder::User(_) => ok(&json!({"id": 1, "name": "t", "scopes": token.scopes})),
                Holder::Job { .. } => not_found(),
            },
            (["actions", "run"], Some(token)) if self.tells_runs() => match token.of {
                Holder::Job { .. } => ok(&self.run),
                Holder::User(_) => refuse(403, "must use an automatic actions token"),
            },
            (["users", login], _) => match self
                .users
                .iter()
                .find(|user| user.login.eq_ignore_ascii_case(login))
            {
                Some(user) => ok(&user.json()),
                None => not_found(),
            },
            (["repos", owner, name], token) => {
                let path = format!("{owner}/{name}");
                self.repository(token, |repository| {
                    repository.path.eq_ignore_ascii_case(&path)
                })
            }
            (["repositories", id], token) => {
                self.repository(token, |repository| repository.id.to_string() == *id)
            }
            (["repos", owner, name, "actions", "tasks"], Some(_)) => {
                let path = format!("{owner}/{name}");
                let tasks: Vec<&Value> = self
                    .tasks
                    .iter()
                    .filter(|task| task["repository"] == *path)
                    .collect();
                ok(&json!({"workflow_runs": tasks, "total_count": tasks.len()}))
            }
            (["repos", _, _, "pulls"], Some(_)) => ok(&json!(self.pull_requests)),
            (["orgs", organisation], Some(_)) => {
                match self.teams.iter().any(|it| it.organisation == *organisation) {
                    true => ok(&json!({"name": organisation})),
                    false => not_found(),
                }
            }
            (["user" | "orgs" | "teams", ..], None) => refuse(401, "token is required"),
            _ => (NO_ROUTE.0, NO_ROUTE.1, NO_ROUTE.2.to_owned(), vec![]),
        }
    }

    fn repository(&self, token: Option<&Token>, is_it: impl Fn(&Repository) -> bool) -> Answer {
        let found = self
            .repositories
            .iter()
            .find(|repository| is_it(repository));
        let seen = found
            .and_then(|found| Some(found.json(self.rights(found, token.map(|token| token.of))?)));
        seen.map_or_else(not_found, |seen| ok(&seen))
    }

    fn advertisement(&self, asked: &Asked, owner: &str, name: &str) -> Answer {
        let text = |status, text: &str| (status, "text/plain", text.to_owned(), vec![]);
        let path = format!("{owner}/{}", name.trim_end_matches(".git"));
        assert_eq!(asked.query, "service=git-receive-pack");
        let token = match self.holder(asked) {
            Ok(Some(token)) => token,
            Ok(None) => return text(401, "Unauthorized"),
            Err((403, ..)) => {
                return (
                    200,
                    "text/html",
                    "<!DOCTYPE html>Sign-In Prohibited".to_owned(),
                    vec![],
                );
            }
            Err(_) => return text(401, "Failed to authenticate user"),
        };
        let is_basic = asked
            .credential
            .as_ref()
            .is_some_and(|(_, is_basic)| *is_basic);
        let found = self
            .repositories
            .iter()
            .find(|repository| repository.path.eq_ignore_ascii_case(&path));
        let Some(repository) = found.filter(|found| self.rights(found, Some(token.of)).is_some())
        else {
            return text(404, "Repository not found");
        };
        if is_basic && !token.may("write:repository") {
            return text(403, "Forbidden");
        }
        if repository.is_archived {
            return text(
                403,
                "This repo is archived. You can view files and clone it, but cannot push or open issues/pull-requests.",
            );
        }
        let body = "001f# service=git-receive-pack\n000000be0123456789012345678901234567890123456789 refs/heads/main\0 report-status";
        (
            200,
            "application/x-git-receive-pack-advertisement",
            body.to_owned(),
            vec![],
        )
    }
}

impl SigningKey {
    pub fn new(kid: &str) -> Self {
        use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
        let random = aws_lc_rs::rand::SystemRandom::new();
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
        Self {
            kid: kid.to_owned(),
            public: pair.public_key().as_ref().to_vec(),
            key: EncodingKey::from_ec_der(pkcs8.as_ref()),
        }
    }

    /// The public half as the forge tells it.
    pub fn jwk(&self) -> Value {
        let [x, y] = [&self.public[1..33], &self.public[33..]]
            .map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
        json!({"alg": "ES256", "crv": "P-256", "kid": self.kid, "kty": "EC", "use": "sig", "x": x, "y": y})
    }

    /// A token that says this.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_as(
            &json!({"alg": "ES256", "kid": self.kid, "typ": "JWT"}),
            claims,
        )
    }

    pub fn sign_as(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, Algorithm::ES256);
        format!("{message}.{}", signature.unwrap())
    }
}

/// A token signed with a shared secret.
pub fn sign_with_secret(secret: &[u8], header: &Value, claims: &Value) -> String {
    let message = message(header, claims);
    let key = EncodingKey::from_secret(secret);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256);
    format!("{message}.{}", signature.unwrap())
}

fn message(header: &Value, claims: &Value) -> String {
    [header, claims]
        .map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()))
        .join(".")
}
