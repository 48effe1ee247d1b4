//! `gatescribe api`: one call to a cluster through the gateway, for machines without kubectl.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use clap::Args;
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::GatewayArgument;
use super::gateway::Cluster;
use super::home::Home;
use super::http::{Client, HttpError, Trust};
use super::session::{Ready, block_on, chosen, ready, sign_in_needed};
use super::store::Kept;
use super::trouble::Trouble;
use crate::Exit;
use crate::terminal::{Reader, hand, say};

/// What is sent.
#[derive(Args, Debug)]
pub(crate) struct ApiArguments {
    /// GET, POST, PUT, PATCH or DELETE.
    #[arg(value_parser = method)]
    method: Method,
    /// The path, with its query: /api/v1/namespaces
    #[arg(value_parser = path)]
    path: String,
    /// The body, or @FILE; @- reads standard input.
    #[arg(short, long)]
    data: Option<String>,
    /// The body's media type; a JSON merge patch for PATCH, else JSON.
    #[arg(long)]
    content_type: Option<String>,
    /// The cluster; needed where there are several.
    #[arg(long)]
    cluster: Option<String>,
    #[command(flatten)]
    gateway: GatewayArgument,
}

fn method(text: &str) -> Result<Method, String> {
    let known = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    let found = known
        .into_iter()
        .find(|method| method.as_str().eq_ignore_ascii_case(text));
    found.ok_or_else(|| "one of GET, POST, PUT, PATCH, DELETE".to_owned())
}

fn path(text: &str) -> Result<String, String> {
    let is_plain = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if is_plain {
        Ok(text.to_owned())
    } else {
        Err("a path begins with `/`; escape other characters with %".to_owned())
    }
}

pub(super) fn run(arguments: &ApiArguments) -> Result<Exit, Trouble> {
    let home = Home::find()?;
    let body = body(arguments.data.as_deref())?;
    let gateway = chosen(&home, arguments.gateway.url.as_deref())?;
    let kept = home
        .place(&gateway)
        .read()?
        .ok_or_else(|| sign_in_needed(&gateway, None))?;
    let cluster = pick(&kept, arguments.cluster.as_deref())?;
    block_on(async {
        let ready = ready(&home, Some(gateway.as_str()), &cluster.name).await?;
        let client = client_for(&ready, &cluster)?;
        let request = request(arguments, &cluster, &ready, body)?;
        let answer = client.open(request).await?;
        let status = answer.status();
        copy(answer.into_body(), &cluster.server).await?;
        Ok(judged(status))
    })
}

/// The one cluster, or the one that was named.
pub(super) fn pick(kept: &Kept, named: Option<&str>) -> Result<Cluster, Trouble> {
    let names = || {
        kept.clusters
            .iter()
            .map(|cluster| cluster.name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let found = match (named, kept.clusters.as_slice()) {
        (Some(named), all) => all.iter().find(|cluster| cluster.name == named),
        (None, [only]) => Some(only),
        (None, _) => {
            return Err(Trouble::new(Exit::Usage, "which cluster?")
                .because(format!("there are: {}", names()))
                .remedy("add --cluster NAME"));
        }
    };
    found.cloned().ok_or_else(|| {
        Trouble::new(
            Exit::NotFound,
            format!("there is no cluster `{}`", named.unwrap_or_default()),
        )
        .because(format!("there are: {}", names()))
        .remedy(format!("gatescribe login {} asks the gateway again", kept.gateway))
    })
}

pub(super) fn client_for(ready: &Ready, cluster: &Cluster) -> Result<Client, Trouble> {
    let trust = match &cluster.ca_data {
        Some(data) => {
            let pem = STANDARD
                .decode(data.trim())
                .ok()
                .and_then(|pem| String::from_utf8(pem).ok())
                .unwrap_or_default();
            Trust::by_pem(pem).map_err(HttpError::from)?
        }
        None => ready.kept.trust.clone(),
    };
    Ok(Client::new(&trust, cluster.server.starts_with("https:"))?)
}

fn request(
    arguments: &ApiArguments,
    cluster: &Cluster,
    ready: &Ready,
    body: Option<Bytes>,
) -> Result<Request<Bytes>, Trouble> {
    let url = format!("{}{}", cluster.server.trim_end_matches('/'), arguments.path);
    let mut request = Request::builder()
        .method(&arguments.method)
        .uri(&url)
        .header(header::AUTHORIZATION, format!("Bearer {}", ready.token.reveal()))
        .header(header::ACCEPT, "application/json, */*;q=0.5");
    if body.is_some() {
        let usual = match arguments.method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        request = request.header(header::CONTENT_TYPE, arguments.content_type.as_deref().unwrap_or(usual));
    }
    request
        .body(body.unwrap_or_default())
        .map_err(|_| HttpError::Address(url).into())
}

fn body(said: Option<&str>) -> Result<Option<Bytes>, Trouble> {
    let Some(said) = said else { return Ok(None) };
    let Some(file) = said.strip_prefix('@') else {
        return Ok(Some(Bytes::from(said.to_owned())));
    };
    let read = if file == "-" {
        let mut text = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut text).map(|_| text)
    } else {
        std::fs::read(PathBuf::from(file))
    };
    read.map(|text| Some(Bytes::from(text))).map_err(|error| {
        Trouble::new(Exit::Usage, format!("`{file}` cannot be read"))
            .because(error.to_string())
            .remedy("name a readable file behind @, or @- for standard input")
    })
}

/// As it comes: a watch or a log is followed.
async fn copy(mut body: Incoming, server: &str) -> Result<(), Trouble> {
    let mut out = std::io::stdout();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|cause| HttpError::Broken {
            host: server.to_owned(),
            cause,
        })?;
        if let Some(bytes) = frame.data_ref()
            && hand(&mut out, bytes)? == Reader::Gone
        {
            return Ok(());
        }
    }
    Ok(())
}

fn judged(status: StatusCode) -> Exit {
    if status.is_success() {
        return Exit::Done;
    }
    say(&format!(
        "✖ the answer was {} {}",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default()
    ));
    match status {
        StatusCode::UNAUTHORIZED => Exit::SignIn,
        StatusCode::FORBIDDEN => Exit::NotPermitted,
        StatusCode::NOT_FOUND | StatusCode::GONE => Exit::NotFound,
        StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => Exit::Conflict,
        StatusCode::GATEWAY_TIMEOUT | StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => Exit::Unreachable,
        status if status.is_server_error() => Exit::Fault,
        _ => Exit::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_has_its_exit_code() {
        for (status, exit) in [
            (200, Exit::Done),
            (201, Exit::Done),
            (401, Exit::SignIn),
            (403, Exit::NotPermitted),
            (404, Exit::NotFound),
            (409, Exit::Conflict),
            (422, Exit::No),
            (500, Exit::Fault),
            (502, Exit::Unreachable),
        ] {
            assert_eq!(judged(StatusCode::from_u16(status).unwrap()), exit, "{status}");
        }
    }

    #[test]
    fn a_path_cannot_carry_another_host_or_header() {
        assert!(path("/api/v1/pods?limit=1").is_ok());
        for wrong in ["api", "https://evil/", "/a b", "/a\r\nX: y", "/a#b", "/ä"] {
            assert!(path(wrong).is_err(), "{wrong}");
        }
    }
}
