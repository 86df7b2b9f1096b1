//! What a refusal says: to the caller in its dialect, and to the operator.

use super::Refusal;
use crate::{
    admit::{NotAdmitted, Reached},
    ask::{BodyFault, Dialect, RouteFault},
    authorize::Forbidden,
    forward::EngineFault,
    identify::IdentityFault,
    load::Overload,
    route::NoRoute,
};
use attach_proto::bundle::Measure;
use serde_json::json;

impl Refusal {
    /// For the caller: what is wrong and what to do.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Front(fault) => fault.message().to_owned(),
            Self::Route(RouteFault::Unknown) => "There is no such route on this gateway.".to_owned(),
            Self::Route(RouteFault::Method(allowed)) => format!("This route takes {allowed}."),
            Self::Identity(IdentityFault::ReplayMemoryFull { .. }) => {
                "The gateway has no room for this request at the moment; try again soon.".to_owned()
            }
            Self::Identity(IdentityFault::BareDid) => {
                "A DID alone proves nothing: send a token that its key has signed (`attach-gateway did token`)."
                    .to_owned()
            }
            Self::Identity(fault) if fault.retry_after().is_some() => {
                "The keys of this token's issuer are not available at the moment; try again soon.".to_owned()
            }
            Self::Identity(IdentityFault::NoCredential) => {
                "No credential: send `Authorization: Bearer <access token or API key>`.".to_owned()
            }
            Self::Identity(IdentityFault::MissingScope(scope)) => {
                format!("The access token was not granted the scope '{scope}', which this gateway requires.")
            }
            Self::Identity(IdentityFault::MalformedApiKey) => {
                "The API key is not whole; copy it again, all of it.".to_owned()
            }
            Self::Identity(fault @ (IdentityFault::NamedUser { .. } | IdentityFault::TwoNamedUsers)) => {
                format!("Who is meant can't be told: {fault}.")
            }
            Self::Identity(_) => "The access token or API key is not valid here, or no longer.".to_owned(),
            Self::Body(BodyFault::TooLarge { limit }) | Self::Upload(BodyFault::TooLarge { limit }) => {
                format!("The body is larger than {limit} bytes.")
            }
            Self::Overloaded(Overload::Tenant) => {
                "As many requests of your organisation are in progress as may be; try again when one has ended.".to_owned()
            }
            Self::Overloaded(Overload::Requests | Overload::Memory)
            | Self::Body(BodyFault::NoRoom)
            | Self::Upload(BodyFault::NoRoom)
            | Self::NotAdmitted(NotAdmitted::Overloaded) => {
                "The gateway has no room for this request at the moment; try again soon.".to_owned()
            }
            Self::Body(BodyFault::TooSlow) | Self::Upload(BodyFault::TooSlow) => {
                "The body did not arrive in time.".to_owned()
            }
            Self::Body(BodyFault::Broken) | Self::Upload(BodyFault::Broken) => {
                "The body broke off.".to_owned()
            }
            Self::Ask(fault) => fault.to_string(),
            Self::Forbidden(Forbidden::Permission(permission)) => {
                format!("You do not have the permission `{}` here.", permission.name())
            }
            Self::Forbidden(Forbidden::Model(model)) => format!("You may not use the model '{model}'."),
            Self::Forbidden(Forbidden::NoModel) => {
                "You may use certain models only, and this request names none.".to_owned()
            }
            Self::Forbidden(Forbidden::NoUpstream(Some(name))) => {
                format!("No engine here that could do this is called '{name}'.")
            }
            Self::Forbidden(Forbidden::NoUpstream(None)) => "No engine here could do this.".to_owned(),
            Self::Forbidden(Forbidden::WhichUpstream) => {
                "Several engines here could do this: name one in the header X-Attach-Upstream.".to_owned()
            }
            Self::Forbidden(Forbidden::UnknownModel(model)) => format!("model '{model}' not found"),
            Self::NoRoute(NoRoute::NoUpstream) => "No engine here has this model.".to_owned(),
            Self::NotAdmitted(NotAdmitted::Reached(reached)) => reached_message(reached),
            Self::NotAdmitted(NotAdmitted::StoreUnavailable(_)) => {
                "Limits can't be checked at the moment, so nothing is served; try again soon.".to_owned()
            }
            Self::Overloaded(Overload::Engines) => "All engines are busy; try again soon.".to_owned(),
            Self::NoRoute(NoRoute::Busy) => {
                "All engines with this model are busy; try again soon.".to_owned()
            }
            Self::Engine(EngineFault::Unreachable) => "The engine can't be reached.".to_owned(),
            Self::Engine(EngineFault::TimedOut) => "The engine did not answer in time.".to_owned(),
            Self::Engine(EngineFault::Broken) => "The engine's answer broke off.".to_owned(),
            Self::SpoolOutOfOrder => {
                "Usage can't be recorded at the moment, so nothing is served; try again soon.".to_owned()
            }
            Self::NotRecorded => {
                "The usage of this answer could not be recorded, so it is held back; try again soon."
                    .to_owned()
            }
        }
    }

    /// For the operator: the check that failed, with its values. Never the credential, never the body.
    pub(crate) fn detail(&self) -> String {
        match self {
            Self::Identity(fault) => format!("{}: {fault}", fault.code()),
            Self::NotAdmitted(NotAdmitted::Reached(reached)) => match reached.retry_after {
                Some(wait) => format!("{} It would fit in {} s.", self.message(), wait.as_secs_f64().ceil()),
                None => self.message(),
            },
            Self::NotAdmitted(NotAdmitted::StoreUnavailable(fault)) => fault.to_string(),
            Self::Overloaded(Overload::Requests) => {
                "As many requests are in progress as --max-in-progress allows.".to_owned()
            }
            Self::Overloaded(Overload::Memory) => {
                "Nearly all of the memory that this process may use is in use.".to_owned()
            }
            Self::Overloaded(Overload::Tenant) => {
                "The tenant has half of all requests that --max-in-progress allows in progress.".to_owned()
            }
            Self::Overloaded(Overload::Engines) => "Every upstream is at its `max_in_flight`.".to_owned(),
            Self::Front(_)
            | Self::Route(_)
            | Self::Body(_)
            | Self::Upload(_)
            | Self::Ask(_)
            | Self::Forbidden(_)
            | Self::NotAdmitted(NotAdmitted::Overloaded)
            | Self::NoRoute(_)
            | Self::Engine(_)
            | Self::NotRecorded
            | Self::SpoolOutOfOrder => self.message(),
        }
    }

    /// The body, as an SDK of the caller's dialect expects an error.
    pub(crate) fn body(&self, dialect: Dialect, request_id: &str) -> Vec<u8> {
        let message = self.message();
        let value = match dialect {
            Dialect::Ollama => json!({ "error": message }),
            Dialect::OpenAi => json!({
                "error": {
                    "message": message,
                    "type": self.openai_type(),
                    "param": null,
                    "code": self.code(),
                    "request_id": request_id,
                }
            }),
            Dialect::Anthropic => json!({
                "type": "error",
                "error": { "type": self.anthropic_type(), "message": message },
                "request_id": request_id,
            }),
        };
        value.to_string().into_bytes()
    }

    fn openai_type(&self) -> &'static str {
        match self.status().as_u16() {
            401 => "authentication_error",
            403 => "permission_error",
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        }
    }

    fn anthropic_type(&self) -> &'static str {
        match self.status().as_u16() {
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            503 => "overloaded_error",
            500.. => "api_error",
            _ => "invalid_request_error",
        }
    }
}

fn reached_message(reached: &Reached) -> String {
    let measure = match reached.measure {
        Measure::Requests => "requests",
        Measure::InputTokens => "input tokens",
        Measure::OutputTokens => "output tokens",
        Measure::TotalTokens => "tokens",
    };
    if reached.retry_after.is_none() {
        return format!(
            "This request alone asks for more than limit '{}' ever allows: {} {measure} per {} s. Make the prompt \
             shorter, or ask for less output.",
            reached.limit,
            reached.amount,
            reached.window.as_secs(),
        );
    }
    format!(
        "Limit '{}' reached: {} {measure} per {} s; {} used, {} reserved by requests in progress.",
        reached.limit,
        reached.amount,
        reached.window.as_secs(),
        reached.used,
        reached.reserved,
    )
}
