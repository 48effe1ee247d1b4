//! Tables that fit the terminal: the widest columns give way, long texts lose their middle, nothing wraps.

use super::trouble::clean;

/// Between two columns.
const GAP: usize = 2;
/// No column gets narrower than this.
const NARROWEST: usize = 8;

/// Heads and rows as text. `width` is what fits; `None` means that nobody looks at it, and nothing is cut.
pub(crate) fn table(heads: &[&str], rows: &[Vec<String>], width: Option<usize>) -> String {
    let head: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| clean(cell)).collect())
        .collect();
    let widths = widths(&head, &rows, width);
    let mut text = String::new();
    for row in std::iter::once(&head).chain(&rows) {
        let mut line = String::new();
        for (place, cell) in row.iter().enumerate() {
            let fits = widths.get(place).copied().unwrap_or(NARROWEST);
            let cell = shortened(cell, fits);
            let pad = if place + 1 == row.len() {
                0
            } else {
                fits + GAP - columns(&cell)
            };
            line.push_str(&cell);
            line.push_str(&" ".repeat(pad));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Pairs of a name and a value, the values in one column.
pub(crate) fn facts(facts: &[(&str, String)]) -> String {
    let widest = facts.iter().map(|(name, _)| columns(name)).max().unwrap_or(0);
    facts.iter().fold(String::new(), |mut text, (name, value)| {
        let pad = " ".repeat(widest + GAP - columns(name));
        text.push_str(&format!("{name}{pad}{}\n", clean(value)));
        text
    })
}

fn widths(head: &[String], rows: &[Vec<String>], width: Option<usize>) -> Vec<usize> {
    let widest = |place: usize| {
        let cells = rows.iter().filter_map(|row| row.get(place));
        cells
            .chain(head.get(place))
            .map(|cell| columns(cell))
            .max()
            .unwrap_or(0)
    };
    let mut widths: Vec<usize> = (0..head.len()).map(widest).collect();
    let Some(width) = width else { return widths };
    let room = width.saturating_sub(GAP * head.len().saturating_sub(1));
    while widths.iter().sum::<usize>() > room {
        let Some(widest) = widths.iter_mut().max().filter(|widest| **widest > NARROWEST) else {
            break;
        };
        *widest -= 1;
    }
    widths
}

/// Without its middle: names differ at both ends.
fn shortened(text: &str, fits: usize) -> String {
    let length = columns(text);
    if length <= fits {
        return text.to_owned();
    }
    let keep = fits.saturating_sub(1);
    let (front, back) = (keep.div_ceil(2), keep / 2);
    let front: String = text.chars().take(front).collect();
    let back: String = text.chars().skip(length - back).collect();
    format!("{front}…{back}")
}

/// One column each; wide characters of East Asian scripts are rare in names of objects and only misalign.
fn columns(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(cells: &[[&str; 2]]) -> Vec<Vec<String>> {
        cells.iter().map(|row| row.map(str::to_owned).to_vec()).collect()
    }

    #[test]
    fn a_table_fits_and_long_names_lose_their_middle() {
        let rows = rows(&[
            ["alice", "a-very-long-name-of-an-object-in-some-namespace-0001"],
            ["b", "x"],
        ]);
        let text = table(&["WHO", "WHAT"], &rows, Some(30));
        assert_eq!(text, "WHO    WHAT\nalice  a-very-long…espace-0001\nb      x\n");
        assert!(text.lines().all(|line| line.chars().count() <= 30), "{text}");
    }

    #[test]
    fn nothing_is_cut_where_nobody_looks() {
        let long = "n".repeat(300);
        let text = table(&["A", "B"], &[vec!["x".to_owned(), long.clone()]], None);
        assert!(text.contains(&long));
    }

    #[test]
    fn a_record_cannot_move_the_cursor() {
        let text = table(&["A"], &[vec!["x\u{1b}[1A\ny".to_owned()]], Some(80));
        assert_eq!(text, "A\nx\u{fffd}[1A\u{fffd}y\n");
    }
}
