//! The gateway's pages in a real browser: whatever the names on them, nothing is cut off at the side, on a desk and on a phone.

use anyhow::Context as _;
use console::{SignedIn, signed_in_page};
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
