//! Whether the owners that a pull request brings are those whom people take them for: the number decides on a forge, and
//! who reviews reads the name. A name without a number that the forge has not either is that of whoever comes with a
//! token of the registry.

use std::time::Duration;

use tokio::time::timeout;

use super::Reviews;
use super::told::Told;
use crate::domain::{Called, Named};

/// Of how many owners of one pull request the forge is asked.
const ASKED_MAX: usize = 50;
/// For all these questions.
const ALL_TIME: Duration = Duration::from_secs(60);

impl Reviews {
    /// What is against the owners that a pull request brings, each with the file that names it; `None` if nothing is.
    pub(super) async fn misfit(&self, brought: &[(Named, String)]) -> Option<Told> {
        if brought.len() > ASKED_MAX {
            let count = brought.len();
            let sentence = format!(
                "it brings {count} owners, and of {ASKED_MAX} at most the forge is asked for their numbers; propose them in parts"
            );
            return Some(Told::failure(sentence));
        }
        match timeout(ALL_TIME, self.ask_of(brought)).await {
            Ok(told) => told,
            Err(_) => {
                let secs = ALL_TIME.as_secs();
                let sentence = format!(
                    "whether its owners have these numbers was not told within {secs} seconds"
                );
                Some(Told::error(sentence))
            }
        }
    }

    /// One of whom it is known that the number is another's outweighs those of whom nothing is.
    async fn ask_of(&self, brought: &[(Named, String)]) -> Option<Told> {
        let mut unknown = None;
        for (Named { called, id }, file) in brought {
            let why = match (self.forge.number_of(called).await, id) {
                (Ok(number), id) if number == *id => continue,
                (Ok(Some(number)), None) => {
                    let sentence = format!(
                        "`{called}` in `{file}` has no number, without which it is nobody of the forge: write `id = {number}` beside it"
                    );
                    return Some(Told::failure(sentence));
                }
                (Ok(Some(number)), Some(id)) => {
                    let sentence = format!(
                        "`{called}` in `{file}` is number {number} on the forge, not {id}, and the number decides: write the one that belongs to the name"
                    );
                    return Some(Told::failure(sentence));
                }
                (Ok(None), _) => format!(
                    "the forge has no such {}, or does not show it to the registry's own account",
                    kind(called)
                ),
                (Err(fault), _) => fault.to_string(),
            };
            unknown.get_or_insert_with(|| {
                let is_so = id.map_or("has a number".to_owned(), |id| format!("is number {id}"));
                let sentence =
                    format!("whether `{called}` in `{file}` {is_so} is not known: {why}");
                Told::error(sentence)
            });
        }
        unknown
    }
}

fn kind(called: &Called) -> &'static str {
    match called {
        Called::User(_) => "account",
        Called::Team(_) => "team",
        Called::Repository(_) => "repository",
    }
}
