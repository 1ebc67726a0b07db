//! What is accepted as a manifest can be read by Debian's cargo of 2022, which unpacks the same crates.

use std::fs;

use crate::common::cargos::Sandbox;
use crate::common::project::Project;
use crate::common::registry::Registry;
use crate::common::tools;
use crate::common::upload::{Release, tarball};

/// Ends of a manifest that readers of TOML have been known to take differently.
const ENDS: [&str; 44] = [
    "",
    "description = 'x'",
    "\u{feff}",
    "\r",
    "\0",
    "# a\rb\n",
    "# a\0b\n",
    "# a\u{1}b\n",
    "# a\u{7f}b\n",
    "description = \"\\e\"\n",
    "description = \"\\x41\"\n",
    "description = \"\\u001b\"\n",
    "description = \"\\uD800\"\n",
    "description = \"\"\"a\\   \n   b\"\"\"\n",
    "description = \"\"\"a\\   b\"\"\"\n",
    "description = \"\"\"a\"\"\"\"\"\n",
    "description = \"\"\"a\u{1}b\"\"\"\n",
    "description = \"a\tb\u{2028}c\u{85}d\"\n",
    "name = \"krate\"\n",
    "'name' = \"krate\"\n",
    "[package]\nedition = '2021'\n",
    "[dependencies]\n[features]\n[dependencies]\n",
    "[features]\nx = [\n 'y', # why\n]\ny = []\n",
    "[package.metadata]\nx = {\n a = 1 }\n",
    "[package.metadata]\nx = { a = 1, }\n",
    "[package.metadata]\nx = { # why\n a = 1 }\n",
    "[package.metadata]\nx = { a = [\n1,\n] }\n",
    "[package.metadata]\nx = 07:32\n",
    "[package.metadata]\nx = 1979-05-27T07:32Z\n",
    "[package.metadata]\nx = 1979-05-27 07:32:00.123456789012z\n",
    "[package.metadata]\nx = 2021-02-03T23:59:59+99:99\n",
    "[package.metadata]\nx = 1__0\n",
    "[package.metadata]\nx = 01\n",
    "[package.metadata]\nx = 0xDEAD_beef\ny = 0b1\nz = 0o7\n",
    "[package.metadata]\nx = 99999999999999999999\n",
    "[package.metadata]\nx = [1, 'a', 1.5, -inf, +nan]\n",
    "[package.metadata]\nx = [{ a = 1 }]\n[[package.metadata.x]]\nb = 1\n",
    "[package.metadata]\na.b = 1\n[package.metadata.a]\nc = 1\n",
    "[package.metadata]\na.b = 1\n[package.metadata.a.d]\nc = 1\n",
    "[package.metadata.a.b]\nx = 1\n[package.metadata.a]\ny = 1\n",
    "[ package . metadata ]\n\"\" = 1\n'é' = 2\n",
    "[package.metadata]\né = 1\n",
    "[[bench]]\nname = 'a'\npath = 'src/lib.rs'\n[bench.b]\nx = 1\n",
    "[package.metadata]\nx = [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n",
];

/// Platforms that Cargo's parser has been known to take differently over the years.
const PLATFORMS: [&str; 40] = [
    "x86_64-unknown-linux-gnu",
    "thumbv8m.main-none-eabi",
    "größe",
    "",
    "two words",
    "x/y.json",
    "cfg(unix)",
    " cfg(unix)",
    "cfg (unix)",
    "cfg( unix )",
    "cfg(\tunix)",
    "cfg(unix) ",
    "cfg()",
    "cfg(",
    "cfg(unix))",
    "cfg(unix windows)",
    "cfg(unix, windows)",
    "cfg(all())",
    "cfg(any())",
    "cfg(all(unix,))",
    "cfg(all(unix,,windows))",
    "cfg(any(unix, not(windows), all(target_os=\"linux\")))",
    "cfg(not())",
    "cfg(not(unix,))",
    "cfg(not(unix, windows))",
    "cfg(true)",
    "cfg(not(false))",
    "cfg(any(true, false))",
    "cfg(true = \"x\")",
    "cfg(r#true)",
    "cfg(not(r#false))",
    "cfg(r#unix)",
    "cfg(all(r#unix, windows))",
    "cfg(r#target_os = \"linux\")",
    "cfg(r = \"r#x\")",
    "cfg(feature = \"a\\b)(,=\")",
    "cfg(feature = \"größe\")",
    "cfg(größe)",
    "cfg(target_os = linux)",
    "cfg(target_os = \"linux)",
];

