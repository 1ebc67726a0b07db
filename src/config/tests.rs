use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use serde::de::{Deserialize, Deserializer, Visitor, value::Error as ValueError};
use serde::forward_to_deserialize_any;

use super::*;

fn example_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sidecargo.example.toml")
}

fn variables(pairs: &[(&str, &str)]) -> Environment {
    let owned = pairs
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Environment::from_variables(owned)
}

fn from_text(text: &str) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sidecargo.toml");
    fs::write(&path, text).unwrap();
    let arguments = Arguments {
        config: Some(path),
        ..Arguments::default()
    };
    let elsewhere = Path::new("/elsewhere");
    Config::load(&arguments, &Environment::default(), elsewhere).map_err(|fault| fault.to_string())
}

/// Asks a type for the names of its fields and then stops.
struct FieldNames<'a>(&'a mut Vec<&'static str>);

impl<'de> Deserializer<'de> for FieldNames<'_> {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, ValueError> {
        Err(serde::de::Error::custom("not a struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, ValueError> {
        self.0.extend(fields);
        Err(serde::de::Error::custom("seen enough"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

fn field_names<'de, T: Deserialize<'de>>() -> Vec<&'static str> {
    let mut names = Vec::new();
    assert!(T::deserialize(FieldNames(&mut names)).is_err());
    assert!(!names.is_empty());
    names
}

#[test]
fn the_example_names_every_key_and_equals_the_defaults() {
    let example: toml::Table =
        toml::from_str(&fs::read_to_string(example_path()).unwrap()).unwrap();
    let missing = |table: &toml::Table, names: Vec<&'static str>| {
        let is_missing = |name: &&str| !table.contains_key(*name);
        names.into_iter().filter(is_missing).collect::<Vec<_>>()
    };
    // To say nothing of this one is not the same as to say what a new registry is.
    let unsaid = ["visibility"];
    assert_eq!(missing(&example, field_names::<RawConfig>()), unsaid);
    for (section, names) in [
        ("http", field_names::<HttpConfig>()),
        ("fetch", field_names::<FetchConfig>()),
        ("log", field_names::<LogConfig>()),
        ("index", field_names::<IndexConfig>()),
        ("forge", vec!["poll_secs", "unreachable_secs"]),
    ] {
        let table = example[section].as_table().unwrap();
        assert_eq!(missing(table, names), [""; 0], "in [{section}]");
    }

    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let environment = Environment::default();
    let with_example = Arguments {
        config: Some(example_path()),
        ..Arguments::default()
    };
    let mut from_example = Config::load(&with_example, &environment, folder).unwrap();
    let defaults = Config::load(&Arguments::default(), &environment, folder).unwrap();
    // The default of this one depends on the port that was bound.
    assert_eq!(
        from_example.public_url.take(),
        Some(defaults.public_url(defaults.listen))
    );
    assert_eq!(from_example, defaults);
}

#[test]
fn the_example_tells_of_a_forge_as_it_may_be_written() {
    // What has no default stands there as a comment.
    let example = fs::read_to_string(example_path()).unwrap();
    let (_, forge) = example.split_once("\n[forge]\n").unwrap();
    let (forge, _) = forge.split_once("\n[").unwrap();
    let written: String = forge
        .lines()
        .filter_map(|line| line.strip_prefix("# ").filter(|line| line.contains(" = ")))
        .fold(String::new(), |text, line| text + line + "\n");
    let config = from_text(&format!("[forge]\n{written}")).unwrap();
    let forge = config.forge.unwrap();
    let clone_url = "https://git.example.com/acme/crates.git";
    assert_eq!(forge.clone_url(), clone_url);
    assert_eq!(forge.clone_url_of_people(), clone_url);
    assert!(forge.token_file.unwrap().is_absolute());
    assert_eq!((forge.poll_secs, forge.unreachable_secs), (30, 86400));
    assert!(forge.client_id.is_some());
    assert_eq!(forge.reviewers.as_deref(), Some("reviewers"));
    assert!(forge.told_at.is_some());
    assert_eq!(forge.issuer, forge.url);
}

#[test]
fn half_a_forge_is_refused_with_the_key_that_is_missing() {
    let (url, repository) = ("url = \"https://git.example.com\"", "repository = \"a/b\"");
    for (written, key) in [
        (url.to_owned(), "`forge.repository`"),
        (repository.to_owned(), "`forge.url`"),
        ("token_file = \"token\"".to_owned(), "`forge.url`"),
        (
            format!("{url}\n{repository}\ntoken_file = \"\""),
            "`forge.token_file`",
        ),
        (
            format!("{url}\n{repository}\npoll_secs = 0"),
            "`forge.poll_secs`",
        ),
        (
            format!("{url}\nrepository = \"a/b/c\""),
            "names no repository",
        ),
        ("client_id = \"1\"".to_owned(), "`forge.url`"),
        ("issuer = \"http://a\"".to_owned(), "`forge.url`"),
        ("reviewers = \"r\"".to_owned(), "`forge.url`"),
        ("told_at = \"http://a\"".to_owned(), "`forge.url`"),
        (
            "poll_secs = 5".to_owned(),
            "`forge.url` is not valid: it is missing, but `forge.poll_secs` is there",
        ),
        ("unreachable_secs = 5".to_owned(), "`forge.url`"),
        (
            format!("{url}\n{repository}\nclient_id = \"a b\""),
            "`forge.client_id`",
        ),
        (
            format!("{url}\n{repository}\nclient_id = \"\""),
            "`forge.client_id`",
        ),
        (
            format!("{url}\n{repository}\nunreachable_secs = 2592001"),
            "`forge.unreachable_secs`",
        ),
    ] {
        let fault = from_text(&format!("[forge]\n{written}")).unwrap_err();
        assert!(fault.contains(key), "{written}: {fault}");
    }
    // As in the example, which has no forge.
    assert_eq!(from_text("[forge]\npoll_secs = 30").unwrap().forge, None);
}

#[test]
fn a_secret_in_the_place_of_its_file_is_refused_and_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.toml");
    let shown = |setting: &str| {
        let forge = "[forge]\nurl = 'http://f'\nrepository = 'a/b'\n";
        fs::write(&file, format!("{forge}{setting}\n")).unwrap();
        let arguments = Arguments {
            config: Some(file.clone()),
            ..Arguments::default()
        };
        Config::show(&arguments, &Environment::default(), Path::new("/x"))
    };
    let secrets = [
        "0123456789abcdef0123456789abcdef01234567",
        "aB+cD1=_-aB+cD1=",
    ];
    for key in ["token_file", "webhook_secret_file"] {
        for secret in secrets {
            let fault = shown(&format!("{key} = '{secret}'"))
                .unwrap_err()
                .to_string();
            assert!(
                fault.starts_with(&format!("`forge.{key}` is not valid: ")),
                "{fault}"
            );
            assert!(!fault.contains(secret), "{fault}");
            shown(&format!("{key} = './{secret}'")).unwrap();
        }
        for name in ["forge-webhook-secret", "token-1", "token-of-2026-11-30.txt"] {
            shown(&format!("{key} = '{name}'")).unwrap();
        }
    }
    fs::write(folder.path().join(secrets[0]), "").unwrap();
    shown(&format!("token_file = '{}'", secrets[0])).unwrap();
}

#[test]
fn the_forge_is_shown_with_where_it_comes_from() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.toml");
    let text = "[forge]\nurl = \"https://git.example.com/\"\nrepository = \"acme/crates\"\ntoken_file = \"token\"\n";
    fs::write(&path, text).unwrap();
    let arguments = Arguments {
        config: Some(path),
        ..Arguments::default()
    };
    let shown = Config::show(&arguments, &Environment::default(), folder.path()).unwrap();
    let (_, forge) = shown.split_once("\n[forge]\n").unwrap();
    for (setting, source) in [
        ("url = \"https://git.example.com\"", "s.toml:2"),
        ("repository = \"acme/crates\"", "s.toml:3"),
        ("poll_secs = 30", "default"),
        ("unreachable_secs = 86400", "default"),
    ] {
        let line = forge
            .lines()
            .find(|line| line.starts_with(setting))
            .unwrap();
        assert!(line.ends_with(source), "{line}");
    }
}

