//! The rules for what a manifest tells people: `src/publish/manifest/about.rs`.

use insta::assert_snapshot;

use super::Desk;

#[test]
fn what_every_registry_asks() {
    let desk = Desk::with_policy("");
    let refuses =
        |rule: &str, rest: &str| desk.refuses(rule, &desk.package("krate", "1.0.1", rest));
    let six = "['a', 'b', 'c', 'd', 'e', 'f']";
    assert_snapshot!(
        refuses("AboutFault::TooManyKeywords", &format!("keywords = {six}")),
        @"400 Bad Request: `package.keywords` has 6 keywords; at most 5 are allowed"
    );
    assert_snapshot!(
        refuses("AboutFault::Keyword", "keywords = ['two words']"),
        @"400 Bad Request: `package.keywords` has `two words`; a keyword is 1 to 20 ASCII letters, digits, `_`, `-` and `+`, with a letter or digit first"
    );
    assert_snapshot!(
        refuses("AboutFault::TooManyCategories", &format!("categories = {six}")),
        @"400 Bad Request: `package.categories` has 6 categories; at most 5 are allowed"
    );
}

#[test]
fn what_only_some_registries_ask() {
    let desk =
        Desk::with_policy("require = { description = true, license = true, web_urls = true }\n");
    let refuses =
        |rule: &str, rest: &str| desk.refuses(rule, &desk.package("krate", "1.0.1", rest));
    assert_snapshot!(
        refuses("AboutFault::NoDescription", "license = 'MIT'"),
        @"400 Bad Request: `package.description` is missing; this registry asks for a sentence about each crate"
    );
    let long = format!("description = '{}'\nlicense = 'MIT'", "a".repeat(1001));
    assert_snapshot!(
        refuses("AboutFault::DescriptionTooLong", &long),
        @"400 Bad Request: `package.description` is 1001 bytes long; at most 1000 are allowed, the rest belongs into the README"
    );
    assert_snapshot!(
        refuses("AboutFault::NoLicense", "description = 'x'"),
        @"400 Bad Request: `package.license` is missing; write an SPDX expression such as `MIT OR Apache-2.0`, or name a file by `license-file`"
    );
    assert_snapshot!(
        refuses("AboutFault::License", "description = 'x'\nlicense = 'Acme'"),
        @"400 Bad Request: `package.license` is `Acme`, which is not an SPDX expression: unknown term at `Acme`"
    );
    let url = "description = 'x'\nlicense = 'MIT'\nhomepage = 'javascript:x'";
    assert_snapshot!(
        refuses("AboutFault::Url", url),
        @"400 Bad Request: `package.homepage` is `javascript:x`; it must be a URL with `https://` or `http://`"
    );
}
