//! What both configurations demand of URLs, certificates and keys of extras. Each check answers with what is wrong.

use http::Uri;

use crate::http_values::is_loopback;

/// An issuer's or discovery URL: https (http on loopback), no user, query or fragment, one tenant.
pub(crate) fn url(text: &str) -> Result<Uri, String> {
    if text.contains(['{', '}']) {
        return Err(
            "holds a placeholder; name one issuer for each tenant, so that tokens of other tenants are refused".into(),
        );
    }
    if text.contains('#') {
        return Err("must not have a fragment".into());
    }
    let uri: Uri = text.parse().map_err(|_| "is not a URL".to_owned())?;
    let authority = uri.authority().ok_or("is not a URL with a host")?;
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") if is_loopback(authority.host()) => {}
        _ => return Err("must begin with https:// (http:// is for loopback addresses only)".into()),
    }
    if authority.as_str().contains('@') {
        return Err("must not contain a user name or password".into());
    }
    if text.contains('?') {
        return Err("must not have a query".into());
    }
    if is_shared_tenant(authority.host(), uri.path()) {
        return Err("serves every tenant of Entra ID; use the URL with your tenant's id instead".into());
    }
    Ok(uri)
}

fn is_shared_tenant(host: &str, path: &str) -> bool {
    let tenant = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    host.starts_with("login.microsoftonline.") && matches!(tenant, "common" | "organizations" | "consumers")
}

/// The issuer's own document: its URL with the well-known path behind it, a final slash not doubled.
pub(crate) fn discovery(issuer: &str) -> Result<Uri, String> {
    let text = format!(
        "{}/.well-known/openid-configuration",
        issuer.strip_suffix('/').unwrap_or(issuer)
    );
    text.parse().map_err(|_| "is not a URL".to_owned())
}

/// PEM certificates.
pub(crate) fn certificates(pem: &str) -> Result<(), String> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let mut blocks = pem.split(BEGIN).skip(1).peekable();
    if blocks.peek().is_none() {
        return Err("holds no PEM certificate".into());
    }
    for block in blocks {
        let body = block
            .split_once(END)
            .map(|(body, _)| body)
            .ok_or("holds a PEM certificate without an end")?;
        let text: String = body.split_whitespace().collect();
        let der = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text);
        if !der.is_ok_and(|der| der.first() == Some(&0x30)) {
            return Err("holds a PEM certificate that cannot be decoded".into());
        }
    }
    Ok(())
}

/// A key of an extra: `domain/path` in lower case, outside Kubernetes' own domains.
pub(crate) fn extra_key(key: &str) -> Result<(), String> {
    let Some((domain, path)) = key.split_once('/') else {
        return Err("must be a path with a domain before it, such as `example.org/tenant`".into());
    };
    let is_label = |label: &str| {
        let inner = label
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        !label.is_empty() && label.len() <= 63 && inner && !label.starts_with('-') && !label.ends_with('-')
    };
    if key.chars().any(|c| c.is_uppercase()) {
        return Err("must be lower case".into());
    }
    if domain.len() > 253 || !domain.split('.').all(is_label) {
        return Err("must begin with a domain name".into());
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~%!$&'()*+,;=:@/".contains(c);
    if path.is_empty() || !path.chars().all(allowed) {
        return Err("must have a path of letters, digits and `-._~%!$&'()*+,;=:@/` behind the domain".into());
    }
    for reserved in ["kubernetes.io", "k8s.io"] {
        if domain == reserved || domain.strip_suffix(reserved).is_some_and(|rest| rest.ends_with('.')) {
            return Err("k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes".into());
        }
    }
    Ok(())
}

/// A prefix for names that must not reach into the cluster's own names.
pub(crate) fn prefix(prefix: &str) -> Result<(), String> {
    if prefix.to_ascii_lowercase().starts_with("system:") {
        return Err("must not begin with `system:`, which is reserved for the cluster itself".into());
    }
    if prefix.chars().any(crate::verify::is_deceptive) || prefix.starts_with(' ') {
        return Err("must not hold control, invisible or direction-changing characters".into());
    }
    Ok(())
}
