//! By a code that the person types in a browser elsewhere (RFC 8628).

use std::time::Duration;

use model::time::Timestamp;

use super::{Keep, SignIn, Wish};
use crate::Exit;
use crate::client::gateway::{DeviceCode, DevicePoll, Given, TokenError, ask_for_device, poll_device};
use crate::client::http::{Client, now};
use crate::client::trouble::Trouble;
use crate::terminal::say;

/// RFC 8628 §3.5: `slow_down` without a number means five seconds more.
const SLOWER: Duration = Duration::from_secs(5);
/// Nobody is asked more often than this, whatever the server says.
const FASTEST: Duration = Duration::from_secs(1);

pub(super) async fn sign_in(client: &Client, to: &SignIn<'_>, keep: Keep<'_>) -> Result<Given, Trouble> {
    let code = ask_for_device(client, to.endpoints, &machine_name()).await?;
    show(&code, to.wish);
    let mut rhythm = Rhythm::new(&code, now());
    loop {
        let wait = rhythm.next(now()).ok_or_else(too_late)?;
        tokio::time::sleep(wait).await;
        match poll_device(client, to.endpoints, &code.device_code, to.wish.audience).await {
            Ok(DevicePoll::Given(given)) => {
                keep(&given)?;
                return Ok(*given);
            }
            Ok(DevicePoll::Pending) => {}
            Ok(DevicePoll::SlowDown(interval)) => rhythm.slow_down(interval),
            Ok(DevicePoll::Denied) => return Err(denied()),
            Ok(DevicePoll::Expired) => return Err(too_late()),
            // RFC 8628 §3.5: after a timeout, less often; the person may be typing the code right now.
            Err(TokenError::Http(_) | TokenError::NotNow(_)) => rhythm.slow_down(None),
            Err(error) => return Err(error.into()),
        }
    }
}

fn show(code: &DeviceCode, wish: Wish<'_>) {
    let provider = wish
        .provider
        .map(|name| format!("  and choose `{name}`"))
        .unwrap_or_default();
    say(&format!(
        "Sign in with a browser on any machine:\n\n  open  {}{provider}\n  code  {}\n",
        with_wish(&code.uri, wish),
        code.user_code
    ));
    if let Some(complete) = &code.complete_uri {
        let complete = with_wish(complete, wish);
        say(&format!("or open the address with the code in it:\n\n  {complete}\n"));
    }
    say(&format!(
        "The code is good for {} minutes. Waiting …",
        code.lifetime.as_secs() / 60
    ));
}

/// The page passes on how the person is to prove who they are.
fn with_wish(uri: &str, wish: Wish<'_>) -> String {
    match wish.fresh {
        None => uri.to_owned(),
        Some(fresh) => {
            let mark = if uri.contains('?') { '&' } else { '?' };
            format!("{uri}{mark}{}", fresh.parameters())
        }
    }
}

/// When to ask next.
#[derive(Debug)]
struct Rhythm {
    interval: Duration,
    end: Timestamp,
}

impl Rhythm {
    fn new(code: &DeviceCode, now: Timestamp) -> Self {
        Self {
            interval: code.interval.max(FASTEST),
            end: now.plus(code.lifetime),
        }
    }

    /// How long to wait; `None` when the code will have expired.
    fn next(&self, now: Timestamp) -> Option<Duration> {
        (now.plus(self.interval) < self.end).then_some(self.interval)
    }

    fn slow_down(&mut self, said: Option<Duration>) {
        self.interval = said.unwrap_or(Duration::ZERO).max(self.interval + SLOWER);
    }
}

/// What the person reads on the page that asks whether this device may.
fn machine_name() -> String {
    #[cfg(unix)]
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    #[cfg(not(unix))]
    let name = std::env::var("COMPUTERNAME").ok();
    name.filter(|name| !name.is_empty())
        .unwrap_or_else(|| "a terminal".to_owned())
}

fn denied() -> Trouble {
    Trouble::new(Exit::SignIn, "you are not signed in")
        .because("the question in the browser was answered with no")
        .remedy("run the command again, and say yes if it was you")
}

fn too_late() -> Trouble {
    Trouble::new(Exit::SignIn, "the sign-in was not finished")
        .because("the code expired before it was used")
        .remedy("run the command again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::store::Secret;

    fn rhythm(interval: u64) -> Rhythm {
        let code = DeviceCode {
            device_code: Secret::new("d"),
            user_code: "AAAA-BBBB".to_owned(),
            uri: "https://gate.example/device".to_owned(),
            complete_uri: None,
            lifetime: Duration::from_secs(60),
            interval: Duration::from_secs(interval),
        };
        Rhythm::new(&code, Timestamp::EPOCH)
    }

    #[test]
    fn the_interval_is_kept_and_slow_down_makes_it_longer() {
        let mut rhythm = rhythm(5);
        assert_eq!(rhythm.next(Timestamp::EPOCH), Some(Duration::from_secs(5)));
        rhythm.slow_down(None);
        assert_eq!(rhythm.next(Timestamp::EPOCH), Some(Duration::from_secs(10)));
        rhythm.slow_down(Some(Duration::from_secs(30)));
        assert_eq!(rhythm.next(Timestamp::EPOCH), Some(Duration::from_secs(30)));
        // A server that says "slow down" never makes us faster.
        rhythm.slow_down(Some(Duration::from_secs(1)));
        assert_eq!(rhythm.next(Timestamp::EPOCH), Some(Duration::from_secs(35)));
    }

    #[test]
    fn nobody_is_asked_after_the_end_and_never_without_a_pause() {
        assert_eq!(rhythm(5).next(Timestamp::from_unix_seconds(56)), None);
        assert_eq!(rhythm(0).next(Timestamp::EPOCH), Some(Duration::from_secs(1)));
    }
}
