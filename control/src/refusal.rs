//! Why control refuses a request. A refused request has changed nothing.

use std::time::Duration;
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
    /// When asking again is worth while, in milliseconds; 0: nobody knows.
    pub retry_ms: u64,
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
        Refusal { code, field, message, retry_ms: 0 }
    }

    /// A refusal that no field is to blame for.
    pub fn plain(code: Code, message: impl Into<String>) -> Refusal {
        Refusal { code, field: String::new(), message: message.into(), retry_ms: 0 }
    }

    /// Asking again is worth while in so many milliseconds.
    pub fn retry_in(self, retry_ms: u64) -> Refusal {
        Refusal { retry_ms, ..self }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Status {
        if refusal.field.is_empty() && refusal.retry_ms == 0 {
            return Status::new(refusal.code, refusal.message);
        }
        let mut details = ErrorDetails::new();
        if !refusal.field.is_empty() {
            details.add_bad_request_violation(refusal.field, refusal.message.clone());
        }
        if refusal.retry_ms > 0 {
            details.set_retry_info(Some(Duration::from_millis(refusal.retry_ms)));
        }
        Status::with_error_details(refusal.code, refusal.message, details)
    }
}
