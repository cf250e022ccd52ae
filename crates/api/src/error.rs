//! The one table in which a failure meets its status code and the contract's `type` (`ERR-6`, `G25`).

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use engine::{EngineError, StandbyError};
use http::StatusCode;
use model::input_schema::InputError;
use model::schedule::TicksError;
use model::{StandbyRefused, StorageKind};
use serde::Serialize;
use store::{Noun, StoreError};

use crate::wire;

/// Longest message, in bytes.
const MAX_MESSAGE: usize = 4 << 10;

/// A request that could not be served, as the client will see it.
#[derive(Debug)]
pub struct ApiError {
    problem: Problem,
    message: Cow<'static, str>,
    data: Option<Box<serde_json::Value>>,
    cause: Option<anyhow::Error>,
}

/// What can be wrong with a request, one variant for each `type` of the contract that this server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words are those of the contract's types")]
pub enum Problem {
    ActorMemoryLimitExceeded,
    ActorNameNotUnique,
    ActorTaskNameNotUnique,
    CannotChargeApifyEvent,
    ConcurrentRunsLimitExceeded,
    PlatformFeatureDisabled,
    CannotChargeNonPayPerEventActor,
    CannotPublishActor,
    CannotPublishActorTask,
    CannotRemoveRunningRun,
    CronExpressionInvalid,
    DatasetDoesNotHaveSchema,
    DatasetSchemaInvalid,
    DeletingDefaultBuild,
    DevFolderCheckFailed,
    DevFolderNotADirectory,
    DevFolderPathNotFound,
    DeletingUnfinishedBuild,
    EnvVarAlreadyExists,
    CannotRenameEnvVar,
    IdDoesNotMatch,
    InsufficientPermissions,
    InsufficientStorage,
    InternalServerError,
    InvalidBuild,
    InvalidClientKey,
    InvalidCollection,
    InvalidContentTypeHeader,
    InvalidInput,
    InvalidInputSchema,
    InvalidRecordKey,
    InvalidRequest,
    InvalidSignature,
    InvalidValue,
    JobFinished,
    MaxItemsMustBeGreaterThanZero,
    MaxMetamorphsExceeded,
    MaxTotalChargeUsdBelowMinimum,
    MaxTotalChargeUsdMustBeGreaterThanZero,
    MethodNotAllowed,
    NameNotUnique,
    NextRuntimeComputationFailed,
    OperationTimedOut,
    PageNotFound,
    ParameterRequired,
    ParamNotOneOf,
    RangeNotSatisfiable,
    RecordNotFound,
    RecordOrTokenNotFound,
    RecordTooLarge,
    RequestAbortedPrematurely,
    RequestedDatasetViewDoesNotExist,
    RequestHandledOrLocked,
    RequestIdInvalid,
    RequestTooLarge,
    RunFailed,
    RunTimeoutExceeded,
    ScheduleActorNotFound,
    ScheduleActorTaskNotFound,
    ScheduleNameNotUnique,
    SchemaValidationError,
    ServiceUnavailable,
    StandbyBadGateway,
    StandbyNotEnabled,
    StandbyRunFinished,
    StandbyRunNotReady,
    StoreSchemaInvalid,
    TokenNotProvided,
    TooFewVersions,
    UnsupportedContentEncoding,
    UserOrTokenNotFound,
    VersionAlreadyExists,
    VersionsSizeExceeded,
}

