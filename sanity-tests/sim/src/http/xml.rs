//! Just enough XML to write answers.

use std::fmt::Display;

/// XML text in the making.
#[derive(Debug, Clone, Default)]
pub(crate) struct Xml(String);

impl Xml {
    /// An element with text.
    pub(crate) fn text(mut self, name: &str, value: impl Display) -> Self {
        self.open(name);
        for c in value.to_string().chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                // XML 1.0 has no way to write most control characters.
                c if c.is_control() && !matches!(c, '\n' | '\r' | '\t') => {
                    self.0.push('\u{fffd}');
                }
                c => self.0.push(c),
            }
        }
        self.close(name);
        self
    }

    /// An element with text, if there is any.
    pub(crate) fn maybe(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.text(name, value),
            None => self,
        }
    }

    /// An element with elements.
    pub(crate) fn node(mut self, name: &str, inner: Self) -> Self {
        self.open(name);
        self.0.extend([inner.0]);
        self.close(name);
        self
    }

    /// This and then that.
    pub(crate) fn concat(mut self, that: Self) -> Self {
        self.0.extend([that.0]);
        self
    }

    /// A list, each member an `item`.
    pub(crate) fn items(self, name: &str, items: impl IntoIterator<Item = Self>) -> Self {
        let inner = items.into_iter().fold(Self::default(), |all, item| all.node("item", item));
        self.node(name, inner)
    }

    /// The whole document: a root element with its namespace.
    pub(crate) fn document(self, root: &str, namespace: &str) -> String {
        let attribute =
            if namespace.is_empty() { String::new() } else { format!(" xmlns=\"{namespace}\"") };
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root}{attribute}>{}</{root}>",
            self.0
        )
    }

    fn open(&mut self, name: &str) {
        self.0.push('<');
        self.0.push_str(name);
        self.0.push('>');
    }

    fn close(&mut self, name: &str) {
        self.0.push_str("</");
        self.0.push_str(name);
        self.0.push('>');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_lists_are_items() {
        let xml = Xml::default()
            .items("set", [Xml::default().text("key", "a<b>&\u{1}")])
            .maybe("gone", None::<u8>);
        assert_eq!(
            xml.document("R", "urn:x"),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<R xmlns=\"urn:x\"><set><item>\
             <key>a&lt;b&gt;&amp;\u{fffd}</key></item></set></R>"
        );
    }
}