#[test]
fn a_token_of_the_forge_in_the_environment_is_told_of_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let shown = |file: &str, variables: &Environment| {
        fs::write(folder.path().join("s.toml"), file).unwrap();
        let arguments = Arguments {
            config: Some("s.toml".into()),
            ..Arguments::default()
        };
        let shown = Config::show(&arguments, variables, folder.path()).unwrap();
        assert!(!shown.contains("secret"), "{shown}");
        from_text(&shown).unwrap();
        let is_about = |line: &&str| line.contains(TOKEN_VARIABLE);
        shown.lines().find(is_about).map(str::to_owned)
    };
    let forge = "[forge]\nurl = \"https://git.example.com/\"\nrepository = \"acme/crates\"\n";
    let set = variables(&[(TOKEN_VARIABLE, "secret")]);
    let told = shown(forge, &set).unwrap();
    assert!(
        told.ends_with("holds the token of the server's account"),
        "{told}"
    );
    let told = shown(&format!("{forge}token_file = \"token\"\n"), &set).unwrap();
    assert!(told.contains("is set and not used"), "{told}");
    assert_eq!(shown("", &set), None);
    for unset in [Environment::default(), variables(&[(TOKEN_VARIABLE, "")])] {
        assert_eq!(shown(forge, &unset), None);
    }
}