impl Problem {
    /// The status code and the `type` of the contract.
    fn row(self) -> (StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::ActorMemoryLimitExceeded => (S::PAYMENT_REQUIRED, "actor-memory-limit-exceeded"),
            Self::ConcurrentRunsLimitExceeded => (S::PAYMENT_REQUIRED, "concurrent-runs-limit-exceeded"),
            Self::PlatformFeatureDisabled => (S::FORBIDDEN, "platform-feature-disabled"),
            Self::ActorNameNotUnique => (S::CONFLICT, "actor-name-not-unique"),
            Self::ActorTaskNameNotUnique => (S::CONFLICT, "actor-task-name-not-unique"),
            Self::CannotChargeApifyEvent => (S::METHOD_NOT_ALLOWED, "cannot-charge-apify-event"),
            Self::CannotChargeNonPayPerEventActor => (S::BAD_REQUEST, "cannot-charge-non-pay-per-event-actor"),
            Self::CannotPublishActor => (S::FORBIDDEN, "cannot-publish-actor"),
            Self::CannotPublishActorTask => (S::BAD_REQUEST, "cannot-publish-actor-task"),
            Self::CannotRemoveRunningRun => (S::BAD_REQUEST, "cannot-remove-running-run"),
            Self::CronExpressionInvalid => (S::BAD_REQUEST, "cron-expression-invalid"),
            Self::DatasetDoesNotHaveSchema => (S::BAD_REQUEST, "dataset-does-not-have-schema"),
            Self::DatasetSchemaInvalid => (S::BAD_REQUEST, "dataset-schema-invalid"),
            Self::DeletingDefaultBuild => (S::BAD_REQUEST, "deleting-default-build"),
            Self::DevFolderCheckFailed => (S::BAD_REQUEST, "dev-folder-check-failed"),
            Self::DevFolderNotADirectory => (S::BAD_REQUEST, "dev-folder-not-a-directory"),
            Self::DevFolderPathNotFound => (S::BAD_REQUEST, "dev-folder-path-not-found"),
            Self::DeletingUnfinishedBuild => (S::BAD_REQUEST, "deleting-unfinished-build"),
            Self::EnvVarAlreadyExists => (S::BAD_REQUEST, "env-var-already-exists"),
            Self::CannotRenameEnvVar => (S::BAD_REQUEST, "cannot-rename-env-var"),
            Self::IdDoesNotMatch => (S::BAD_REQUEST, "id-does-not-match"),
            Self::InsufficientPermissions => (S::FORBIDDEN, "insufficient-permissions"),
            Self::InsufficientStorage => (S::INSUFFICIENT_STORAGE, "insufficient-storage"),
            Self::InternalServerError => (S::INTERNAL_SERVER_ERROR, "internal-server-error"),
            Self::InvalidBuild => (S::BAD_REQUEST, "invalid-build"),
            Self::InvalidClientKey => (S::BAD_REQUEST, "invalid-client-key"),
            Self::InvalidCollection => (S::BAD_REQUEST, "invalid-collection"),
            Self::InvalidContentTypeHeader => (S::BAD_REQUEST, "invalid-content-type-header"),
            Self::InvalidInput => (S::BAD_REQUEST, "invalid-input"),
            Self::InvalidInputSchema => (S::BAD_REQUEST, "invalid-input-schema"),
            Self::InvalidRecordKey => (S::BAD_REQUEST, "invalid-record-key"),
            Self::InvalidRequest => (S::BAD_REQUEST, "invalid-request"),
            Self::InvalidSignature => (S::BAD_REQUEST, "invalid-signature"),
            Self::InvalidValue => (S::BAD_REQUEST, "invalid-value"),
            Self::JobFinished => (S::FORBIDDEN, "job-finished"),
            Self::MaxItemsMustBeGreaterThanZero => (S::BAD_REQUEST, "max-items-must-be-greater-than-zero"),
            Self::MaxMetamorphsExceeded => (S::BAD_REQUEST, "max-metamorphs-exceeded"),
            Self::MaxTotalChargeUsdBelowMinimum => (S::BAD_REQUEST, "max-total-charge-usd-below-minimum"),
            Self::MaxTotalChargeUsdMustBeGreaterThanZero => {
                (S::BAD_REQUEST, "max-total-charge-usd-must-be-greater-than-zero")
            }
            Self::MethodNotAllowed => (S::METHOD_NOT_ALLOWED, "method-not-allowed"),
            Self::NameNotUnique => (S::CONFLICT, "name-not-unique"),
            Self::NextRuntimeComputationFailed => (S::BAD_REQUEST, "next-runtime-computation-failed"),
            Self::OperationTimedOut => (S::GATEWAY_TIMEOUT, "operation-timed-out"),
            Self::PageNotFound => (S::NOT_FOUND, "page-not-found"),
            Self::ParameterRequired => (S::BAD_REQUEST, "parameter-required"),
            Self::ParamNotOneOf => (S::BAD_REQUEST, "param-not-one-of"),
            Self::RangeNotSatisfiable => (S::RANGE_NOT_SATISFIABLE, "range-not-satisfiable"),
            Self::RecordNotFound => (S::NOT_FOUND, "record-not-found"),
            Self::RecordOrTokenNotFound => (S::NOT_FOUND, "record-or-token-not-found"),
            Self::RecordTooLarge => (S::PAYLOAD_TOO_LARGE, "record-too-large"),
            Self::RequestAbortedPrematurely => (S::BAD_REQUEST, "request-aborted-prematurely"),
            Self::RequestedDatasetViewDoesNotExist => (S::BAD_REQUEST, "requested-dataset-view-does-not-exist"),
            Self::RequestHandledOrLocked => (S::FORBIDDEN, "request-handled-or-locked"),
            Self::RequestIdInvalid => (S::BAD_REQUEST, "request-id-invalid"),
            Self::RequestTooLarge => (S::PAYLOAD_TOO_LARGE, "request-too-large"),
            Self::RunFailed => (S::BAD_REQUEST, "run-failed"),
            Self::RunTimeoutExceeded => (S::REQUEST_TIMEOUT, "run-timeout-exceeded"),
            Self::ScheduleActorNotFound => (S::BAD_REQUEST, "schedule-actor-not-found"),
            Self::ScheduleActorTaskNotFound => (S::BAD_REQUEST, "schedule-actor-task-not-found"),
            Self::ScheduleNameNotUnique => (S::CONFLICT, "schedule-name-not-unique"),
            Self::SchemaValidationError => (S::BAD_REQUEST, "schema-validation-error"),
            Self::ServiceUnavailable => (S::SERVICE_UNAVAILABLE, "service-unavailable"),
            Self::StandbyBadGateway => (S::BAD_GATEWAY, "standby-bad-gateway"),
            Self::StandbyNotEnabled => (S::BAD_REQUEST, "standby-not-enabled"),
            Self::StandbyRunFinished => (S::SERVICE_UNAVAILABLE, "standby-run-finished"),
            Self::StandbyRunNotReady => (S::GATEWAY_TIMEOUT, "standby-run-not-ready"),
            Self::StoreSchemaInvalid => (S::BAD_REQUEST, "store-schema-invalid"),
            Self::TokenNotProvided => (S::UNAUTHORIZED, "token-not-provided"),
            Self::TooFewVersions => (S::BAD_REQUEST, "too-few-versions"),
            Self::UnsupportedContentEncoding => (S::UNSUPPORTED_MEDIA_TYPE, "unsupported-content-encoding"),
            Self::UserOrTokenNotFound => (S::UNAUTHORIZED, "user-or-token-not-found"),
            Self::VersionAlreadyExists => (S::BAD_REQUEST, "version-already-exists"),
            Self::VersionsSizeExceeded => (S::BAD_REQUEST, "versions-size-exceeded"),
        }
    }
}

