//! The book: every relative link of the Markdown pages leads somewhere, anchors included; rustdoc has no warning; examples
//! in documentation work. Links to other hosts are not asked.

use super::count::Count;
use super::left_out::LeftOut;
use super::stages;
use crate::command::{cargo, root, succeeds, tell};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

pub(super) fn check(left_out: &LeftOut) -> anyhow::Result<Count> {
    let mut total = links()?;
    let mut rustdoc = cargo(&["doc", "--workspace", "--no-deps", "--quiet"]);
    rustdoc.env("RUSTDOCFLAGS", "-D warnings");
    total += Count::one(succeeds(&mut rustdoc)?);
    let mut examples = cargo(&["test", "--workspace", "--doc", "--no-fail-fast"]);
    total += stages::tests(&mut examples, left_out)?;
    Ok(total)
}

/// One check per page.
fn links() -> anyhow::Result<Count> {
    let mut pages = Vec::new();
    collect(&root(), false, &mut pages)?;
    for folder in ["docs", "deploy"] {
        collect(&root().join(folder), true, &mut pages)?;
    }
    let texts: HashMap<PathBuf, String> = pages
        .iter()
        .map(|page| Ok((page.clone(), std::fs::read_to_string(page)?)))
        .collect::<anyhow::Result<_>>()?;
    let mut total = Count::default();
    for page in &pages {
        let broken = broken_links(page, &texts);
        for (line, target) in &broken {
            let shown = page.strip_prefix(root()).unwrap_or(page).display();
            tell(&format!("{shown}:{line}: `{target}` leads nowhere"));
        }
        total += Count::one(broken.is_empty());
    }
    Ok(total)
}

fn collect(folder: &Path, deep: bool, pages: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && deep {
            collect(&path, deep, pages)?;
        } else if path.extension().is_some_and(|end| end == "md") {
            pages.push(path);
        }
    }
    pages.sort();
    Ok(())
}

fn broken_links(page: &Path, texts: &HashMap<PathBuf, String>) -> Vec<(usize, String)> {
    let text = texts.get(page).map(String::as_str).unwrap_or_default();
    let mut broken = Vec::new();
    for (line, target) in targets(text) {
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let (path, anchor) = target
            .split_once('#')
            .map_or((target, None), |(path, anchor)| (path, Some(anchor)));
        let file = if path.is_empty() {
            page.to_path_buf()
        } else {
            resolve(page, path)
        };
        let leads = file.exists()
            && anchor.is_none_or(|anchor| {
                texts
                    .get(&file)
                    .is_none_or(|text| headings(text).iter().any(|heading| heading == anchor))
            });
        if !leads {
            broken.push((line, target.to_owned()));
        }
    }
    broken
}

/// The file that a relative link names, with `..` taken away so that it can be compared.
fn resolve(page: &Path, link: &str) -> PathBuf {
    let mut file = if link.starts_with('/') {
        root()
    } else {
        page.parent().unwrap_or(page).to_path_buf()
    };
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(file.pop()),
            name => file.push(name),
        }
    }
    file
}

/// Lines outside fenced code, numbered from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        (!fenced && !fence).then_some((index + 1, line))
    })
}

/// The targets of `[text](target)` and `[name]: target`, with their lines.
fn targets(text: &str) -> Vec<(usize, &str)> {
    let mut all = Vec::new();
    for (number, line) in prose(text) {
        for (index, part) in line.split("](").enumerate() {
            // A title may follow the target.
            let target = part.split([')', ' ']).next().unwrap_or_default();
            if index > 0 && !target.is_empty() {
                all.push((number, target));
            }
        }
        let definition = line.strip_prefix('[').and_then(|rest| rest.split_once("]: "));
        if let Some((_, target)) = definition {
            all.push((number, target.split(' ').next().unwrap_or(target)));
        }
    }
    all
}

/// The anchors that the usual renderers make of headings.
fn headings(text: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for (_, line) in prose(text).filter(|(_, line)| line.starts_with('#')) {
        let title = line.trim_start_matches('#').trim();
        let slug: String = title
            .chars()
            .filter_map(|c| match c {
                ' ' | '-' => Some('-'),
                '_' => Some('_'),
                c if c.is_alphanumeric() => Some(c.to_ascii_lowercase()),
                _ => None,
            })
            .collect();
        let again = all
            .iter()
            .filter(|have| **have == slug || have.starts_with(&format!("{slug}-")))
            .count();
        all.push(if again == 0 || !all.contains(&slug) {
            slug
        } else {
            format!("{slug}-{again}")
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str =
        "# The start\n[a](b.md#c) and [d](<e>)\n```\n[not](this)\n```\n[f]: g.md title\n## The `start`\n## 1. One door";

    #[test]
    fn links_are_found_outside_code_only() {
        assert_eq!(targets(PAGE), [(2, "b.md#c"), (2, "<e>"), (6, "g.md")]);
    }

    #[test]
    fn headings_become_anchors_and_repeated_ones_are_numbered() {
        assert_eq!(headings(PAGE), ["the-start", "the-start-1", "1-one-door"]);
    }

    #[test]
    fn a_link_to_a_missing_heading_leads_nowhere() {
        let page = root().join("README-of-a-test.md");
        let texts = HashMap::from([(page.clone(), "# Here\n[x](Cargo.toml) [y](nothing.md)".to_owned())]);
        assert_eq!(broken_links(&page, &texts), [(2, "nothing.md".to_owned())]);
    }
}