#[test]
fn defaults_are_an_embedded_registry_in_the_folder() {
    let config = Config::load(
        &Arguments::default(),
        &Environment::default(),
        Path::new("/work-folder"),
    )
    .unwrap();
    assert_eq!(config.data, Path::new("/work-folder/sidecargo-data"));
    assert_eq!(config.listen.to_string(), "127.0.0.1:8642");
    assert_eq!(config.name.as_str(), "crates");
    let bound = "127.0.0.1:4711".parse().unwrap();
    assert_eq!(config.public_url(bound).as_str(), "http://localhost:4711");
}

#[test]
fn command_line_over_environment_over_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = "data = 'file'\nlisten = '127.0.0.1:1'\npublic_url = 'http://file'\nname = 'file'\n[log]\nfilter = 'warn'\n";
    fs::write(folder.path().join("conf.toml"), file).unwrap();
    let file_variable = ("SIDECARGO_CONFIG", "conf.toml");

    let config = Config::load(
        &Arguments::default(),
        &variables(&[file_variable]),
        folder.path(),
    )
    .unwrap();
    assert_eq!(config.data, folder.path().join("file"));
    assert_eq!(config.listen.port(), 1);
    assert_eq!(config.log.filter, "warn".parse().unwrap());

    let all_variables = variables(&[
        file_variable,
        ("SIDECARGO_DATA", "variable"),
        ("SIDECARGO_LISTEN", "127.0.0.1:2"),
        ("SIDECARGO_PUBLIC_URL", "http://variable/"),
        ("SIDECARGO_NAME", "variable"),
        ("SIDECARGO_VISIBILITY", "private"),
        ("SIDECARGO_LOG", "debug"),
        ("SIDECARGO_PORT", "tcp://10.0.0.1:80"),
    ]);
    let config = Config::load(&Arguments::default(), &all_variables, folder.path()).unwrap();
    assert_eq!(config.data, folder.path().join("variable"));
    assert_eq!(config.listen.port(), 2);
    assert_eq!(config.public_url(config.listen).as_str(), "http://variable");
    assert_eq!(config.name.as_str(), "variable");
    assert_eq!(config.visibility, Some(Visibility::Private));
    assert_eq!(config.log.filter, "debug".parse().unwrap());

    let arguments = Arguments {
        config: None,
        data: Some("argument".into()),
        listen: Some("127.0.0.1:3".parse().unwrap()),
        public_url: Some("https://argument".parse().unwrap()),
        name: Some("argument".parse().unwrap()),
        visibility: Some(Visibility::Public),
    };
    let config = Config::load(&arguments, &all_variables, folder.path()).unwrap();
    assert_eq!(config.data, folder.path().join("argument"));
    assert_eq!(config.listen.port(), 3);
    assert_eq!(
        config.public_url(config.listen).as_str(),
        "https://argument"
    );
    assert_eq!(config.name.as_str(), "argument");
    assert_eq!(config.visibility, Some(Visibility::Public));
}

#[test]
fn a_path_in_the_file_starts_at_the_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("etc")).unwrap();
    fs::write(folder.path().join("etc/conf.toml"), "data = 'd'").unwrap();
    let environment = variables(&[
        ("SIDECARGO_CONFIG", "etc/conf.toml"),
        ("SIDECARGO_DATA", ""),
    ]);
    let config = Config::load(&Arguments::default(), &environment, folder.path()).unwrap();
    assert_eq!(config.data, folder.path().join("etc/d"));
}