impl ApiError {
    /// A problem in words that tell the client what to do about it.
    pub fn new(problem: Problem, message: impl Into<Cow<'static, str>>) -> Self {
        Self { problem, message: message.into(), data: None, cause: None }
    }

    /// Adds what clients find in `error.data` (`ERR-1`).
    #[must_use]
    pub fn with_data(mut self, data: serde_json::Value) -> Self {
        self.data = Some(Box::new(data));
        self
    }

    /// The generic refusal of a malformed request.
    pub fn invalid_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Problem::InvalidRequest, message)
    }

    /// Something does not exist, or the caller may not know of it (`AUTH-5`).
    pub fn not_found(what: Noun) -> Self {
        Self::new(Problem::RecordNotFound, format!("{what} was not found"))
    }

    /// A record of a key-value store does not exist (`K20`).
    pub fn record_not_found() -> Self {
        Self::new(Problem::RecordNotFound, "Record was not found")
    }

    /// A run, build or log that may not be read without a token, or does not exist (`AUTH-10`).
    pub fn not_found_without_token(what: Noun) -> Self {
        let message = format!("{what} was not found or the access token is missing or insufficient");
        Self::new(Problem::RecordOrTokenNotFound, message)
    }

    /// The key of a record has a form that no record can have (`K1`).
    pub fn invalid_record_key() -> Self {
        Self::new(Problem::InvalidRecordKey, "Record key contains invalid character")
    }

    /// There is no such address (`HTTP-18`).
    pub fn page_not_found(path: &str) -> Self {
        let message = if path == "/v2/v2" || path.starts_with("/v2/v2/") {
            "We have bad news: there is no API endpoint at this URL. The path starts with /v2 twice: clients add it \
             themselves, so leave it out of the base URL."
        } else {
            "We have bad news: there is no API endpoint at this URL."
        };
        Self::new(Problem::PageNotFound, message)
    }

    /// The address does not answer to the method (`HTTP-19`); `allowed` as in `GET,POST`.
    pub fn method_not_allowed(allowed: &str) -> Self {
        let message =
            format!("This API end-point can only be accessed using the following HTTP methods: OPTIONS,{allowed}");
        Self::new(Problem::MethodNotAllowed, message)
    }

    /// There is no token where one is needed (`AUTH-3`).
    pub fn token_not_provided() -> Self {
        Self::new(Problem::TokenNotProvided, "Authentication token was not provided")
    }

    /// The token is nobody's (`AUTH-4`).
    pub fn unknown_token() -> Self {
        Self::new(Problem::UserOrTokenNotFound, "User was not found or authentication token is not valid")
    }

    /// The caller may not do this to that storage (`P5`).
    pub fn storage_refused(kind: StorageKind) -> Self {
        let message = format!(
            "Insufficient permissions for the {kind}. Make sure you're passing a correct API token and that it has the \
             required permissions."
        );
        Self::new(Problem::InsufficientPermissions, message)
    }

    /// The token may do less than its user, and not this (`AUTH-15`, `AUTH-19`).
    pub fn token_is_limited() -> Self {
        let message = "Insufficient permissions: the permissions of this API token do not include this operation";
        Self::new(Problem::InsufficientPermissions, message)
    }

    /// A reference that ends where its name should begin (`S2`, `ID-3`).
    pub fn empty_name() -> Self {
        Self::invalid_request("Resource name parameter cannot be empty")
    }

    /// The body is too large after decompression (`G8`, `HTTP-8`).
    pub fn request_too_large(limit: usize, actual: u64) -> Self {
        let message = format!("The POST payload is too large (limit: {limit} bytes, actual length: {actual} bytes).");
        Self::new(Problem::RequestTooLarge, message)
    }

    /// The record is larger than records may be here (`K11`).
    pub fn record_too_large(limit: u64) -> Self {
        Self::new(Problem::RecordTooLarge, format!("The record is too large (limit: {limit} bytes)"))
    }

    /// The body has an encoding that is not spoken here (`HTTP-7`).
    pub fn unsupported_encoding(encoding: &str) -> Self {
        let message = format!("Content-Encoding \"{encoding}\" is not supported.");
        Self::new(Problem::UnsupportedContentEncoding, message)
    }

    /// Our own failure. The cause goes to the log, never to the client.
    pub fn internal(cause: impl Into<anyhow::Error>) -> Self {
        Self {
            problem: Problem::InternalServerError,
            message: Cow::Borrowed("Internal server error"),
            data: None,
            cause: Some(cause.into()),
        }
    }

    /// What is wrong.
    pub fn problem(&self) -> Problem {
        self.problem
    }

    /// The status code of the answer.
    pub fn status(&self) -> StatusCode {
        self.problem.row().0
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(what) => Self::not_found(what),
            StoreError::NameTaken => Self::new(Problem::NameNotUnique, "The name is already used by another resource"),
            StoreError::HandledOrLocked => {
                Self::new(Problem::RequestHandledOrLocked, "The request is already handled or locked by another client")
            }
            StoreError::Body(error) => error.downcast::<Self>().unwrap_or_else(|error| {
                Self::new(Problem::RequestAbortedPrematurely, format!("The request body ended early: {error}"))
            }),
            StoreError::Full => Self::new(Problem::InsufficientStorage, "There is no space left on the server's disk"),
            StoreError::Backend(cause) => Self::internal(cause),
        }
    }
}

