//! The registry as a part of the forge's own pages, behind the proxy of the compose file.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::checkout::Checkout;
use super::gitea::Gitea;
use super::scene::Visibility;
use crate::common::cargos::Sandbox;
use crate::common::git::git;
use crate::common::http::{Reply, get, request};
use crate::common::person::commit_file;
use crate::common::project::Project;
use crate::common::ran::run;
use crate::common::registry::{Registry, program};
use crate::common::tools;
use crate::common::watch::eventually;

/// Ends nginx when the tests end, however they do.
const UNTIL_THE_END: &str = "\"$1\" -c \"$2\" -p \"$3\" & read -r _; kill -KILL $!";

/// An nginx with the proxy's configuration, but for addresses.
struct Proxy {
    port: u16,
    shell: Child,
    _folder: TempDir,
}

impl Proxy {
    fn start(nginx: &Path, port: u16, forge: u16, registry: u16) -> Self {
        let folder = TempDir::new().unwrap();
        let shipped = include_str!("../../packaging/proxy.conf")
            .replace("forge:3000", &format!("127.0.0.1:{forge}"))
            .replace("sidecargo:8642", &format!("127.0.0.1:{registry}"))
            .replace("listen 80", &format!("listen 127.0.0.1:{port}"));
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {kind};\n"))
            .concat();
        let config = format!(
            "daemon off;\nmaster_process off;\npid pid;\nerror_log stderr;\nevents {{}}\n\
             http {{\naccess_log off;\n{temporary}{shipped}}}\n"
        );
        let path = folder.path().join("nginx.conf");
        fs::write(&path, config).unwrap();
        let shell = Command::new("sh")
            .args(["-c", UNTIL_THE_END, "proxy"])
            .args([nginx, &path, folder.path()])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let proxy = Self {
            port,
            shell,
            _folder: folder,
        };
        eventually("the proxy listens", || get("/healthz").try_send(port).ok());
        proxy
    }

