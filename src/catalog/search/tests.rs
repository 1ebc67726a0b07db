use proptest::collection::vec;
use proptest::prelude::*;

use super::super::entries::Entries;
use super::*;

/// A crate with description and keywords.
fn krate(name: &str, description: &str, keywords: &[&str]) -> Entry {
    let extract = Extract::new(Some(description), keywords.iter().copied());
    Entry::example(name, extract)
}

fn catalog() -> Entries {
    [
        krate(
            "Http-Client",
            "Asks SERVERS over the network",
            &["web", "http"],
        ),
        krate("http", "Types", &["web"]),
        krate("http_types", "More types", &[]),
        krate("fast-http", "", &["http"]),
        krate("browser", "Shows pages that it gets by http", &[]),
        krate(
            "fetch",
            "Gets files for the command-line",
            &["HTTP", "Command-Line"],
        ),
        krate("zürich".replace('ü', "ue").as_str(), "Die Größe ΟΔΟΣ", &[]),
    ]
    .into_iter()
    .collect()
}

fn text_in_lower(text: &str) -> String {
    folded(text).collect()
}

fn found(query: &str) -> Vec<String> {
    found_of(query, FOUND_MAX).0
}

fn found_of(query: &str, count_max: usize) -> (Vec<String>, usize) {
    let found = Query::new(query).search(catalog().pages(), count_max);
    let names = found.crates.iter().map(|entry| entry.name().to_string());
    (names.collect(), found.total)
}

#[test]
fn the_name_comes_first_then_its_beginning_its_part_keywords_and_the_rest() {
    assert_eq!(
        found("http"),
        [
            "http",
            "Http-Client",
            "http_types",
            "fast-http",
            "fetch",
            "browser"
        ]
    );
}

#[test]
fn names_are_found_however_they_are_written() {
    for query in [
        "http-client",
        "HTTP_CLIENT",
        "http client",
        "http+client",
        "  Http \t client ",
    ] {
        assert_eq!(found(query), ["Http-Client"], "{query}");
    }
    // As words, they may stand anywhere.
    assert_eq!(found("client http"), ["Http-Client"]);
}

#[test]
fn keywords_and_words_of_descriptions_are_found_without_regard_to_case() {
    assert_eq!(found("web"), ["http", "Http-Client"]);
    assert_eq!(found("COMMAND line"), ["fetch"]);
    assert_eq!(found("Network servers"), ["Http-Client"]);
    assert_eq!(found("grÖSSe"), Vec::<String>::new(), "ß has no other case");
    assert_eq!(found("GRÖßE οδοσ"), ["zuerich"]);
}

#[test]
fn an_exact_keyword_is_better_than_a_part_of_one() {
    let entries: Entries = [
        krate("aaa", "", &["parsers"]),
        krate("bbb", "a parser", &[]),
        krate("ccc", "", &["parser"]),
        krate("ddd", "", &["x", "parser", "y"]),
    ]
    .into_iter()
    .collect();
    let found = Query::new("Parser").search(entries.pages(), 10);
    let names: Vec<&str> = found
        .crates
        .iter()
        .map(|krate| krate.name().as_str())
        .collect();
    assert_eq!(names, ["ccc", "ddd", "aaa", "bbb"]);
}

#[test]
fn every_word_must_be_somewhere() {
    assert_eq!(found("types more"), ["http_types"]);
    assert_eq!(found("types http web"), ["http"]);
    assert!(found("http nothing").is_empty());
    // Words do not reach from one text into the next.
    assert!(found("webtypes").is_empty() && found("web_http").is_empty());
}

#[test]
fn an_empty_query_lists_all_by_name() {
    for query in ["", "  \t "] {
        let (names, total) = found_of(query, 3);
        assert_eq!(names, ["browser", "fast-http", "fetch"]);
        assert_eq!(total, 7);
    }
}

#[test]
fn the_total_counts_what_is_not_shown() {
    let (names, total) = found_of("http", 2);
    assert_eq!((names.len(), total), (2, 6));
    assert_eq!(found_of("http", 0).1, 6);
    let many: Entries = (0..FOUND_MAX + 7)
        .map(|number| krate(&format!("k{number}"), "", &[]))
        .collect();
    let found = Query::new("k").search(many.pages(), usize::MAX);
    assert_eq!(
        (found.crates.len(), found.total),
        (FOUND_MAX, FOUND_MAX + 7)
    );
}

