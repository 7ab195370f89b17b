//! Why control refuses a request. A refused request has changed nothing.

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// A refused request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What kind of refusal, as a gRPC code.
    pub code: Code,
    /// Path of the field to change, such as `media[1].codecs[0].payload_type`; empty when no field is wrong.
    pub field: String,
    /// One sentence for people; begins with the field when there is one.
    pub message: String,
}

impl Refusal {
    /// A field that makes no sense.
    pub fn invalid(field: impl Into<String>, why: impl AsRef<str>) -> Refusal {
        Refusal::at(Code::InvalidArgument, field, why)
    }

    /// A refusal about one field.
    pub fn at(code: Code, field: impl Into<String>, why: impl AsRef<str>) -> Refusal {
        let field = field.into();
        let message = format!("{field}: {}", why.as_ref());
        Refusal { code, field, message }
    }

    /// A refusal that no field is to blame for.
    pub fn plain(code: Code, message: impl Into<String>) -> Refusal {
        Refusal { code, field: String::new(), message: message.into() }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Status {
        if refusal.field.is_empty() {
            return Status::new(refusal.code, refusal.message);
        }
        let details = ErrorDetails::with_bad_request_violation(refusal.field, refusal.message.clone());
        Status::with_error_details(refusal.code, refusal.message, details)
    }
}