    fn page(&self, path: &str) -> Reply {
        get(path).send(self.port).succeeds()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Its input ends, and so does what it started.
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// What `sidecargo doctor` says of `http://localhost` and the port, if the server listens there.
#[track_caller]
fn public_address(registry: &Registry, listen: &str, port: u16) -> String {
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("sidecargo.toml");
    let text = format!("listen = \"{listen}\"\npublic_url = \"http://localhost:{port}\"\n");
    fs::write(&config, text).unwrap();
    let mut command = Command::new(program());
    command.args(["doctor", "--data"]).arg(registry.data());
    command.arg("--config").arg(&config);
    let ran = run(&mut command, b"");
    let mut lines = ran.stdout.lines();
    let line = lines.find(|line| line.contains("public address"));
    line.unwrap_or_else(|| panic!("{ran}")).to_owned()
}

#[test]
fn where_people_reach_a_container_is_not_to_be_seen_in_it() {
    let registry = Registry::start();
    let nobody = free_port();
    for (listen, sign, word) in [
        ("127.0.0.1", "mend", "is not reached from here"),
        ("0.0.0.0", "unknown", "in a container"),
    ] {
        let said = public_address(&registry, &format!("{listen}:{}", registry.port), nobody);
        assert!(said.starts_with(sign) && said.contains(word), "{said}");
    }
}

#[test]
fn crates_are_in_the_navigation_and_on_their_repository() {
    let Some(nginx) = tools::nginx() else { return };
    let Some(forge) = Gitea::pinned() else { return };
    let port = free_port();
    let registry = Registry::start_with(&format!(
        "public_url = \"http://localhost:{port}\"\n[http]\ntrusted_proxies = [\"127.0.0.1/32\"]\n"
    ));
    let proxy = Proxy::start(&nginx, port, forge.port, registry.port);

    // The proxy leads to the registry at its own path alone.
    let said = public_address(&registry, &format!("127.0.0.1:{}", registry.port), port);
    assert!(said.starts_with("good"), "{said}");

    let home = proxy.page("/explore/repos");
    let link = "<a class=\"item\" href=\"/crates/\">Crates</a>";
    assert!(home.text().contains(link), "{}", home.text());
    assert!(proxy.page("/crates/").text().contains("Crates of crates"));

    let owner = forge.user("olga");
    let repository = forge.repository(&owner.login, "greeter", Visibility::Public);
    let page = proxy.page(&format!("/{}/greeter", owner.login));
    let tab = format!("/crates/repositories/{}", repository.id);
    // Not in the menu before it is known whether it leads anywhere: the forge's styles show an item that is `hidden`.
    let template =
        format!("<template id=\"crate-tab\" data-page=\"{tab}\"><a class=\"item\" href=\"{tab}\">");
    assert!(page.text().contains(&template), "{}", page.text());
    // What the page asks; newer forges run no script that stands in a page.
    let text = page.text();
    let before = text
        .split_once("/sidecargo.js\"")
        .expect("the page names it")
        .0;
    let (_, place) = before.rsplit_once("<script src=\"").unwrap();
    let script = proxy.page(&format!("{place}/sidecargo.js"));
    assert!(
        script
            .text()
            .contains("if (answer.ok) tab.replaceWith(tab.content)")
    );
    let asks = || request("HEAD", &tab).send(proxy.port).status;
    assert_eq!(asks(), 404);

    // Real cargo, by way of the proxy.
    let index = format!("sparse+http://localhost:{port}/crates/index/");
    let person = Sandbox::stable_at(&index);
    person.login(&registry.token("alice"));
    let folder = Project::library("greeter", "1.0.0", "hello").write(&person.work());
    person.publish(&folder).succeeds();
    let program = Project::program("hello", "greeter::greeting();").write(&person.work());
    let add = ["add", "greeter", "--registry", "crates"];
    person.cargo(&program, &add).succeeds();
    person.cargo(&program, &["build"]).succeeds();

    let link = format!(
        "users = [{{ login = \"alice\" }}]\nrepository = {{ name = \"{}/greeter\", id = {} }}\n",
        owner.login, repository.id
    );
    commit_file(&registry, "owners/gr/ee/greeter.toml", &link);
    eventually("the tab has something to lead to", || {
        (asks() == 200).then_some(())
    });
    assert!(proxy.page(&tab).text().contains("<h2>greeter 1.0.0</h2>"));
    let mut registry = registry;
    registry.knows_its_files();
}

#[test]
fn a_large_push_reaches_the_forge_through_the_proxy() {
    let Some(nginx) = tools::nginx() else { return };
    let Some(forge) = Gitea::shared() else { return };
    let port = free_port();
    let proxy = Proxy::start(&nginx, port, forge.port, forge.port);
    let owner = forge.user("olga");
    let repository = forge.repository(&owner.login, "large", Visibility::Public);
    let token = forge.token(&owner, &["write:repository"]).text;
    let checkout = Checkout::of(forge, &repository, &token);
    // More than nginx takes unless it is told to.
    let mut noise = vec![0; 3 << 20];
    getrandom::fill(&mut noise).unwrap();
    fs::write(checkout.path().join("noise"), noise).unwrap();
    git(&checkout.path(), &["add", "noise"]).succeeds();
    let who = ["-c", "user.name=olga", "-c", "user.email=olga@localhost"];
    let commit = [&who[..], &["commit", "--quiet", "--message", "noise"]].concat();
    git(&checkout.path(), &commit).succeeds();
    let through = repository
        .url(forge)
        .replace(&forge.port.to_string(), &proxy.port.to_string());
    checkout
        .git(&["push", "--quiet", &through, "HEAD:main"])
        .succeeds();
    let tip = git(&checkout.path(), &["rev-parse", "HEAD"]).succeeds();
    assert_eq!(forge.tip(&repository), tip.stdout.trim());
}