#[test]
fn a_long_query_is_cut_between_characters() {
    let long = "ß".repeat(QUERY_BYTES_MAX);
    assert_eq!(Query::new(&long).name.chars().count(), QUERY_BYTES_MAX / 2);
    let off_by_one = format!("a{long}");
    assert_eq!(Query::new(&off_by_one).name.len(), QUERY_BYTES_MAX - 1);
}

#[test]
fn of_more_than_eight_words_the_longest_count_and_the_name_is_that_of_all() {
    let eight = "bb ccc dddd eeeee ffffff ggggggg hhhhhhhh iiiiiiiii";
    let all: Entries = [
        krate("about", eight, &[]),
        krate(&format!("a_{}", eight.replace(' ', "_")), "", &[]),
    ]
    .into_iter()
    .collect();
    let found = |text: &str| -> Vec<usize> {
        let found = Query::new(text).search(all.pages(), FOUND_MAX);
        found
            .crates
            .iter()
            .map(|it| it.name().as_str().len())
            .collect()
    };
    assert_eq!(found(&format!("a {eight}")), [eight.len() + 2, 5]);
    assert_eq!(found(&format!("{eight} zz")), [eight.len() + 2, 5]);
    assert!(found(&format!("{} zz", &eight[3..])).is_empty());
}

fn some_word() -> impl Strategy<Value = String> {
    "[abAB_-]{1,3}|[äÄßİ]"
}

fn some_entries() -> impl Strategy<Value = Vec<(String, String, Vec<String>)>> {
    let description = vec(some_word(), 0..4).prop_map(|words| words.join(" "));
    vec(
        ("[a-c]([abAB_-]{0,4})", description, vec(some_word(), 0..3)),
        0..8,
    )
}

fn entries_of(some: &[(String, String, Vec<String>)]) -> Entries {
    some.iter()
        .map(|(name, description, keywords)| {
            let keywords: Vec<&str> = keywords.iter().map(String::as_str).collect();
            krate(name, description, &keywords)
        })
        .collect()
}

fn text_of(entry: &Entry) -> String {
    let mut text = String::new();
    entry.write_text(&mut text);
    text
}

proptest! {
    #[test]
    fn exactly_those_are_found_that_have_every_word(
        some in some_entries(),
        words in vec(some_word(), 0..3),
    ) {
        let entries = entries_of(&some);
        let found = Query::new(&words.join(" ")).search(entries.pages(), FOUND_MAX);
        let has = |entry: &Entry, word: &str| {
            let (_, extract) = entry.read().unwrap();
            let mut texts = vec![entry.name().as_str()];
            texts.extend(extract.keywords());
            texts.extend(extract.description());
            texts.iter().any(|text| text_in_lower(text).contains(&text_in_lower(word)))
        };
        let expected = entries
            .iter()
            .filter(|entry| words.iter().all(|word| has(entry, word)));
        prop_assert_eq!(found.total, expected.count());
        prop_assert_eq!(found.crates.len(), found.total);
        for entry in &found.crates {
            prop_assert!(words.iter().all(|word| has(entry, word)));
        }
    }

    #[test]
    fn the_order_is_that_of_fit_and_then_of_names(some in some_entries(), word in some_word()) {
        let entries = entries_of(&some);
        let query = Query::new(&word);
        let found = query.search(entries.pages(), FOUND_MAX);
        let ranks: Vec<_> = found
            .crates
            .iter()
            .map(|entry| (query.fit(&text_of(entry)), entry.name().canonical()))
            .collect();
        prop_assert!(ranks.is_sorted());
        for few in 0..4 {
            let best = query.search(entries.pages(), few);
            prop_assert_eq!(best.total, found.total);
            let names = |found: &Found| -> Vec<String> {
                found.crates.iter().take(few).map(|krate| krate.name().to_string()).collect()
            };
            prop_assert_eq!(names(&best), names(&found));
        }
    }

    #[test]
    fn a_crate_is_found_first_by_its_own_name(some in some_entries()) {
        let entries = entries_of(&some);
        for entry in entries.iter() {
            let upper = entry.name().as_str().to_uppercase().replace('_', "-");
            let found = Query::new(&upper).search(entries.pages(), 1);
            prop_assert_eq!(found.crates[0].name(), entry.name());
        }
    }

    #[test]
    fn no_query_makes_it_panic(query in any::<String>(), times in 1usize..40) {
        Query::new(&query.repeat(times)).search(catalog().pages(), 5);
    }
}
