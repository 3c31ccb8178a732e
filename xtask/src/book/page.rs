//! One Markdown page as the checks see it. `pulldown-cmark` parses it, the parser of mdBook itself, so that what is a link
//! or a heading here is one in the book.

use pulldown_cmark::{CodeBlockKind, Event, LinkType, Options, Parser, Tag, TagEnd};

/// Something on a page, with its line from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct At<T> {
    /// The line.
    pub(crate) line: usize,
    /// What stands there.
    pub(crate) what: T,
}

/// A fenced block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fence {
    /// `yaml`, `console`.
    pub(crate) language: String,
    /// The other words of the info string, which say what tests do with the block.
    pub(crate) marks: Vec<String>,
    /// What it holds.
    pub(crate) text: String,
}

/// What a page holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Page {
    /// The anchors of its headings and of its `<a id>`s.
    pub(crate) anchors: Vec<String>,
    /// Where links and pictures lead.
    pub(crate) links: Vec<At<String>>,
    /// Code inside of text.
    pub(crate) codes: Vec<At<String>>,
    /// Fenced blocks.
    pub(crate) fences: Vec<At<Fence>>,
    /// Text that is no code.
    pub(crate) words: Vec<At<String>>,
}

impl Page {
    /// Parses a page.
    pub(crate) fn parse(text: &str) -> Self {
        let mut page = Page::default();
        let options = Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES | Options::ENABLE_STRIKETHROUGH;
        let (mut heading, mut fence): (Option<String>, Option<At<Fence>>) = (None, None);
        for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
            let line = text[..range.start].matches('\n').count() + 1;
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let title = heading.take().unwrap_or_default();
                    let anchor = unique(&page.anchors, anchor(&title));
                    page.anchors.push(anchor);
                }
                Event::Start(Tag::Link { dest_url, link_type, .. }) if link_type != LinkType::Email => {
                    page.links.push(At { line, what: dest_url.into_string() });
                }
                Event::Start(Tag::Image { dest_url, .. }) => {
                    page.links.push(At { line, what: dest_url.into_string() });
                }
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                    let mut words = info.split([' ', ',']).map(str::to_owned);
                    let language = words.next().unwrap_or_default();
                    let what = Fence { language, marks: words.collect(), text: String::new() };
                    fence = Some(At { line, what });
                }
                Event::End(TagEnd::CodeBlock) => page.fences.extend(fence.take()),
                Event::Code(code) => {
                    if let Some(title) = &mut heading {
                        title.push_str(&code);
                    }
                    page.codes.push(At { line, what: code.into_string() });
                }
                Event::Text(words) => match (&mut fence, &mut heading) {
                    (Some(fence), _) => fence.what.text.push_str(&words),
                    (None, heading) => {
                        if let Some(title) = heading {
                            title.push_str(&words);
                        }
                        page.words.push(At { line, what: words.into_string() });
                    }
                },
                Event::Html(html) | Event::InlineHtml(html) => {
                    let id = html.split_once("id=\"").and_then(|(_, rest)| rest.split_once('"'));
                    page.anchors.extend(id.map(|(id, _)| id.to_owned()));
                }
                _ => {}
            }
        }
        page
    }
}

/// The anchor of a heading, as both mdBook and GitHub make it.
fn anchor(title: &str) -> String {
    title
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            c if c.is_whitespace() => Some('-'),
            _ => None,
        })
        .collect()
}

fn unique(known: &[String], anchor: String) -> String {
    let taken = |candidate: &String| known.contains(candidate);
    let numbered = (1..).map(|number| format!("{anchor}-{number}"));
    std::iter::once(anchor.clone()).chain(numbered).find(|candidate| !taken(candidate)).unwrap_or(anchor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_its_anchors_links_code_and_fences() {
        let page = Page::parse(
            "# A `b`: c\n\n## Same\n\n## Same\n\nsee [x](y.md#z) and `code`\n\n```console build\n$ make x\n```\n\n<a id=\"here\"></a>\n",
        );
        assert_eq!(page.anchors, ["a-b-c", "same", "same-1", "here"]);
        assert_eq!(page.links, [At { line: 7, what: "y.md#z".to_owned() }]);
        assert!(page.codes.contains(&At { line: 7, what: "code".to_owned() }));
        let marks = vec!["build".to_owned()];
        let fence = Fence { language: "console".to_owned(), marks, text: "$ make x\n".to_owned() };
        assert_eq!(page.fences, [At { line: 9, what: fence }]);
    }
}
