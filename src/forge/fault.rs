//! What can come of a question to the forge that is no answer to it.

use thiserror::Error;

use crate::domain::harmless;

/// How much of the forge's words a refusal repeats, in characters.
const WORDS_CHARS_MAX: usize = 200;

/// Why the forge did not answer a question.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ForgeFault {
    /// No connection, no answer in time, or one that says that the forge itself fails.
    #[error("the forge cannot be reached: {0}")]
    Unreachable(String),
    /// It has too much to do, or we ask it too much.
    #[error("the forge is busy; try again in {retry_after_secs} seconds")]
    Busy {
        /// How long to wait.
        retry_after_secs: u64,
    },
    /// It does not know the token that it was shown, or wants one.
    #[error(
        "the forge does not accept this token; it may be revoked, or copied in part: make a new one"
    )]
    Unauthenticated,
    /// It knows the token and refuses.
    #[error("the forge refuses: {0}")]
    Forbidden(String),
    /// There is no such thing, or it is not shown to the one who asks.
    #[error("the forge has no such thing, or does not show it to this token")]
    NotFound,
    /// What was asked is asked of other things only.
    #[error("the forge does not answer that of what is there: {0}")]
    NotFit(String),
    /// An answer that no forge gives.
    #[error("the forge's answer is not understood: {0}")]
    Odd(String),
    /// An answer of more bytes than are read.
    #[error("the forge's answer is not understood: it has more than {0} bytes")]
    TooLong(usize),
    /// A repository has the name of that of the index, of which it is not known whether it is that.
    #[error(
        "it is not known yet whether the repository on the forge is that of this index: its number is nowhere, and its branch was not seen to be the index's"
    )]
    Unproven,
    /// The server's own account has no token, or may not do what it has to.
    #[error("the server's own account at the forge cannot do its work: {0}")]
    Robot(String),
}

impl ForgeFault {
    /// What can come of a question, in one word each.
    pub(super) const OUTCOMES: [&str; 5] = ["answered", "refused", "busy", "unreachable", "odd"];

    /// Whether the forge cannot be asked at all, whatever the question is.
    pub fn is_away(&self) -> bool {
        matches!(
            self,
            Self::Unreachable(_) | Self::Busy { .. } | Self::Unproven
        )
    }

    /// Whether the same question may well be answered later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::Busy { .. }
            | Self::Odd(_)
            | Self::TooLong(_)
            | Self::Unproven
            | Self::Robot(_) => true,
            Self::Unauthenticated | Self::Forbidden(_) | Self::NotFound | Self::NotFit(_) => false,
        }
    }

    /// In one word, for those who count.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Self::Unauthenticated | Self::Forbidden(_) | Self::NotFound | Self::NotFit(_) => {
                "refused"
            }
            Self::Busy { .. } => "busy",
            Self::Unreachable(_) => "unreachable",
            Self::Odd(_) | Self::TooLong(_) | Self::Unproven | Self::Robot(_) => "odd",
        }
    }

    /// A refusal in the words of the forge.
    pub(super) fn forbidden(body: &[u8]) -> Self {
        Self::Forbidden(words(body))
    }

    /// That the question does not fit, in the words of the forge.
    pub(super) fn not_fit(body: &[u8]) -> Self {
        Self::NotFit(words(body))
    }

    /// An answer of a status that the question does not ask for.
    pub(super) fn odd(status: u16, body: &[u8]) -> Self {
        Self::Odd(format!("it answers {status}: {}", words(body)))
    }
}

/// What the forge says: one line, short and harmless, whatever it sent.
fn words(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Said {
        message: String,
    }
    let text = String::from_utf8_lossy(body);
    let said = match serde_json::from_str::<Said>(&text) {
        Ok(said) => said.message,
        Err(_) => text.lines().next().unwrap_or_default().to_owned(),
    };
    let words = said.trim();
    match words.is_empty() || words.starts_with('<') {
        true => "it does not say why".to_owned(),
        false => harmless(words, WORDS_CHARS_MAX),
    }
}