impl From<std::io::Error> for ApiError {
    fn from(error: std::io::Error) -> Self {
        Self::internal(error)
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        use EngineError as E;
        let problem = engine_problem(&error);
        match error {
            E::Store(error) => error.into(),
            E::Driver(error) => Self::internal(error),
            E::Internal(error) => Self::internal(error),
            refused => Self::new(problem, refused.to_string()),
        }
    }
}

impl From<TicksError> for ApiError {
    fn from(refused: TicksError) -> Self {
        Self::new(problem_of(&refused), refused.to_string())
    }
}

fn problem_of(refused: &TicksError) -> Problem {
    match refused {
        TicksError::Cron(..) => Problem::CronExpressionInvalid,
        TicksError::Zone(_) => Problem::InvalidValue,
        TicksError::Never(_) => Problem::NextRuntimeComputationFailed,
    }
}

impl From<model::NoObject> for ApiError {
    fn from(refused: model::NoObject) -> Self {
        Self::new(Problem::InvalidInput, refused.to_string())
    }
}

impl From<model::WebhookRefused> for ApiError {
    fn from(refused: model::WebhookRefused) -> Self {
        Self::new(Problem::InvalidValue, refused.to_string())
    }
}

impl From<StandbyError> for ApiError {
    fn from(error: StandbyError) -> Self {
        let problem = match &error {
            StandbyError::NotEnabled => Problem::StandbyNotEnabled,
            StandbyError::Crowded => Problem::ServiceUnavailable,
            StandbyError::NotReady => Problem::StandbyRunNotReady,
            StandbyError::RunFinished(_) => Problem::StandbyRunFinished,
            StandbyError::Refused(refused) => match engine_problem(refused) {
                Problem::InternalServerError => return Self::internal(error),
                problem => problem,
            },
        };
        Self::new(problem, error.to_string())
    }
}

