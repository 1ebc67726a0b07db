//! What a manifest tells people: description, licence, pages, keywords and categories.
//!
//! None of it is in the index line. How many keywords and categories there may be, and of what form, are limits; all
//! else is asked only by a registry whose policy requires it.

use spdx::{Expression, ParseMode};
use thiserror::Error;

use super::fields::Fields;
use super::{ManifestFault, ManifestRules};
use crate::domain::Requirements;
use crate::publish::faults::{Faults, quoted};

/// The longest description where one is required, in bytes: that of the public registry.
const DESCRIPTION_BYTES_MAX: usize = 1000;

/// The longest licence expression that is looked into, in bytes.
const LICENSE_BYTES_MAX: usize = 1000;

/// The longest keyword, in bytes: that of the public registry.
const KEYWORD_BYTES_MAX: usize = 20;

/// The expressions that the public registry takes: those of today's SPDX, and what was written before it.
const LICENSE_MODE: ParseMode = ParseMode {
    allow_slash_as_or_operator: true,
    allow_deprecated: true,
    ..ParseMode::STRICT
};

/// What is wrong with the keys that are for people.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum AboutFault {
    /// No description, or one of blanks.
    #[error("`package.description` is missing; this registry asks for a sentence about each crate")]
    NoDescription,
    /// A description of pages.
    #[error(
        "`package.description` is {0} bytes long; at most {DESCRIPTION_BYTES_MAX} are allowed, the rest belongs into the README"
    )]
    DescriptionTooLong(usize),
    /// Neither a licence nor a file with one.
    #[error(
        "`package.license` is missing; write an SPDX expression such as `MIT OR Apache-2.0`, or name a file by `license-file`"
    )]
    NoLicense,
    /// Not an expression.
    #[error("`package.license` is `{text}`, which is not an SPDX expression: {reason}")]
    License { text: String, reason: String },
    /// Not a page of the web.
    #[error("`package.{key}` is `{text}`; it must be a URL with `https://` or `http://`")]
    Url { key: &'static str, text: String },
    /// More keywords than allowed.
    #[error("`package.keywords` has {found} keywords; at most {max} are allowed")]
    TooManyKeywords { found: usize, max: usize },
    /// Not a keyword.
    #[error(
        "`package.keywords` has `{0}`; a keyword is 1 to {KEYWORD_BYTES_MAX} ASCII letters, digits, `_`, `-` and `+`, with a letter or digit first"
    )]
    Keyword(String),
    /// More categories than allowed.
    #[error("`package.categories` has {found} categories; at most {max} are allowed")]
    TooManyCategories { found: usize, max: usize },
}

/// What of it is kept.
#[derive(Default)]
pub(super) struct About {
    pub(super) description: Option<String>,
    pub(super) repository: Option<String>,
}

/// Checks the keys.
pub(super) fn read(
    package: &mut Fields,
    rules: &ManifestRules<'_>,
    faults: &mut Faults<ManifestFault>,
) -> About {
    let mut found = Vec::new();
    let mut repository = None;
    let description: Option<String> = package.take("description", "a string");
    if rules.require.description {
        found.extend(description_fault(description.as_deref()));
    }
    found.extend(license_fault(package, rules.require));
    for key in ["homepage", "documentation", "repository"] {
        let url: Option<String> = package.take(key, "a string");
        if key == "repository" {
            repository.clone_from(&url);
        }
        let wrong = url.filter(|url| rules.require.web_urls && !is_web_url(url));
        found.extend(wrong.map(|url| AboutFault::Url {
            key,
            text: quoted(&url),
        }));
    }
    check_lists(package, rules, &mut found);
    for fault in found {
        faults.add(fault.into());
    }
    About {
        description,
        repository,
    }
}

fn description_fault(description: Option<&str>) -> Option<AboutFault> {
    let text = description.unwrap_or_default().trim();
    if text.is_empty() {
        return Some(AboutFault::NoDescription);
    }
    (text.len() > DESCRIPTION_BYTES_MAX).then_some(AboutFault::DescriptionTooLong(text.len()))
}

fn license_fault(package: &mut Fields, require: &Requirements) -> Option<AboutFault> {
    let license: Option<String> = package.take("license", "a string");
    let file: Option<String> = package.take("license-file", "a string");
    if !require.license {
        return None;
    }
    let Some(license) = license.filter(|text| !text.trim().is_empty()) else {
        let has_file = file.is_some_and(|path| !path.trim().is_empty());
        return (!has_file).then_some(AboutFault::NoLicense);
    };
    let reason = if license.len() > LICENSE_BYTES_MAX {
        format!("it is longer than {LICENSE_BYTES_MAX} bytes")
    } else {
        let error = Expression::parse_mode(&license, LICENSE_MODE).err()?;
        match license.get(error.span.clone()) {
            Some(part) if !part.is_empty() => format!("{} at `{}`", error.reason, quoted(part)),
            _ => error.reason.to_string(),
        }
    };
    Some(AboutFault::License {
        text: quoted(&license),
        reason,
    })
}

fn is_web_url(text: &str) -> bool {
    // The text itself, because browsers and pages read more as a scheme than a URL parser gives back.
    let is_web = text.starts_with("https://") || text.starts_with("http://");
    is_web && url::Url::parse(text).is_ok()
}

fn check_lists(package: &mut Fields, rules: &ManifestRules<'_>, found: &mut Vec<AboutFault>) {
    let list_of = "a list of strings";
    let keywords: Vec<String> = package.take("keywords", list_of).unwrap_or_default();
    let max = rules.limits.keywords_max;
    if keywords.len() > max {
        let found_keywords = keywords.len();
        found.push(AboutFault::TooManyKeywords {
            found: found_keywords,
            max,
        });
    } else {
        let wrong = keywords.iter().filter(|keyword| !is_keyword(keyword));
        found.extend(wrong.map(|keyword| AboutFault::Keyword(quoted(keyword))));
    }
    let categories: Vec<String> = package.take("categories", list_of).unwrap_or_default();
    let max = rules.limits.categories_max;
    if categories.len() > max {
        found.push(AboutFault::TooManyCategories {
            found: categories.len(),
            max,
        });
    }
}

fn is_keyword(text: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'+');
    text.len() <= KEYWORD_BYTES_MAX
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(is_allowed)
}
