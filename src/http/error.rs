//! Every refusal and failure as an answer: the one place that knows which fault has which status.

use std::time::Duration;

use tracing::{error, warn};
use warp::http::{HeaderValue, StatusCode, header};

use super::body::BodyFault;
use super::context::Response;
use super::envelope::envelope_of_all;
use crate::auth::{AuthFault, GateFault, MintFault, NotPermitted};
use crate::catalog::SearchFault;
use crate::exchange::ExchangeFault;
use crate::fetch::FetchFault;
use crate::forge::ForgeFault;
use crate::index::{Refusal, WriteFault};
use crate::owners::OwnersFault;
use crate::publish::{FrameFault, PublishFault};
use crate::rates::TooOften;
use crate::yank::YankFault;

/// How long a client shall wait before it asks again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// An answer that is not a success.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    details: Vec<String>,
    /// How the client is asked for a token.
    challenge: Option<HeaderValue>,
    /// How long the client shall wait, in seconds; without it one second goes with each 503.
    retry_after_secs: Option<u64>,
}

impl ApiError {
    /// An answer with one sentence.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            details: vec![detail.into()],
            challenge: None,
            retry_after_secs: None,
        }
    }

    /// There is nothing at this address.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// The request says something that cannot be.
    pub fn bad_request(detail: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail.to_string())
    }

    /// A fault of ours, which the log names.
    pub fn internal(fault: impl std::error::Error) -> Self {
        error!(%fault, "an answer could not be made");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the answer could not be made: an internal fault, which the log names",
        )
    }

    fn bad_request_of_all(details: Vec<String>) -> Self {
        Self {
            details,
            ..Self::bad_request("")
        }
    }

    /// A refusal for what will be possible again.
    pub fn unavailable(detail: impl ToString) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail.to_string())
    }

    /// A refusal for want of a good token, with how to send one; any other stays as it is.
    pub fn with_challenge(mut self, challenge: HeaderValue) -> Self {
        if self.status == StatusCode::UNAUTHORIZED {
            self.challenge = Some(challenge);
        }
        self
    }

    /// The answer as it goes out.
    pub fn into_response(self) -> Response {
        let mut response = envelope_of_all(self.status, &self.details);
        let is_unavailable = self.status == StatusCode::SERVICE_UNAVAILABLE;
        let general = is_unavailable.then_some(RETRY_AFTER.as_secs());
        if let Some(seconds) = self.retry_after_secs.or(general) {
            let seconds = HeaderValue::from(seconds);
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        if let Some(challenge) = self.challenge {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

impl From<AuthFault> for ApiError {
    fn from(fault: AuthFault) -> Self {
        match fault {
            AuthFault::Credentials(fault) => Self::new(StatusCode::UNAUTHORIZED, fault.to_string()),
            AuthFault::Token(fault) => Self::new(StatusCode::UNAUTHORIZED, fault.to_string()),
            AuthFault::NotPermitted(fault) => fault.into(),
            AuthFault::Gate(fault) => fault.into(),
        }
    }
}

impl From<GateFault> for ApiError {
    fn from(fault: GateFault) -> Self {
        let (status, wait_secs) = match &fault {
            GateFault::Forge(ForgeFault::Busy { retry_after_secs }) => {
                (StatusCode::SERVICE_UNAVAILABLE, Some(*retry_after_secs))
            }
            GateFault::Forge(cause) => {
                warn!(%cause, "the forge could not be asked");
                if let ForgeFault::Robot(_) = cause {
                    // What is wrong with the set-up is for its operator alone.
                    let detail = "this server's own account at the forge does not work, so nobody can be looked up there; its operator finds the reason in the log";
                    return Self::new(StatusCode::SERVICE_UNAVAILABLE, detail);
                }
                (StatusCode::SERVICE_UNAVAILABLE, None)
            }
            GateFault::Archived | GateFault::HiddenTeam => (StatusCode::SERVICE_UNAVAILABLE, None),
            GateFault::Unknown | GateFault::IdToken(_) => (StatusCode::UNAUTHORIZED, None),
            GateFault::Refused(_)
            | GateFault::MayNotRead
            | GateFault::HiddenPerson(_)
            | GateFault::JobMayNotRead
            | GateFault::NoName(_)
            | GateFault::ReadOnly(_)
            | GateFault::PublicOnly
            | GateFault::OtherRepository
            | GateFault::NamelessJob
            | GateFault::HiddenRepository(_)
            | GateFault::HiddenRun
            | GateFault::OddWorkflow(_)
            | GateFault::JobsPublish => (StatusCode::FORBIDDEN, None),
            GateFault::NoUser(_) | GateFault::Organisation(_) | GateFault::NoTeam(_) => {
                (StatusCode::BAD_REQUEST, None)
            }
            GateFault::TooMany { wait_secs } => (StatusCode::TOO_MANY_REQUESTS, Some(*wait_secs)),
        };
        Self {
            retry_after_secs: wait_secs,
            ..Self::new(status, fault.to_string())
        }
    }
}

impl From<ExchangeFault> for ApiError {
    fn from(fault: ExchangeFault) -> Self {
        let status = match fault {
            ExchangeFault::Gate(fault) => return fault.into(),
            ExchangeFault::NoForge => StatusCode::NOT_FOUND,
            ExchangeFault::NotLinked { .. }
            | ExchangeFault::OtherRepository { .. }
            | ExchangeFault::Used
            | ExchangeFault::NotOfGuest => StatusCode::FORBIDDEN,
            ExchangeFault::NoAction
            | ExchangeFault::Prefix(_)
            | ExchangeFault::Mint(MintFault::Order(_)) => StatusCode::BAD_REQUEST,
            ExchangeFault::Mint(MintFault::TooLate(_)) => StatusCode::UNAUTHORIZED,
            ExchangeFault::Mint(MintFault::TooLong(_)) => StatusCode::BAD_REQUEST,
            ExchangeFault::Mint(ref cause) => {
                error!(%cause, "a token was not made");
                StatusCode::INTERNAL_SERVER_ERROR
            }
            ExchangeFault::NotWritten(ref cause) => {
                error!(%cause, "an exchange of a token was not written down");
                StatusCode::SERVICE_UNAVAILABLE
            }
            ExchangeFault::NotTakenBack(ref cause) => {
                error!(%cause, "a token was not taken back");
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        Self::new(status, fault.to_string())
    }
}

impl From<NotPermitted> for ApiError {
    fn from(fault: NotPermitted) -> Self {
        Self::new(StatusCode::FORBIDDEN, fault.to_string())
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let status = match &refusal {
            Refusal::NoSuchCrate(_) | Refusal::NoSuchVersion { .. } => StatusCode::NOT_FOUND,
            Refusal::SameVersion { .. } | Refusal::VersionTaken { .. } | Refusal::PolicyChanged => {
                StatusCode::CONFLICT
            }
            Refusal::Revoked(_) => StatusCode::UNAUTHORIZED,
            Refusal::NotAnOwner { .. } | Refusal::MayNotCreate { .. } => StatusCode::FORBIDDEN,
            Refusal::SpelledOtherwise { .. }
            | Refusal::ReservedName { .. }
            | Refusal::ReservedByPolicy(_)
            | Refusal::Dependency(_)
            | Refusal::Owners(_)
            | Refusal::Operation(_)
            | Refusal::Collision(_)
            | Refusal::FileTooLarge(_) => StatusCode::BAD_REQUEST,
            Refusal::BrokenFile { .. } => {
                error!(%refusal, "a file of the index is broken");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Self::new(status, refusal.to_string())
    }
}

impl From<WriteFault> for ApiError {
    fn from(fault: WriteFault) -> Self {
        match fault {
            WriteFault::Refused(refusal) => refusal.into(),
            WriteFault::ForgeRefused(_) => Self::new(StatusCode::FORBIDDEN, fault.to_string()),
            WriteFault::Busy
            | WriteFault::Late
            | WriteFault::BlobLost(_)
            | WriteFault::Unavailable(_)
            | WriteFault::OutcomeUnknown(_) => Self::unavailable(fault),
        }
    }
}

impl From<TooOften> for ApiError {
    fn from(fault: TooOften) -> Self {
        Self {
            retry_after_secs: Some(fault.wait_secs),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, fault.to_string())
        }
    }
}

impl From<YankFault> for ApiError {
    fn from(fault: YankFault) -> Self {
        match fault {
            YankFault::NotPermitted(fault) => fault.into(),
            YankFault::Gate(fault) => fault.into(),
            YankFault::TooOften(fault) => fault.into(),
            YankFault::Write(fault) => fault.into(),
        }
    }
}

impl From<OwnersFault> for ApiError {
    fn from(fault: OwnersFault) -> Self {
        match fault {
            OwnersFault::NotPermitted(fault) => fault.into(),
            OwnersFault::Gate(fault) => fault.into(),
            OwnersFault::TooOften(fault) => fault.into(),
            OwnersFault::Write(fault) => fault.into(),
            OwnersFault::Nobody | OwnersFault::TooMany(_) => Self::bad_request(fault),
        }
    }
}

impl From<PublishFault> for ApiError {
    fn from(fault: PublishFault) -> Self {
        match fault {
            PublishFault::NotPermitted(fault) => fault.into(),
            PublishFault::Gate(fault) => fault.into(),
            PublishFault::TooOften(fault) => fault.into(),
            PublishFault::Write(fault) => fault.into(),
            PublishFault::Frame(fault) => fault.into(),
            PublishFault::Invalid(details) => Self::bad_request_of_all(details),
            PublishFault::Refused { first, sentences } => Self {
                details: sentences,
                ..first.into()
            },
            PublishFault::Store(ref cause) => {
                error!(%cause, "an upload was not stored");
                Self::unavailable(fault)
            }
            PublishFault::Panicked => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, fault.to_string())
            }
        }
    }
}

impl From<FrameFault> for ApiError {
    fn from(fault: FrameFault) -> Self {
        match fault {
            FrameFault::MetadataTooLarge { .. } | FrameFault::TarballTooLarge { .. } => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, fault.to_string())
            }
            FrameFault::Connection(cause) => match cause.downcast::<BodyFault>() {
                Ok(fault) => (*fault).into(),
                Err(_) => Self::bad_request("the upload broke off"),
            },
            FrameFault::Spool(ref cause) => {
                error!(%cause, "an upload was not received");
                Self::unavailable(format!("the upload could not be stored: {cause}"))
            }
            _ => Self::bad_request(fault),
        }
    }
}

impl From<BodyFault> for ApiError {
    fn from(fault: BodyFault) -> Self {
        let status = match fault {
            BodyFault::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            BodyFault::TooSlow { .. } => StatusCode::REQUEST_TIMEOUT,
            BodyFault::Broken(_) => StatusCode::BAD_REQUEST,
        };
        Self::new(status, fault.to_string())
    }
}

impl From<SearchFault> for ApiError {
    fn from(fault: SearchFault) -> Self {
        let status = match fault {
            SearchFault::Busy => StatusCode::SERVICE_UNAVAILABLE,
            SearchFault::Unfinished => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, fault.to_string())
    }
}

impl From<FetchFault> for ApiError {
    fn from(fault: FetchFault) -> Self {
        let status = match &fault {
            FetchFault::Busy { .. } | FetchFault::Stalled => StatusCode::SERVICE_UNAVAILABLE,
            FetchFault::Malformed(_)
            | FetchFault::NotUnderstood(_)
            | FetchFault::Interrupted(_) => StatusCode::BAD_REQUEST,
            FetchFault::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            FetchFault::TooSlow => StatusCode::REQUEST_TIMEOUT,
            FetchFault::Spawn(cause) => {
                error!(%cause, "the git program cannot be run");
                StatusCode::INTERNAL_SERVER_ERROR
            }
            FetchFault::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, fault.to_string())
    }
}
