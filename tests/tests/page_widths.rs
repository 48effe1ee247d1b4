//! The gateway's pages in a real browser: whatever the names on them, nothing is cut off at the side, on a desk and on a phone.

use anyhow::Context as _;
use console::{ServiceRefusal, SignedIn, service_refusal_page, signed_in_page};
use http::StatusCode;
use serde_json::{Value, json};
use tests::chromium::look;

#[test]
fn a_page_with_names_longer_than_it_is_wide_is_not_wider_for_them() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let user = format!("alice.{}@example.com", "longname".repeat(30));
    let clusters = [format!("cluster-{}", "x".repeat(240)), "short".to_owned()];
    let (long, _) = signed_in_page(&SignedIn {
        username: &user,
        groups: 12,
        clusters: &clusters,
        ends: "2026-11-21 18:00 UTC".to_owned(),
    });
    let (short, _) = signed_in_page(&SignedIn {
        username: "bob",
        groups: 0,
        clusters: &[],
        ends: "2026-11-21 18:00 UTC".to_owned(),
    });
    // A button and words of the gateway's own, as other pages have them.
    let button = format!("<a class=\"button\" href=\"#\">{user}</a><p>Run <code>{user}</code></p></main>");
    let long = long.replace("</main>", &button);
    let mut pages = Vec::new();
    let pictures = std::env::var("PAGE_PICTURES").ok();
    for (name, text) in [("long", &long), ("short", &short)] {
        let file = folder.path().join(format!("{name}.html"));
        std::fs::write(&file, text)?;
        for width in [1280, 360, 320] {
            let picture = pictures.as_ref().map(|folder| format!("{folder}/{name}-{width}.png"));
            pages.push(
                json!({"url": format!("file://{}", file.display()), "width": width, "inert": true, "picture": picture}),
            );
        }
    }
    let seen = look(&pages)?;
    for (page, asked) in seen.iter().zip(&pages) {
        let wide = page["wide"].as_i64().context("its width")?;
        assert!(wide <= 0, "{} pixels stand outside of {asked}", wide);
        assert_eq!(
            (&page["elsewhere"], &page["complaints"]),
            (&json!([]), &json!([])),
            "{page:#}"
        );
    }
    let text: Vec<&str> = seen.iter().filter_map(|page| page["text"].as_str()).collect();
    assert!(
        text.len() == pages.len() && text[0].contains(&user),
        "the whole name can be read: {text:?}"
    );
    assert_eq!(
        seen[0]["title"],
        Value::from(format!("Signed in as {user} · Gatescribe"))
    );
    Ok(())
}

/// Also what a service's caller may put into an address, and in the dark; pictures go where the others do.
#[test]
fn a_refusal_at_a_service_is_read_whole_on_a_desk_and_on_a_phone_and_runs_nothing() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let attack = "<script>owned=1</script><img src=x onerror=owned=1>";
    let path = format!("/d/{}{attack}", "deep-".repeat(60));
    let why = format!("no rule lets you GET `{path}` of this service");
    let told = ServiceRefusal {
        status: StatusCode::FORBIDDEN,
        why: "no rule lets you `POST /api/annotations` of this service",
        remedy: Some("ask for the group `oidc:grafana-editors`; your administrator sees the decision by its number"),
        service: Some("grafana"),
        user: Some("alice@example.com"),
        id: Some("0190c3a0-7b1e-7c3e-9d52-0f3f3c6a1b2c"),
        sign_in: Some("https://gate.example.com/signin?return_host=grafana.example.com&return_to=%2F"),
    };
    let long = ServiceRefusal {
        why: &why,
        remedy: Some(attack),
        user: Some(&path),
        service: Some(attack),
        ..told
    };
    let down = ServiceRefusal {
        status: StatusCode::SERVICE_UNAVAILABLE,
        why: "the service does not answer",
        remedy: None,
        user: None,
        sign_in: None,
        ..told
    };
    let mut pages = Vec::new();
    let pictures = std::env::var("PAGE_PICTURES").ok();
    for (name, told) in [("refused", &told), ("refused-long", &long), ("down", &down)] {
        let file = folder.path().join(format!("{name}.html"));
        std::fs::write(&file, service_refusal_page(told, true).body())?;
        for (width, dark) in [(1280, false), (1280, true), (360, false), (360, true), (320, false)] {
            let shade = if dark { "dark" } else { "light" };
            let picture = pictures
                .as_ref()
                .map(|folder| format!("{folder}/{name}-{width}-{shade}.png"));
            let url = format!("file://{}", file.display());
            pages.push(json!({"url": url, "width": width, "dark": dark, "inert": true, "picture": picture}));
        }
    }
    for (page, asked) in look(&pages)?.iter().zip(&pages) {
        assert!(page["wide"].as_i64().context("its width")? <= 0, "{asked} is too wide");
        assert_eq!(
            (&page["owned"], &page["elsewhere"], &page["complaints"]),
            (&json!(false), &json!([]), &json!([])),
            "{page:#}"
        );
        assert_eq!(
            page["accessible"]["headings"].as_array().map(Vec::len),
            Some(1),
            "{page:#}"
        );
        let is_known = |element: &Value| {
            let known = ["main", "header", "h1", "p", "code", "dl", "dt", "dd", "a"];
            known.iter().any(|name| element == name)
        };
        let elements = page["elements"].as_array().context("its elements")?;
        assert!(elements.iter().all(is_known), "{elements:?}");
    }
    Ok(())
}
