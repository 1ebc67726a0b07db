use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;
use std::time::SystemTime;

use tempfile::TempDir;

use super::*;

/// The example key of RFC 8037, A.1, and its thumbprint from A.3.
const EXAMPLE_SEED: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
const EXAMPLE_ID: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";

/// PKCS#8 v1 around an Ed25519 seed: the fixed bytes of RFC 8410, 7.
fn example_pkcs8() -> Vec<u8> {
    let mut bytes = vec![
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70,
    ];
    bytes.extend([0x04, 0x22, 0x04, 0x20]);
    bytes.extend(BASE64_URL_SAFE_NO_PAD.decode(EXAMPLE_SEED).unwrap());
    bytes
}

fn example_file() -> String {
    format!("token-{EXAMPLE_ID}.pk8")
}

/// A folder in which the example key signs.
fn example_folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    put(&dir, &example_file(), &example_pkcs8());
    put(&dir, CURRENT, EXAMPLE_ID.as_bytes());
    dir
}

fn put(dir: &TempDir, name: &str, bytes: &[u8]) {
    let path = dir.path().join(name);
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// The names of all files in `dir`, hidden ones too.
fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn a_folder_that_cannot_be_flushed_is_told() {
    let fault = sync_folder(Path::new("/there is no such folder")).unwrap_err();
    assert!(matches!(fault, KeyFault::Io { .. }), "{fault}");
}

#[test]
fn first_use_makes_one_private_key_that_stays() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().join("deep").join("keys");
    let made = TokenKeys::open_or_create(&dir).unwrap();
    let key_file = format!("token-{}.pk8", made.signing_id());
    let expected = BTreeSet::from([key_file.clone(), CURRENT.to_owned()]);
    assert_eq!(names(&dir), expected);
    assert_eq!(fs::metadata(dir.join(&key_file)).unwrap().len(), 48);
    for (path, mode) in [(dir.join(key_file), 0o600), (dir.clone(), 0o700)] {
        let permissions = fs::metadata(&path).unwrap().permissions();
        assert_eq!(permissions.mode() & 0o777, mode, "{}", path.display());
    }
    for again in [TokenKeys::open_or_create(&dir), TokenKeys::open(&dir)] {
        let again = again.unwrap();
        assert_eq!(again.signing_id(), made.signing_id());
        assert_eq!(
            again.signing_key().as_bytes(),
            made.signing_key().as_bytes()
        );
        assert!(again.exposed().is_empty());
    }
}

#[test]
fn key_ids_and_signatures_are_those_of_the_rfc() {
    let dir = example_folder();
    let keys = TokenKeys::open(dir.path()).unwrap();
    assert_eq!(keys.signing_id().as_str(), EXAMPLE_ID);
    // RFC 8037, A.4.
    let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature =
        jsonwebtoken::crypto::sign(message, keys.signing_key(), Algorithm::EdDSA).unwrap();
    assert_eq!(
        signature,
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    );
}

#[test]
fn the_current_key_signs_and_all_verify() {
    let dir = example_folder();
    let other = TokenKeys::open_or_create(tempfile::tempdir().unwrap().path()).unwrap();
    let other_id = other.signing_id();
    assert!(!TokenKeys::has(dir.path(), other_id.as_str()));
    put(&dir, &other_id.file_name(), other.signing_key().as_bytes());
    for signing_id in [EXAMPLE_ID, other_id.as_str()] {
        assert!(TokenKeys::has(dir.path(), signing_id));
        put(&dir, CURRENT, format!("{signing_id}\n").as_bytes());
        let keys = TokenKeys::open(dir.path()).unwrap();
        assert_eq!(keys.signing_id().as_str(), signing_id);
        assert_eq!(keys.ids().count(), 2);
        for id in [EXAMPLE_ID, other_id.as_str()] {
            assert!(keys.verifying_key(&id.parse().unwrap()).is_some());
        }
    }
}

