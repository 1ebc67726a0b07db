use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::extract::Extract;
use super::*;

fn entry(name: &str, description: &str) -> Entry {
    Entry::example(name, Extract::new(Some(description), []))
}

fn shown(entry: &Entry) -> (String, String) {
    let description = entry.description().unwrap_or_default();
    (entry.name().to_string(), description.to_owned())
}

/// Groups of changes: names with descriptions, some names more than once.
fn changes() -> impl Strategy<Value = Vec<Vec<(String, String)>>> {
    let some = vec(("[a-c][a-c0-9]{0,2}", "[a-d]{1,3}"), 0..30);
    let many = vec(("[a-z][a-z0-9]{3}", "[a-d]{1,3}"), 200..700);
    vec(prop_oneof![4 => some, 1 => many], 0..5)
}

fn pages_of(groups: &[Vec<(String, String)>]) -> (Pages, BTreeMap<String, String>) {
    let (mut pages, mut expected) = (Pages::default(), BTreeMap::new());
    for group in groups {
        expected.extend(group.iter().cloned());
        let group = group.iter().map(|(name, text)| entry(name, text));
        pages = pages.with(group.collect());
    }
    (pages, expected)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pages_are_a_sorted_map(groups in changes(), absent in "[a-z]{1,5}") {
        let (pages, expected) = pages_of(&groups);
        let all: Vec<_> = pages.entries().map(shown).collect();
        prop_assert_eq!(&all, &expected.clone().into_iter().collect::<Vec<_>>());
        for page in pages.iter() {
            prop_assert!((1..=PAGE_MAX).contains(&page.entries.len()));
        }
        for name in expected.keys().chain([&absent]) {
            let found = pages.get(entry(name, "").name()).map(|entry| shown(entry).1);
            prop_assert_eq!(found.as_ref(), expected.get(name));
        }
    }

    #[test]
    fn a_word_is_found_in_every_entry_that_has_it(groups in changes(), word in "[a-d]{1,2}|zzzzzz") {
        let (pages, expected) = pages_of(&groups);
        let finder = Finder::new(&word);
        let mut found = BTreeSet::new();
        for (entry, text) in pages.iter().flat_map(|page| page.with_word(Some(&finder))) {
            let mut own_text = String::new();
            entry.write_text(&mut own_text);
            prop_assert_eq!(text, own_text);
            prop_assert!(found.insert(entry.name().to_string()), "an entry is found twice");
        }
        let has_it = |(name, text): &(&String, &String)| name.contains(&word) || text.contains(&word);
        let expected_names = expected.iter().filter(has_it).map(|(name, _)| name.clone());
        prop_assert_eq!(found, expected_names.collect::<BTreeSet<_>>());
        let all = pages.iter().flat_map(|page| page.with_word(None));
        prop_assert_eq!(all.count(), expected.len());
    }
}

#[test]
fn a_change_shares_the_pages_that_it_does_not_touch() {
    let many = (0..2000).map(|number| entry(&format!("k{number}"), "text"));
    let pages = Pages::default().with(many.collect());
    let next = pages.with(vec![entry("k1000", "other")]);
    assert_eq!(pages.0.len(), next.0.len());
    let pairs = pages.0.iter().zip(&next.0);
    let rebuilt = pairs.filter(|(old, new)| !Arc::ptr_eq(old, new));
    assert_eq!(rebuilt.count(), 1);
}
