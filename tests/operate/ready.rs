//! `/readyz`: what it checks.

use std::fs;
use std::time::{Duration, Instant};

use crate::common::http::get;
use crate::common::registry::Registry;
use crate::common::upload::Release;

/// Asks until the answer has this status; gives its text.
#[track_caller]
pub fn wait_for(registry: &Registry, status: u16) -> String {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let reply = get("/readyz").send(registry.port);
        if reply.status == status {
            return reply.text().to_owned();
        }
        assert!(Instant::now() < deadline, "{reply:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_folder_that_takes_no_file_is_named_until_it_does() {
    let registry = Registry::start();
    let token = registry.token("alice");
    assert_eq!(wait_for(&registry, 200), "ok\n");
    for folder in ["blobs/incoming", "index.git/objects/pack"] {
        let folder = registry.data().join(folder);
        let aside = folder.with_extension("aside");
        fs::rename(&folder, &aside).unwrap();
        let why = wait_for(&registry, 503);
        assert!(why.contains(folder.to_str().unwrap()), "{why}");
        get("/healthz").send(registry.port).succeeds();
        let cannot = Release::new("krate", "1.0.0").publish(registry.port, &token);
        assert_eq!(cannot.status, 503, "{cannot:?}");
        fs::rename(&aside, &folder).unwrap();
        wait_for(&registry, 200);
    }
    Release::new("krate", "1.0.0")
        .publish(registry.port, &token)
        .succeeds();
}