#[test]
fn what_is_accepted_can_be_read_by_debian_cargo() {
    let Some(program) = tools::old_cargo() else {
        return;
    };
    let registry = Registry::start();
    let token = registry.token("alice");
    let old = Sandbox::old(program, &registry);
    let mut counts = [0, 0];
    for (number, end) in ENDS.iter().enumerate() {
        let version = format!("1.0.{number}");
        let manifest = format!("[package]\nname = \"krate\"\nversion = \"{version}\"\n{end}");
        let folder = old.work().join(&version);
        fs::create_dir_all(folder.join("src")).unwrap();
        fs::write(folder.join("src/lib.rs"), "").unwrap();
        fs::write(folder.join("Cargo.toml"), &manifest).unwrap();
        let read = old.cargo(&folder, &["read-manifest"]);

        let files: [(&str, &[u8]); 2] = [("Cargo.toml", manifest.as_bytes()), ("src/lib.rs", b"")];
        let release = Release {
            name: "krate".to_owned(),
            crate_file: tarball("krate", &version, &files),
            version,
        };
        let reply = release.publish(registry.port, &token);
        counts[usize::from(reply.status == 200)] += 1;
        if reply.status == 200 {
            assert!(read.is_success(), "{end:?} is accepted: {read}");
        } else {
            let refusal = reply.refusal();
            assert!(refusal.contains("Cargo.toml"), "{end:?}: {refusal}");
        }
    }
    let [refused, accepted] = counts;
    assert!(refused >= 20 && accepted >= 15, "{counts:?}");
}

#[test]
fn platforms_that_are_accepted_can_be_read_by_debian_cargo() {
    let Some(program) = tools::old_cargo() else {
        return;
    };
    let registry = Registry::start();
    let token = registry.token("alice");
    let old = Sandbox::old(program, &registry);
    Release::new("krate", "1.0.0")
        .publish(registry.port, &token)
        .succeeds();
    let mut all = Project::program("all", "");
    let mut counts = [0, 0];
    for (number, platform) in PLATFORMS.iter().enumerate() {
        let name = format!("platform-{number}");
        let platform = toml::Value::from(*platform).to_string();
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"1.0.0\"\n[target.{platform}.dependencies]\n\
             krate = {{ version = \"1\", registry-index = \"{}\" }}\n",
            registry.git_index()
        );
        let files: [(&str, &[u8]); 2] = [("Cargo.toml", manifest.as_bytes()), ("src/lib.rs", b"")];
        let release = Release {
            crate_file: tarball(&name, "1.0.0", &files),
            name: name.clone(),
            version: "1.0.0".to_owned(),
        };
        let reply = release.publish(registry.port, &token);
        counts[usize::from(reply.status == 200)] += 1;
        if reply.status == 200 {
            all = all.depends_on(&name, "1");
        } else {
            let refusal = reply.refusal();
            assert!(refusal.contains("the platform"), "{platform}: {refusal}");
        }
    }
    // To make a lock file it reads each index line, to unpack and check the crates each manifest.
    let folder = all.write(&old.work());
    old.cargo(&folder, &["generate-lockfile"]).succeeds();
    old.cargo(&folder, &["metadata", "--format-version", "1"])
        .succeeds();
    let [refused, accepted] = counts;
    assert!(refused >= 15 && accepted >= 15, "{counts:?}");
}
