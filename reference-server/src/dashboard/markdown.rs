//! Markdown of agents and people, as HTML that can do nothing: no script, no style, no picture from
//! elsewhere, no form, and no attribute that a script of ours would act on.

use std::{collections::HashSet, sync::LazyLock};

use ammonia::Builder;
use pulldown_cmark::{Event, Options, Parser, html};

/// Renders `text`. Raw HTML in it is shown as text.
///
/// Takes time in proportion to the text: what is nested without end, or a table of ever so many cells, is
/// shown as it was written.
pub(super) fn render(text: &str) -> String {
    let shape = Shape::of(text);
    if shape.depth > MAX_DEPTH {
        return format!("<pre>{}</pre>", ammonia::clean_text(text));
    }
    let mut options = Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    if shape.cells <= MAX_CELLS {
        options |= Options::ENABLE_TABLES;
    }
    let events = Parser::new_ext(text, options).map(|event| match event {
        Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
        // People press Enter where they want a new line.
        Event::SoftBreak => Event::HardBreak,
        event => event,
    });
    let mut unsafe_html = String::with_capacity(text.len() * 3 / 2);
    html::push_html(&mut unsafe_html, events);
    // Again, by a list of what is harmless: the parser is not the one who keeps the promise.
    CLEANER.clean(&unsafe_html).to_string()
}

/// How far a text can grow when it is rendered.
struct Shape {
    /// How deep lists and quotations may be nested.
    depth: usize,
    /// How many cells tables may have.
    cells: usize,
}

impl Shape {
    fn of(text: &str) -> Self {
        let (mut depth, mut columns, mut rows) = (0, 0, 0);
        for line in text.lines() {
            // Quotations and lists begin with these; each may stand in the one before it.
            let marks = line
                .bytes()
                .take_while(|byte| b" \t>-+*.)0123456789".contains(byte));
            let (mut marked, mut indent) = (0, 0);
            for byte in marks {
                match byte {
                    b' ' | b'\t' => indent += 1,
                    _ => marked += 1,
                }
            }
            depth = depth.max(marked + indent / 2);
            let bars = line.bytes().filter(|byte| *byte == b'|').count();
            columns = columns.max(bars + 1);
            rows += 1;
        }
        Self {
            depth,
            cells: columns * rows,
        }
    }
}

/// Deeper than anybody reads; a line of as many dashes is still a line.
const MAX_DEPTH: usize = 200;
const MAX_CELLS: usize = 20_000;

static CLEANER: LazyLock<Builder<'static>> = LazyLock::new(|| {
    let mut builder = Builder::empty();
    builder
        .tags(HashSet::from([
            "a",
            "blockquote",
            "br",
            "code",
            "del",
            "em",
            "h1",
            "h2",
            "h3",
            "h4",
            "h5",
            "h6",
            "hr",
            "li",
            "ol",
            "p",
            "pre",
            "strong",
            "table",
            "tbody",
            "td",
            "th",
            "thead",
            "tr",
            "ul",
        ]))
        // No `title` either: what it says would be in nobody's sight.
        .generic_attributes(HashSet::new())
        .tag_attributes(
            [
                ("a", HashSet::from(["href"])),
                ("ol", HashSet::from(["start"])),
            ]
            .into(),
        )
        .url_schemes(HashSet::from(["http", "https", "mailto"]))
        // What is relative would lead to our own pages, in somebody else's words.
        .url_relative(ammonia::UrlRelative::Deny)
        .link_rel(Some("noopener noreferrer nofollow"));
    builder
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_what_people_write() {
        let html =
            render("# Plan\n\n- **a**\n- `b`\n\nsee https://e.com [there](https://e.com/x)\nnext");
        for expected in [
            "<h1>Plan</h1>",
            "<strong>a</strong>",
            "<code>b</code>",
            "<a href=\"https://e.com/x\" rel=\"noopener noreferrer nofollow\">there</a>",
            "<br>",
        ] {
            assert!(html.contains(expected), "{expected}: {html}");
        }
    }

    /// Bounds are counted in what is written, and not in time.
    #[test]
    fn what_is_nested_without_end_stays_as_it_was_written() {
        for text in [
            ">".repeat(60_000),
            "- ".repeat(30_000),
            "> - ".repeat(15_000),
            "1. ".repeat(20_000),
            format!("{}x", " ".repeat(60_000)),
        ] {
            let html = render(&text);
            assert!(html.starts_with("<pre>"), "{}", &html[..40]);
            assert!(html.len() < 6 * text.len());
        }
        assert!(render(&"-".repeat(80)).contains("<hr>"));
    }

    #[test]
    fn a_table_does_not_grow_without_end() {
        // Short rows are filled up to the width of the head.
        let head = format!("{}|\n{}|\n", "|a".repeat(500), "|-".repeat(500));
        let text = format!("{head}{}", "|x|\n".repeat(60));
        let html = render(&text);
        assert!(html.len() < 6 * text.len(), "{}", html.len());
        assert!(render("|a|b|\n|-|-|\n|1|2|\n").contains("<td>1</td>"));
    }

    #[test]
    fn nothing_of_it_runs_loads_or_submits() {
        for text in [
            "<script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "![x](https://evil.example/p.png)",
            "[x](javascript:alert(1))",
            "[x](JaVaScRiPt:alert(1))",
            "[x](data:text/html,x)",
            "[x](/logout)",
            "[x](//evil.example)",
            "<a href=\"javascript:alert(1)\">x</a>",
            "<div hx-get=\"/logout\" hx-trigger=\"load\">x</div>",
            "<form action=/logout method=post><button>x</button></form>",
            "<style>*{display:none}</style>",
            "<iframe src=https://evil.example></iframe>",
            "<svg onload=alert(1)>",
            "`<script>`",
            "<a\nhref=\"https://e.com\" onclick=\"x()\" style=\"position:fixed\" class=\"button\" id=\"main\">x</a>",
            "[x](https://e.com \"onmouseover=alert(1)\")",
        ] {
            let html = render(text);
            for tag in html.split('<').skip(1) {
                let tag = tag.split_once('>').expect("every tag is closed").0;
                assert!(is_harmless(tag), "{text} -> {html}");
            }
        }
    }

    fn is_harmless(tag: &str) -> bool {
        match tag.split_once(' ') {
            None => {
                tag.trim_start_matches('/')
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
                    && !["script", "style", "svg", "form", "img", "div"].contains(&tag)
            }
            Some((name, rest)) => {
                name == "a"
                    && [
                        "rel=\"noopener noreferrer nofollow\"",
                        "href=\"https://e.com\" rel=\"noopener noreferrer nofollow\"",
                    ]
                    .contains(&rest)
            }
        }
    }
}
