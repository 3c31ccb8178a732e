//! The difference between two texts, line by line, as `diff -u` shows it.

/// Unchanged lines that are shown around a change.
const CONTEXT: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Both,
    Old,
    New,
}

/// The lines that differ, with some context. Empty when the texts are equal.
pub(crate) fn difference(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.split('\n').collect(), new.split('\n').collect());
    let lines = align(&old, &new);
    let near_change = |index: usize| {
        let from = index.saturating_sub(CONTEXT);
        let to = (index + CONTEXT + 1).min(lines.len());
        lines[from..to].iter().any(|(side, _)| *side != Side::Both)
    };
    let mut text = String::new();
    let (mut old_line, mut new_line, mut shown) = (1, 1, false);
    for (index, (side, line)) in lines.iter().enumerate() {
        let show = near_change(index);
        if show && !shown {
            text.push_str(&format!("@@ -{old_line} +{new_line} @@\n"));
        }
        if show {
            let mark = match side {
                Side::Both => ' ',
                Side::Old => '-',
                Side::New => '+',
            };
            text.push_str(&format!("{mark}{line}\n"));
        }
        shown = show;
        old_line += usize::from(*side != Side::New);
        new_line += usize::from(*side != Side::Old);
    }
    text
}

/// Both texts as one list, each line with the side that has it: a longest common subsequence between the common
/// start and the common end.
fn align<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(Side, &'a str)> {
    let start = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let end = old[start..].iter().rev().zip(new[start..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (old_middle, new_middle) = (&old[start..old.len() - end], &new[start..new.len() - end]);

    // lengths[i][j] is the length of the longest common subsequence of the rests from i and from j.
    let mut lengths = vec![vec![0_usize; new_middle.len() + 1]; old_middle.len() + 1];
    for i in (0..old_middle.len()).rev() {
        for j in (0..new_middle.len()).rev() {
            lengths[i][j] = if old_middle[i] == new_middle[j] {
                lengths[i + 1][j + 1] + 1
            } else {
                lengths[i + 1][j].max(lengths[i][j + 1])
            };
        }
    }

    let mut lines: Vec<_> = old[..start].iter().map(|line| (Side::Both, *line)).collect();
    let (mut i, mut j) = (0, 0);
    while i < old_middle.len() || j < new_middle.len() {
        if i < old_middle.len() && j < new_middle.len() && old_middle[i] == new_middle[j] {
            lines.push((Side::Both, old_middle[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new_middle.len() || (i < old_middle.len() && lengths[i + 1][j] >= lengths[i][j + 1]) {
            lines.push((Side::Old, old_middle[i]));
            i += 1;
        } else {
            lines.push((Side::New, new_middle[j]));
            j += 1;
        }
    }
    lines.extend(old[old.len() - end..].iter().map(|line| (Side::Both, *line)));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_do_not_differ() {
        assert_eq!(difference("a\nb\n", "a\nb\n"), "");
    }

    #[test]
    fn a_changed_line_is_shown_with_its_neighbours() {
        assert_eq!(
            difference("a\nb\nc\nd\ne\nf\ng\n", "a\nb\nc\nD\ne\nf\ng\n"),
            "@@ -2 +2 @@\n b\n c\n-d\n+D\n e\n f\n"
        );
    }

    #[test]
    fn changes_far_apart_are_shown_apart() {
        let old = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n";
        let new = "a\nc\nd\ne\nf\ng\nh\ni and a half\ni\nj\n";
        assert_eq!(
            difference(old, new),
            "@@ -1 +1 @@\n a\n-b\n c\n d\n@@ -7 +6 @@\n g\n h\n+i and a half\n i\n j\n"
        );
    }
}