#[test]
fn the_forges_files_start_at_the_file_wherever_the_data_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let etc = folder.path().join("etc");
    fs::create_dir(&etc).unwrap();
    let text = "[forge]\nurl = 'http://forge'\nrepository = 'acme/crates'\n\
        token_file = 'token'\nwebhook_secret_file = 'secret'\n";
    fs::write(etc.join("conf.toml"), text).unwrap();
    let file = ("SIDECARGO_CONFIG", "etc/conf.toml");
    let argument = Arguments {
        data: Some("d".into()),
        ..Arguments::default()
    };
    for (arguments, environment) in [
        (Arguments::default(), variables(&[file])),
        (
            Arguments::default(),
            variables(&[file, ("SIDECARGO_DATA", "d")]),
        ),
        (argument, variables(&[file])),
    ] {
        let config = Config::load(&arguments, &environment, folder.path()).unwrap();
        let forge = config.forge.unwrap();
        assert_eq!(forge.token_file, Some(etc.join("token")));
        assert_eq!(forge.webhook_secret_file, Some(etc.join("secret")));
    }
}

#[test]
fn a_wrong_value_is_refused_with_its_key() {
    for (text, key) in [
        ("dat = 'x'", "dat"),
        ("[http]\nheader_sec = 1", "header_sec"),
        ("data = ''", "`data`"),
        ("listen = 'localhost'", "listen"),
        ("public_url = 'http://host/?q'", "public_url"),
        ("public_url = 'ftp://host/'", "public_url"),
        ("name = 'Crates'", "name"),
        ("visibility = 'secret'", "visibility"),
        ("capability_downloads = true", "`capability_downloads`"),
        (
            "visibility = 'public'\ncapability_downloads = true",
            "`visibility` is not `private`",
        ),
        ("[http]\nheader_secs = 0", "`http.header_secs`"),
        ("[http]\nconnections_max = 0", "`http.connections_max`"),
        ("[http]\nbody_idle_secs = 601", "`http.body_total_secs`"),
        ("[http]\nshutdown_secs = 19", "`http.shutdown_secs`"),
        ("[fetch]\nper_address_max = 17", "`fetch.children_max`"),
        ("[fetch]\nchildren_max = 100000", "`fetch.children_max`"),
        ("[fetch]\nremembered_mb = 100000", "`fetch.remembered_mb`"),
        ("[log]\nfilter = 'sidecargo=loud'", "`log.filter`"),
        ("[log]\nfilter = 'warning'", "`log.filter`"),
        ("[log]\nformat = 'xml'", "format"),
        // Nothing that is shown can be a secret.
        ("public_url = 'http://me:secret@host/'", "public_url"),
    ] {
        let fault = from_text(text).unwrap_err();
        assert!(fault.contains(key), "{text}: {fault}");
    }
}

#[test]
fn a_proxy_may_be_named_by_its_address_alone() {
    let text = "[http]\ntrusted_proxies = ['127.0.0.1', '::1', '10.0.0.0/8']";
    let proxies = from_text(text).unwrap().http.trusted_proxies;
    let proxies: Vec<String> = proxies.iter().map(ToString::to_string).collect();
    assert_eq!(proxies, ["127.0.0.1/32", "::1/128", "10.0.0.0/8"]);
}