fn engine_problem(error: &EngineError) -> Problem {
    use EngineError as E;
    match error {
        E::NotFound(_) | E::NoBuildTagged(_) | E::NoBuildNumbered(_) | E::NoSuchEvent(_) => Problem::RecordNotFound,
        E::BuildNotRunnable { .. } => Problem::InvalidBuild,
        E::InvalidMemory(_) | E::InvalidTimeout(_) | E::InvalidCharge(_) | E::NotRunning(_) | E::NotFinished(_) => {
            Problem::InvalidRequest
        }
        E::MaxItemsNotPositive => Problem::MaxItemsMustBeGreaterThanZero,
        E::MaxTotalChargeNotPositive => Problem::MaxTotalChargeUsdMustBeGreaterThanZero,
        E::MaxTotalChargeBelowMinimum(_) => Problem::MaxTotalChargeUsdBelowMinimum,
        E::Input(InputError::Schema(_)) => Problem::InvalidInputSchema,
        E::Input(_) | E::TaskInput(_) => Problem::InvalidInput,
        E::Schedule(error) => problem_of(error),
        E::JobFinished => Problem::JobFinished,
        E::CannotRemoveRunningRun => Problem::CannotRemoveRunningRun,
        E::MaxMetamorphsExceeded => Problem::MaxMetamorphsExceeded,
        E::MetamorphNeedsPermissions | E::StartNeedsPermissions | E::TokenMayNotStart => {
            Problem::InsufficientPermissions
        }
        E::SystemEvent(_) => Problem::CannotChargeApifyEvent,
        E::NotPayPerEvent => Problem::CannotChargeNonPayPerEventActor,
        E::DeletingUnfinishedBuild => Problem::DeletingUnfinishedBuild,
        E::DeletingDefaultBuild => Problem::DeletingDefaultBuild,
        E::InvalidUsername(_) => Problem::InvalidValue,
        E::MemoryLimitExceeded { .. } => Problem::ActorMemoryLimitExceeded,
        E::ConcurrentRunsLimitExceeded { .. } => Problem::ConcurrentRunsLimitExceeded,
        E::MonthlyUsageExceeded { .. } => Problem::PlatformFeatureDisabled,
        E::ShuttingDown => Problem::ServiceUnavailable,
        E::Store(_) | E::Driver(_) | E::Internal(_) => Problem::InternalServerError,
    }
}

impl From<StandbyRefused> for ApiError {
    fn from(refused: StandbyRefused) -> Self {
        let problem = match refused {
            StandbyRefused::UnknownField(_) | StandbyRefused::WrongType(_) => Problem::InvalidRequest,
            StandbyRefused::Rule(_) => Problem::InvalidValue,
        };
        Self::new(problem, refused.to_string())
    }
}

impl From<model::EmptyName> for ApiError {
    fn from(_: model::EmptyName) -> Self {
        Self::empty_name()
    }
}

/// So that an error can travel through a stream of bytes and come out of [`StoreError::Body`] as it went in.
impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}

/// The cause of a failure of ours, on its way to the layer that logs it with the request's id.
#[derive(Clone, Debug)]
pub(crate) struct Cause(pub(crate) std::sync::Arc<anyhow::Error>);

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Envelope<'a> {
            error: Body<'a>,
        }
        #[derive(Serialize)]
        struct Body<'a> {
            r#type: &'static str,
            message: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            data: Option<&'a serde_json::Value>,
        }

        let (status, kind) = self.problem.row();
        // Messages quote what was sent, which may be megabytes.
        let message = &self.message[..self.message.floor_char_boundary(MAX_MESSAGE)];
        let body = Body { r#type: kind, message, data: self.data.as_deref() };
        let mut response = wire::bare_json(status, &Envelope { error: body });
        if let Some(cause) = self.cause {
            response.extensions_mut().insert(Cause(std::sync::Arc::new(cause)));
        }
        response
    }
}

/// What handlers return.
pub type Answer = Result<Response, ApiError>;
