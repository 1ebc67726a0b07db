use proptest::prelude::*;

use super::*;

fn extract(text: &str) -> Extract {
    Extract::new(Some(text), [text])
}

fn entries(texts: &[String]) -> Entries {
    texts
        .iter()
        .enumerate()
        .map(|(number, text)| Entry::example(&format!("k{number}"), extract(text)))
        .collect()
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(text in any::<String>()) {
        let bytes = bytes_of(&entries(std::slice::from_ref(&text))).unwrap();
        let kept = parse(&bytes).unwrap();
        prop_assert_eq!(kept.get(&Cksum::from([0; 32])), Some(&extract(&text)));
    }

    #[test]
    fn no_bytes_make_it_panic_and_no_damage_is_taken(
        bytes in any::<Vec<u8>>(),
        at in any::<usize>(),
        bit in 0u8..8,
    ) {
        prop_assert!(parse(&bytes).is_err());
        let mut good = bytes_of(&entries(&["text".to_owned()])).unwrap();
        let at = at % good.len();
        good[at] ^= 1 << bit;
        prop_assert!(parse(&good).is_err());
    }
}

#[test]
fn another_form_is_not_read() {
    let signed = |text: &str| format!("{text}{}", hash(text.as_bytes())).into_bytes();
    assert!(
        parse(&signed("{\"catalog\":1,\"commit\":null}\n"))
            .unwrap()
            .is_empty()
    );
    for text in [
        "{\"catalog\":2,\"commit\":null}\n",
        "{}\n",
        "\n",
        "{\"catalog\":1,\"commit\":null}\n{\"cksum\":\"00\"}\n",
    ] {
        assert!(parse(&signed(text)).is_err(), "{text}");
    }
}

#[test]
fn the_file_names_the_commit_of_its_catalog() {
    let text = String::from_utf8(bytes_of(&Entries::default()).unwrap()).unwrap();
    assert!(
        text.starts_with("{\"catalog\":1,\"commit\":null}\n"),
        "{text}"
    );
}