#[test]
fn a_mistake_is_told_with_its_place_and_without_a_value() {
    // Each value is one that somebody may have written there by mistake, and is not to get into the log.
    for (text, expected) in [
        (
            "[forge]\ntoken = \"gto_SECRET\"",
            "`forge.token` in line 2, column 1: unknown field `token`, expected one of `url`, `issuer`, ",
        ),
        (
            "[forge]\nurl = \"https://robot:SECRET@host\"",
            "`forge.url` in line 2, column 7: the URL must not carry a user name, a password, `?` or `#`",
        ),
        (
            "forge.url = 'robot SECRET@host'",
            "`forge.url` in line 1, column 13: it is not a URL: it contains a blank,",
        ),
        (
            "forge.url = 'SECRET.example.com'",
            "`forge.url` in line 1, column 13: it must start with `https://` or `http://`",
        ),
        (
            "forge = { url = \"ftp://robot:SECRET\\u0040host\" }",
            "`forge.url` in line 1, column 17: it must start with `https://` or `http://`",
        ),
        (
            "[forge]\npoll_secs = \"SECRET, expected it\"",
            "`forge.poll_secs` in line 2, column 13: it must be a whole number, without quotes, point or sign",
        ),
        (
            "listen = 'SECRET:8642'",
            "`listen` in line 1, column 10: it must be an IP address of this machine with a port, such as 127.0.0.1:8642",
        ),
        (
            "listen = 8642",
            "`listen` in line 1, column 10: it must be an IP address of this machine with a port, such as 127.0.0.1:8642",
        ),
        (
            "log = 'SECRET'",
            "`log` in line 1, column 7: it must be the section `[log]`, its keys in the lines below",
        ),
        (
            "capability_downloads = 'SECRET'",
            "`capability_downloads` in line 1, column 24: it must be `true` or `false`, without quotes",
        ),
        (
            "[http]\ntrusted_proxies = '127.0.0.1'",
            "`http.trusted_proxies` in line 2, column 19: it must be a list, in brackets",
        ),
        (
            "[log]\nformat = \"SECRET\"",
            "`log.format` in line 2, column 10: it must be `human` or `json`",
        ),
        (
            "name = 'x'\n[http]\ntrusted_proxies = [\n  'SECRET']",
            "`http.trusted_proxies` in line 4, column 3: it must be an address or a network, such as 127.0.0.1 or 10.0.0.0/8",
        ),
        (
            "[forge]\n\"tok\\u0065n\" = 1 SECRET",
            "`forge.token` in line 2, column ",
        ),
        ("[forge]\nurl = SECRET", "`forge.url` in line 2, column "),
        ("[forge]\nurl = \"SECRET", "`forge.url` in line 2, column "),
        ("[forge]\nurl = \"\"\"\nSECRET", "line "),
        (
            "[forge]\nurl = 'a'\nurl = 'SECRET'",
            "`url` in line 3, column 1: duplicate key",
        ),
        (
            "[forge]\nurl = 'http://a'\nSECRET\n",
            "valid: line 3, column ",
        ),
        ("SECRET", "valid: line 1, column "),
        (
            "[forge]\nurl = 'http://a'\nSECRET==\n",
            "valid: line 3, column ",
        ),
        (
            "[forge]\nSECRET=\nurl = 'http://a'\n",
            "valid: line 2, column ",
        ),
        ("[forge]\nSECRET= # the token\n", "valid: line 2, column "),
        (
            "[log]\nformat = { SECRET = 1 }",
            "`log.format` in line 2, column ",
        ),
        ("[SECRET\n", "valid: line 1, column "),
    ] {
        let fault = from_text(text).unwrap_err();
        assert!(fault.contains(expected), "{text}: {fault}");
        assert!(!fault.contains("SECRET"), "{text}: {fault}");
        assert!(!fault.contains('\n'), "{text}: {fault}");
    }
    for (name, value) in [
        ("SIDECARGO_PUBLIC_URL", "https://robot:SECRET@host"),
        ("SIDECARGO_PUBLIC_URL", "robot SECRET@host"),
        ("SIDECARGO_LISTEN", "SECRET"),
        ("SIDECARGO_NAME", "a SECRET"),
        ("SIDECARGO_VISIBILITY", "SECRET"),
        ("SIDECARGO_LOG", "SECRET"),
        ("SIDECARGO_LOG", "hyper=SECRET"),
    ] {
        let environment = variables(&[(name, value)]);
        let loaded = Config::load(&Arguments::default(), &environment, Path::new("/x"));
        let fault = loaded.unwrap_err().to_string();
        assert!(!fault.contains("SECRET"), "{value}: {fault}");
    }
}

#[test]
fn a_wrong_variable_is_refused_with_its_name() {
    for name in [
        "SIDECARGO_LISTEN",
        "SIDECARGO_PUBLIC_URL",
        "SIDECARGO_NAME",
        "SIDECARGO_VISIBILITY",
        "SIDECARGO_LOG",
    ] {
        let environment = variables(&[(name, "No Such/Thing?")]);
        let loaded = Config::load(&Arguments::default(), &environment, Path::new("/x"));
        let fault = loaded.unwrap_err().to_string();
        assert!(fault.contains(name), "{fault}");
    }
}

