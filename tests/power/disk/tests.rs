//! What the model of a disk keeps and loses.

use super::*;

fn disk(steps: &[Step]) -> Disk {
    let mut disk = Disk::new();
    steps.iter().for_each(|step| disk.take(step));
    disk
}

fn open(path: &str) -> Step {
    let path = path.into();
    Step::Open {
        path,
        truncates: false,
    }
}

fn write(path: &str, bytes: &[u8]) -> Step {
    let (path, bytes) = (path.into(), bytes.to_vec());
    Step::Write { path, bytes }
}

fn rename(from: &str, to: &str) -> Step {
    let (from, to) = (from.into(), to.into());
    Step::Rename { from, to }
}

fn begun(path: &str, number: usize) -> Step {
    let path = path.into();
    Step::SyncBegun { path, number }
}

fn ended(number: usize) -> Step {
    Step::SyncEnded { number }
}

/// The tree after `fate`, `/` being a folder.
fn found(disk: &Disk, fate: Fate) -> Vec<(String, String)> {
    let text = |bytes: Option<Vec<u8>>| match bytes {
        Some(bytes) => String::from_utf8(bytes).unwrap(),
        None => "/".to_owned(),
    };
    let tree = disk.after(fate).0;
    tree.into_iter()
        .map(|(path, bytes)| (path, text(bytes)))
        .collect()
}

fn is(found: &[(String, String)], expected: &[(&str, &str)]) -> bool {
    let found = found
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()));
    found.eq(expected.iter().copied())
}

#[test]
fn bytes_and_names_are_flushed_apart() {
    let written = [open("a"), write("a", b"one")];
    let unflushed = disk(&written);
    assert!(is(&found(&unflushed, Fate::Lost), &[]));
    assert!(is(&found(&unflushed, Fate::Emptied), &[("a", "")]));
    assert!(is(&found(&unflushed, Fate::Zeroed), &[("a", "\0\0\0")]));
    assert!(is(&found(&unflushed, Fate::Kept), &[("a", "one")]));

    let bytes = disk(&[&written[..], &[begun("a", 1), ended(1)]].concat());
    assert!(is(&found(&bytes, Fate::Lost), &[]));
    assert!(is(&found(&bytes, Fate::Zeroed), &[("a", "one")]));

    let name = disk(&[&written[..], &[begun("", 1), ended(1)]].concat());
    assert!(is(&found(&name, Fate::Lost), &[("a", "")]));
}

#[test]
fn a_flush_holds_what_was_there_when_it_began_and_only_when_it_has_ended() {
    let mut steps = vec![open("a"), begun("", 1), write("a", b"one"), begun("a", 2)];
    steps.extend([write("a", b"two"), open("b")]);
    let mut disk = disk(&steps);
    assert!(is(&found(&disk, Fate::Lost), &[]));
    disk.take(&ended(2));
    disk.take(&ended(1));
    assert!(is(&found(&disk, Fate::Lost), &[("a", "one")]));
    assert!(is(&found(&disk, Fate::Kept), &[("a", "onetwo"), ("b", "")]));
}

#[test]
fn an_earlier_flush_that_ends_later_takes_nothing_back() {
    let steps = [
        open("a"),
        begun("", 1),
        begun("a", 2),
        write("a", b"one"),
        open("b"),
        begun("", 3),
        begun("a", 4),
        ended(3),
        ended(4),
        ended(1),
        ended(2),
    ];
    assert!(is(
        &found(&disk(&steps), Fate::Lost),
        &[("a", "one"), ("b", "")]
    ));
}

#[test]
fn a_rename_is_kept_by_the_folder_to_which_it_leads() {
    let made = [
        Step::MakeFolder("x".into()),
        Step::MakeFolder("y".into()),
        open("x/a"),
        write("x/a", b"new"),
        begun("x/a", 1),
        ended(1),
        begun("", 2),
        ended(2),
        begun("x", 3),
        ended(3),
    ];
    let moved = [&made[..], &[rename("x/a", "y/a")]].concat();
    let before = [("x", "/"), ("x/a", "new"), ("y", "/")];
    assert!(is(&found(&disk(&moved), Fate::Lost), &before));
    let after = [("x", "/"), ("y", "/"), ("y/a", "new")];
    assert!(is(&found(&disk(&moved), Fate::Kept), &after));
    let flushed = [&moved[..], &[begun("y", 4), ended(4)]].concat();
    let both = [("x", "/"), ("x/a", "new"), ("y", "/"), ("y/a", "new")];
    assert!(is(&found(&disk(&flushed), Fate::Lost), &both));
}

#[test]
fn in_one_folder_the_old_or_the_new_file_bears_the_name() {
    let steps = [
        open("a"),
        write("a", b"old"),
        begun("a", 1),
        ended(1),
        begun("", 2),
        ended(2),
        open("tmp"),
        write("tmp", b"new"),
        begun("tmp", 3),
        ended(3),
        rename("tmp", "a"),
    ];
    let disk = disk(&steps);
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..32 {
        let tree = disk.after(Fate::Mixed(seed)).0;
        seen.insert(tree["a"].clone().unwrap());
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [b"new", b"old"]);
}

#[test]
fn what_is_torn_ends_with_a_sector() {
    let disk = disk(&[open("a"), write("a", &[7; 1200])]);
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..64 {
        lengths.insert(disk.after(Fate::Torn(seed)).0["a"].as_ref().unwrap().len());
    }
    assert_eq!(
        lengths.into_iter().collect::<Vec<_>>(),
        [0, 512, 1024, 1200]
    );
}

#[test]
fn a_folder_that_was_not_flushed_takes_all_below_it_along() {
    let steps = [
        Step::MakeFolder("x".into()),
        open("x/a"),
        begun("x", 1),
        ended(1),
    ];
    assert!(is(&found(&disk(&steps), Fate::Lost), &[]));
    assert!(is(
        &found(&disk(&steps), Fate::Kept),
        &[("x", "/"), ("x/a", "")]
    ));
}

#[test]
fn a_folder_is_read_as_one_that_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("x")).unwrap();
    std::fs::write(folder.path().join("x/a"), "one").unwrap();
    std::fs::write(folder.path().join("x.b"), "two").unwrap();
    let tree = Tree::of(folder.path());
    let disk = disk(&tree.steps());
    let all = [("x", "/"), ("x.b", "two"), ("x/a", "one")];
    for fate in [Fate::Lost, Fate::Zeroed, Fate::Mixed(1), Fate::Kept] {
        assert!(is(&found(&disk, fate), &all));
        assert_eq!(disk.after(fate), tree);
    }
}
