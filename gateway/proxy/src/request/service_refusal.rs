//! What somebody is told whom a service is not served: a page, problem details, or a status of gRPC.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use model::cookie::Cookie;
use model::decision::{Denial, Unmet};
use model::service::ServiceName;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::Gate;
use super::service::hash;
use crate::audit::{CalledService, Trail};
use crate::refusal::{self, Refusal};
use crate::sign_in_first::{self, Form, Problem, Said, problem, sign_in_and_back, trailers_only};
use crate::site::Told;
use crate::whom::Whom;

/// Longer than a sign-in may take.
const ARRIVAL_S: u64 = 3_600;

impl Gate {
    pub(super) fn refuse_at_service(
        &self,
        called: &CalledService,
        trail: &Trail,
        refusal: &Refusal,
        recorded: bool,
    ) -> Response<Bytes> {
        let form = called.asker.form(&trail.method);
        let refusal = &self.as_a_stranger_is_told(trail, refusal);
        let step_up = step_up(refusal);
        let signs_in = needs_a_sign_in(refusal) || (step_up.is_some() && form == Form::Redirect);
        if !signs_in {
            return self.refused_in(form, called, trail, refusal, recorded);
        }
        let (arrival, fresh) = match (&called.arrival, fresh_arrival()) {
            (Some(hash), _) => (hash.clone(), None),
            (None, Ok(value)) => (hash(&value), Some(value)),
            (None, Err(())) => return self.refused_in(form, called, trail, &Refusal::Internal, recorded),
        };
        let back = trail.target.as_ref().map(|target| {
            let back = sign_in_and_back(&self.services.gateway, &called.host, target, &arrival);
            format!("{back}{}", step_up.unwrap_or_default())
        });
        let sign_in = format!("{}/signin", self.services.gateway);
        let why = refusal.in_words_of(Whom::Service);
        let mut response = sign_in_first::answer(
            form,
            &Said {
                why: &why,
                sign_in: &sign_in,
                sign_in_and_back: back.as_deref().unwrap_or(&sign_in),
                id: trail.id.as_str(),
            },
        );
        if let (StatusCode::SEE_OTHER, Some(value)) = (response.status(), fresh) {
            let line = Cookie::Arrival.set(&value, ARRIVAL_S, self.services.is_secure());
            if let Ok(line) = HeaderValue::from_str(&line) {
                response.headers_mut().append(header::SET_COOKIE, line);
            }
        }
        response
    }

    /// Whose cookie counts no longer reads why, and not that none was sent.
    fn as_a_stranger_is_told(&self, trail: &Trail, refusal: &Refusal) -> Refusal {
        match (refusal, &trail.presented) {
            (Refusal::NoCredential, Some(("cookie", _))) => {
                Refusal::SignInEnded("the sign-in of this browser has ended".to_owned())
            }
            _ => refusal.clone(),
        }
    }

    fn refused_in(
        &self,
        form: Form,
        called: &CalledService,
        trail: &Trail,
        refusal: &Refusal,
        recorded: bool,
    ) -> Response<Bytes> {
        let why = in_words(refusal);
        let user = trail.identity.as_deref().filter(|_| !called.is_public);
        let told = Told {
            status: refusal.status(),
            why: &why,
            remedy: refusal::remedy_at_service(refusal),
            service: called.name.as_ref().filter(|_| user.is_some()).map(ServiceName::as_str),
            user: user.map(|user| user.subject().username()),
            id: recorded.then(|| trail.id.as_str()),
            sign_in: None,
        };
        let mut response = match form {
            Form::Redirect | Form::Words => self.host.refusal_page(&told),
            Form::Problem => problem(&Problem {
                r#type: REFUSED,
                title: "Refused by the gateway",
                status: told.status.as_u16(),
                detail: told
                    .remedy
                    .map_or_else(|| why.clone(), |remedy| format!("{why}: {remedy}")),
                sign_in: None,
                audit_id: told.id,
                code: Some(refusal.code()),
            }),
            Form::Grpc => trailers_only("application/grpc", grpc_status(refusal.status()), &why),
            Form::GrpcWeb => trailers_only("application/grpc-web+proto", grpc_status(refusal.status()), &why),
        };
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(id) = told.id.and_then(|id| HeaderValue::from_str(id).ok()) {
            headers.insert("audit-id", id);
        }
        response
    }
}

/// Names the kind of problem without leading anywhere (RFC 9457 §3.1.1, RFC 4151).
const REFUSED: &str = "tag:gatescribe.dev,2026:refused";

const fn needs_a_sign_in(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::NoCredential | Refusal::BadCredential(_) | Refusal::SignInEnded(_)
    )
}

/// What a sign-in has to be asked for beside the rest, where a fresh one is owed (OpenID Connect Core §3.1.2.1).
fn step_up(refusal: &Refusal) -> Option<String> {
    let Refusal::Denied(denied) = refusal else { return None };
    let Denial::Obligation(Unmet::StepUp { acr }) = &denied.denial else {
        return None;
    };
    let classes = acr.join(" ");
    let classes = utf8_percent_encode(&classes, NON_ALPHANUMERIC);
    Some(match acr.is_empty() {
        true => "&prompt=login".to_owned(),
        false => format!("&prompt=login&acr_values={classes}"),
    })
}

/// Why it could not be reached is for the operator to know.
fn in_words(refusal: &Refusal) -> String {
    match refusal {
        Refusal::UpstreamUnreachable(_) => "the service cannot be reached".to_owned(),
        Refusal::UpstreamLost(_) => "the service's answer was lost".to_owned(),
        Refusal::UpstreamSilent => "the service did not answer in time".to_owned(),
        other => other.in_words_of(Whom::Service),
    }
}

/// The status codes of gRPC ("Status codes and their use in gRPC").
const fn grpc_status(status: StatusCode) -> u16 {
    match status {
        StatusCode::BAD_REQUEST => 3,
        StatusCode::GATEWAY_TIMEOUT => 4,
        StatusCode::FORBIDDEN => 7,
        StatusCode::TOO_MANY_REQUESTS => 8,
        StatusCode::NOT_FOUND => 12,
        StatusCode::INTERNAL_SERVER_ERROR => 13,
        StatusCode::UNAUTHORIZED => 16,
        _ => 14,
    }
}

fn fresh_arrival() -> Result<String, ()> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| ())?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