#[test]
fn a_missing_or_endless_file_is_refused() {
    let environment = variables(&[("SIDECARGO_CONFIG", "none.toml")]);
    let loaded = Config::load(&Arguments::default(), &environment, Path::new("/nowhere"));
    assert!(
        matches!(loaded, Err(ConfigFault::Read { path, .. }) if path == Path::new("/nowhere/none.toml"))
    );
    let fault = from_text(&" ".repeat(1024 * 1024 + 1)).unwrap_err();
    assert!(fault.contains("larger than 1048576 bytes"), "{fault}");
}

#[test]
fn every_setting_is_shown_with_its_source() {
    let folder = tempfile::tempdir().unwrap();
    let file = "name = 'file'\nlisten = '127.0.0.1:1'\n\n[http]\nheader_secs = 7\n\n[log]\nfilter = 'warn'\n";
    fs::write(folder.path().join("conf.toml"), file).unwrap();
    let environment = variables(&[
        ("SIDECARGO_CONFIG", "conf.toml"),
        ("SIDECARGO_LISTEN", "127.0.0.1:2"),
        ("SIDECARGO_VISIBILITY", "private"),
        ("SIDECARGO_LOG", "debug"),
    ]);
    let arguments = Arguments {
        visibility: Some(Visibility::Public),
        ..Arguments::default()
    };
    let text = Config::show(&arguments, &environment, folder.path()).unwrap();
    let path = folder.path().join("conf.toml");
    let source = |setting: &str| {
        let line = text.lines().find(|line| line.starts_with(setting));
        let line = line.unwrap_or_else(|| panic!("no `{setting}` in\n{text}"));
        line.rsplit_once("# ").unwrap().1.to_owned()
    };
    assert_eq!(source("name = \"file\" "), format!("{}:1", path.display()));
    assert_eq!(source("listen = \"127.0.0.1:2\" "), "SIDECARGO_LISTEN");
    assert_eq!(source("visibility = \"public\" "), "--visibility");
    assert_eq!(source("header_secs = 7 "), format!("{}:5", path.display()));
    assert_eq!(source("filter = \"debug\" "), "SIDECARGO_LOG");
    assert_eq!(source("format = \"human\" "), "default");
    assert_eq!(source("data = "), "default");
    assert_eq!(source("public_url = \"http://localhost:2\" "), "default");

    // What is shown is a file, and it says all of the same.
    let table: toml::Table = text.parse().unwrap();
    for name in field_names::<RawConfig>() {
        // Without a forge there is nothing to say of one.
        assert_eq!(table.contains_key(name), name != "forge", "{name}");
    }
    for (section, names) in [
        ("index", field_names::<IndexConfig>()),
        ("http", field_names::<HttpConfig>()),
        ("fetch", field_names::<FetchConfig>()),
        ("log", field_names::<LogConfig>()),
    ] {
        for name in names {
            assert!(table[section].get(name).is_some(), "{section}.{name}");
        }
    }
    let mut again = from_text(&text).unwrap();
    let config = Config::load(&arguments, &environment, folder.path()).unwrap();
    assert_eq!(
        again.public_url.take(),
        Some(config.public_url(config.listen))
    );
    assert_eq!(again, config);
}

#[test]
fn what_cannot_be_served_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("conf.toml"), "nam = 'x'").unwrap();
    let environment = variables(&[("SIDECARGO_CONFIG", "conf.toml")]);
    let fault = Config::show(&Arguments::default(), &environment, folder.path());
    let fault = fault.unwrap_err().to_string();
    assert!(fault.contains("unknown field `nam`"), "{fault}");
}

#[test]
fn a_path_that_toml_cannot_hold_is_named() {
    let path = PathBuf::from(OsString::from_vec(b"no-\xff-text".to_vec()));
    let arguments = Arguments {
        data: Some(path.clone()),
        ..Arguments::default()
    };
    let shown = |arguments: &Arguments| {
        let shown = Config::show(arguments, &Environment::default(), Path::new("/"));
        shown.unwrap_err().to_string()
    };
    let fault = shown(&arguments);
    assert!(fault.starts_with("`data` cannot be shown: "), "{fault}");
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join(path);
    fs::create_dir(&folder).unwrap();
    let text = "data = '/d'\n[forge]\nurl = 'http://f'\nrepository = 'a/b'\ntoken_file = 't'\n";
    fs::write(folder.join("conf.toml"), text).unwrap();
    let arguments = Arguments {
        config: Some(folder.join("conf.toml")),
        ..Arguments::default()
    };
    let fault = shown(&arguments);
    assert!(fault.starts_with("`forge` cannot be shown: "), "{fault}");
}