#[test]
fn processes_that_start_together_agree_on_one_key() {
    const THREADS: usize = 8;
    for _ in 0..10 {
        let data = tempfile::tempdir().unwrap();
        let dir = data.path().join("keys");
        let start = Barrier::new(THREADS);
        let ids: BTreeSet<KeyId> = thread::scope(|scope| {
            let open = || {
                start.wait();
                TokenKeys::open_or_create(&dir)
                    .unwrap()
                    .signing_id()
                    .clone()
            };
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(open)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert_eq!(ids.len(), 1);
        assert_eq!(
            names(&dir).len(),
            2,
            "only the key and `{CURRENT}` remain: {:?}",
            names(&dir)
        );
    }
}

#[test]
fn whoever_comes_second_takes_the_key_of_the_first() {
    let dir = example_folder();
    create_first_key(dir.path()).unwrap();
    let expected = BTreeSet::from([example_file(), CURRENT.to_owned()]);
    assert_eq!(names(dir.path()), expected);
    assert_eq!(
        TokenKeys::open(dir.path()).unwrap().signing_id().as_str(),
        EXAMPLE_ID
    );
}

#[test]
fn opening_what_is_there_writes_nothing() {
    let dir = example_folder();
    let long_ago = SystemTime::UNIX_EPOCH;
    let folder = File::open(dir.path()).unwrap();
    folder.set_modified(long_ago).unwrap();
    TokenKeys::open_or_create(dir.path()).unwrap();
    // Nor is anything made and taken away again.
    assert_eq!(folder.metadata().unwrap().modified().unwrap(), long_ago);
}

#[test]
fn a_key_that_another_process_took_away_meanwhile_is_none() {
    let dir = example_folder();
    assert!(read_key(&dir.path().join("token-x.pk8")).unwrap().is_none());
    let kept = read_key(&dir.path().join(example_file())).unwrap();
    assert_eq!(kept.unwrap().id.as_str(), EXAMPLE_ID);
}

#[test]
fn a_creation_cut_short_is_finished_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    // A crash left a whole key that nothing names, and half of another.
    put(&dir, &example_file(), &example_pkcs8());
    put(&dir, ".token-x.pk8.x", &example_pkcs8()[..20]);
    let keys = TokenKeys::open_or_create(dir.path()).unwrap();
    assert_ne!(keys.signing_id().as_str(), EXAMPLE_ID);
    assert_eq!(keys.ids().count(), 2);
}

#[test]
fn a_readable_key_is_used_but_told() {
    let dir = example_folder();
    let path = dir.path().join(example_file());
    for (mode, is_exposed) in [(0o600, false), (0o640, false), (0o644, true), (0o602, true)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let keys = TokenKeys::open(dir.path()).unwrap();
        assert_eq!(keys.exposed().contains(&path), is_exposed, "{mode:o}");
    }
}

#[test]
fn faults_name_the_file_and_the_remedy() {
    let fault = |change: &dyn Fn(&TempDir)| {
        let dir = example_folder();
        change(&dir);
        let fault = TokenKeys::open(dir.path()).unwrap_err();
        let text = fault.to_string();
        assert!(text.contains(&dir.path().display().to_string()), "{text}");
        fault
    };
    let file = example_file();
    let key = example_pkcs8();
    // The same with the object identifier of X25519, which cannot sign.
    let mut x25519 = key.clone();
    x25519[11] = 0x6e;
    for bytes in [&key[..47], b"", b"-----BEGIN PRIVATE KEY-----", &x25519] {
        let fault = fault(&|dir| put(dir, &file, bytes));
        assert!(
            matches!(&fault, KeyFault::Form { path, bytes: count } if path.ends_with(&file) && *count == bytes.len())
        );
    }
    let most = usize::try_from(KEY_FILE_BYTES_MAX).unwrap();
    let largest = fault(&|dir| put(dir, &file, &vec![0; most]));
    assert!(matches!(largest, KeyFault::Form { bytes, .. } if bytes == most));
    let too_large = fault(&|dir| put(dir, &file, &vec![0; most + 1]));
    assert!(
        matches!(&too_large, KeyFault::Io { source, .. } if source.kind() == io::ErrorKind::FileTooLarge)
    );
    let unreadable = fault(&|dir| {
        fs::remove_file(dir.path().join(&file)).unwrap();
        fs::create_dir(dir.path().join(&file)).unwrap();
    });
    assert!(
        matches!(&unreadable, KeyFault::Io { doing: "read", path, .. } if path.ends_with(&file))
    );
    let misnamed = fault(&|dir| put(dir, "token-old.pk8", &key));
    assert!(
        matches!(&misnamed, KeyFault::Name { path, expected } if path.ends_with("token-old.pk8") && *expected == file)
    );
    for bytes in [&b""[..], b"\xff", b"token-x", &EXAMPLE_ID.as_bytes()[1..]] {
        let fault = fault(&|dir| put(dir, CURRENT, bytes));
        assert!(matches!(&fault, KeyFault::Current { path } if path.ends_with(CURRENT)));
    }
    let missing = fault(&|dir| fs::remove_file(dir.path().join(&file)).unwrap());
    assert!(matches!(&missing, KeyFault::Missing { missing, .. } if missing.ends_with(&file)));
    let unreadable = fault(&|dir| {
        fs::remove_file(dir.path().join(CURRENT)).unwrap();
        fs::create_dir(dir.path().join(CURRENT)).unwrap();
    });
    assert!(
        matches!(&unreadable, KeyFault::Io { doing: "read", path, .. } if path.ends_with(CURRENT))
    );
    let no_key = fault(&|dir| fs::remove_file(dir.path().join(CURRENT)).unwrap());
    assert!(matches!(no_key, KeyFault::NoKey { .. }));
    let no_folder = fault(&|dir| fs::remove_dir_all(dir.path()).unwrap());
    assert!(matches!(no_folder, KeyFault::NoKey { .. }));
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let data = tempfile::tempdir().unwrap();
    fs::write(data.path().join("file"), "").unwrap();
    let fault = TokenKeys::open_or_create(&data.path().join("file").join("keys")).unwrap_err();
    assert!(fault.to_string().contains("file/keys"), "{fault}");
}

#[test]
fn a_damaged_key_is_never_replaced() {
    let dir = example_folder();
    put(&dir, &example_file(), b"damaged");
    assert!(TokenKeys::open_or_create(dir.path()).is_err());
    assert_eq!(
        fs::read(dir.path().join(example_file())).unwrap(),
        b"damaged"
    );
}

#[test]
fn debug_shows_ids_and_no_key() {
    let keys = TokenKeys::open(example_folder().path()).unwrap();
    let text = format!("{keys:?}");
    assert_eq!(
        text,
        format!("TokenKeys {{ signing_id: KeyId({EXAMPLE_ID}), ids: [KeyId({EXAMPLE_ID})], .. }}")
    );
}
