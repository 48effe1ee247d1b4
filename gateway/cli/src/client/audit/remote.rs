//! Records from the gateway.

use serde_json::{Map, Value};

use super::SearchArguments;
use crate::client::GatewayArgument;
use crate::client::ask::query;
use crate::client::gateway::{API, escape, read_json, read_text};
use crate::client::home::Home;
use crate::client::session::{block_on, ready};
use crate::client::trouble::Trouble;

pub(super) fn find(arguments: &SearchArguments) -> Result<Map<String, Value>, Trouble> {
    let words = arguments.query.join(" ");
    let limit = arguments.limit.to_string();
    let pairs = [
        ("q", Some(words.as_str()).filter(|words| !words.is_empty())),
        ("since", arguments.since.as_deref()),
        ("until", arguments.until.as_deref()),
        ("limit", Some(limit.as_str())),
        ("all", arguments.all.then_some("true")),
    ];
    ask(&arguments.from.gateway, &format!("/audit/records{}", query(&pairs)))
}

pub(super) fn show(id: &str, gateway: &GatewayArgument) -> Result<Map<String, Value>, Trouble> {
    ask(gateway, &format!("/audit/records/{}", escape(id)))
}

pub(super) fn rights(gateway: &GatewayArgument) -> Result<Map<String, Value>, Trouble> {
    ask(gateway, "/audit/can")
}

pub(super) fn receipt(id: &str, of_end: bool, gateway: &GatewayArgument) -> Result<String, Trouble> {
    let of = if of_end { "?of=end" } else { "" };
    let path = format!("/audit/records/{}/receipt{of}", escape(id));
    let home = Home::find()?;
    block_on(async {
        let ready = ready(&home, gateway.url.as_deref(), API).await?;
        let url = format!("{}{path}", ready.kept.endpoints.api);
        read_text(&ready.client, &url, ready.token.reveal()).await
    })
}

fn ask(gateway: &GatewayArgument, path: &str) -> Result<Map<String, Value>, Trouble> {
    let home = Home::find()?;
    block_on(async {
        let ready = ready(&home, gateway.url.as_deref(), API).await?;
        read_json(
            &ready.client,
            &format!("{}{path}", ready.kept.endpoints.api),
            ready.token.reveal(),
        )
        .await
    })
}
