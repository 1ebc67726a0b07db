//! What all pages have in common.

/// A whole page; `title` is text, `body` is HTML.
pub fn page(title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem}}pre{{background:#8881;padding:1rem;overflow:auto}}</style>
<h1>{title}</h1>
{body}</html>
"#
    )
}

/// Text as HTML has it, also in an attribute.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_does_not_become_markup() {
        let nasty = r#"<script>"a" & 'b'</script>"#;
        let escaped = "&lt;script&gt;&quot;a&quot; &amp; 'b'&lt;/script&gt;";
        assert_eq!(escape(nasty), escaped);
        assert!(page(nasty, "<p>").contains(&format!("<h1>{escaped}</h1>\n<p></html>")));
    }
}
