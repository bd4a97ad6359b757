//! What templates come to, what is refused, and that nothing panics.

use super::*;
use proptest::prelude::*;
use test_case::test_case;

fn render(text: &str) -> Result<String, TemplateError> {
    let values = [Some("data-db-0"), Some("shop"), None];
    Template::parse(text, VOLUME_VARIABLES)?.render(values)
}

#[test_case("", ""; "nothing")]
#[test_case("plain } text", "plain } text"; "no template")]
#[test_case("{{ .PVCName }}", "data-db-0"; "a variable")]
#[test_case("{{.PVCNamespace}}/{{.PVCName}}", "shop/data-db-0"; "two variables")]
#[test_case("[{{ .PVName }}]", "[]"; "a variable that is not set")]
#[test_case("{{ .PVCNamespace | toUpper }}", "SHOP"; "upper case")]
#[test_case("{{ \"ABC\" | toLower }}", "abc"; "lower case")]
#[test_case("{{ field \"-\" 1 .PVCName }}", "db"; "a field")]
#[test_case("{{ .PVCName | field \"-\" 2 }}", "0"; "a field of what is piped")]
#[test_case("{{ .PVCName | field \"\" 1 }}", "a"; "a character")]
#[test_case("{{ .PVCName | substring 0 4 }}", "data"; "a substring")]
#[test_case("{{ substring -1 4 .PVCName }}", "data"; "a substring from the beginning")]
#[test_case("{{ .PVCName | substring 5 -1 }}", "db-0"; "a substring to the end")]
#[test_case("{{ .PVCName | substring 5 99 }}", "db-0"; "a substring beyond the end")]
#[test_case("{{ .PVCName | contains \"db\" }}", "true"; "contained")]
#[test_case("{{ contains \"x\" .PVCName }}", "false"; "not contained")]
#[test_case("{{ .PVCName | index \"-\" }},{{ .PVCName | lastIndex \"-\" }}", "4,7"; "places")]
#[test_case("{{ .PVCName | index \"x\" }}", "-1"; "no place")]
#[test_case("{{ len .PVCName }}", "9"; "a length")]
#[test_case("{{ .PVCName | substring 0 (.PVCName | index \"-\") }}", "data"; "parentheses")]
#[test_case("{{substring ( index \"-\" .PVCName ) 9 (.PVCName)|toUpper}}", "-DB-0"; "more parentheses")]
#[test_case("{{ .PVCName | substring 5 7 | toUpper }}", "DB"; "a chain")]
#[test_case("a {{- .PVCNamespace -}} b", "ashopb"; "trimmed")]
#[test_case("a{{/* }} */}}b", "ab"; "a comment")]
#[test_case("{{ `a\\b` }}{{ \"\\\"}}\\\\\" }}", "a\\b\"}}\\"; "texts")]
#[test_case("{{ 7 }}{{ +1 }}{{ -2 }}", "71-2"; "numbers")]
fn comes_to(text: &str, want: &str) {
    assert_eq!(render(text).as_deref(), Ok(want));
}

#[test_case("{{ .PVCName", "no }}"; "no end")]
#[test_case("{{ }}", "missing"; "empty")]
#[test_case("{{ .Claim }}", ".Claim is not known"; "an unknown variable")]
#[test_case("{{ .VolumeSnapshotName }}", ".VolumeSnapshotName is not known"; "a snapshot's variable")]
#[test_case("{{ trim .PVCName }}", "trim is not known"; "an unknown function")]
#[test_case("{{ if .PVCName }}x{{ end }}", "if is not supported"; "a condition")]
#[test_case("{{ range .PVCName }}", "range is not supported"; "a loop")]
#[test_case("{{ printf \"%s\" .PVCName }}", "printf is not supported"; "a format")]
#[test_case("{{ html .PVCName }}", "html is not supported"; "a function of markup")]
#[test_case("{{ $x := 1 }}", "$"; "an own variable")]
#[test_case("{{ . }}", "a lone ."; "everything")]
#[test_case("{{ .PVCName.x }}", "a field of a variable"; "a field of a variable")]
#[test_case("{{ (.PVCName).x }}", "a field of a value"; "a field of a value")]
#[test_case("{{ 'x' }}", "single character"; "a character")]
#[test_case("{{ 010 }}", "decimal"; "octal")]
#[test_case("{{ 1.5 }}", "decimal"; "a fraction")]
#[test_case("{{ \"a\\x41\" }}", "\\x"; "another escape")]
#[test_case("{{ \"a }}", "closing"; "an open text")]
#[test_case("{{ .PVCName .PVName }}", "only functions take"; "a value with arguments")]
#[test_case("{{ .PVCName | .PVName }}", "only functions can follow"; "a value after a pipe")]
#[test_case("{{ .PVCName | }}", "missing"; "nothing after a pipe")]
#[test_case("{{ toUpper }}", "toUpper TEXT"; "no arguments")]
#[test_case("{{ toUpper 1 }}", "toUpper TEXT"; "a wrong argument")]
#[test_case("{{ .PVCName | field \"-\" 3 }}", "has 3 fields"; "no such field")]
#[test_case("{{ .PVCName | field \"-\" -1 }}", "has 3 fields"; "a field below 0")]
#[test_case("{{ .PVCName | substring 5 3 }}", "no part from 5 to 3"; "an inverted part")]
#[test_case("{{ \"é\" | substring 0 1 }}", "no part"; "half a character")]
#[test_case("{{ .PVCName ) }}", "unexpected \")\""; "a stray parenthesis")]
#[test_case("{{ (.PVCName }}", "( has no )"; "an open parenthesis")]
#[test_case("{{ len\"a\" }}", "space is missing"; "no space")]
#[test_case("{{ len(.PVCName) }}", "space is missing"; "no space before a parenthesis")]
fn is_refused(text: &str, rule: &str) {
    let error = render(text).unwrap_err().to_string();
    assert!(error.contains(rule), "{error}");
}

#[test]
fn deep_parentheses_are_refused_before_the_stack_is_used_up() {
    let text = format!("{{{{ {}", "(".repeat(1_000_000));
    assert!(render(&text).unwrap_err().to_string().contains("16 parentheses"));
}

#[test]
fn every_documented_function_is_known() {
    for (name, usage) in FUNCTIONS {
        assert!(Function::named(name).is_some(), "{name}");
        assert!(usage.starts_with(name), "{usage}");
    }
}

proptest! {
    #[test]
    fn nothing_panics(text in "\\PC*") {
        let _ = render(&text);
        let _ = render(&format!("{{{{{text}}}}}"));
    }

    #[test]
    fn nothing_made_of_the_words_of_templates_panics(
        words in prop::collection::vec(prop::sample::select(vec![
            "{{", "}}", "{{-", "-}}", " ", "|", "(", ")", ".", ".PVCName", "\"", "`", "\\", "-", "1",
            "9223372036854775807", "-9223372036854775808", "field", "substring", "toUpper", "index",
            "lastIndex", "contains", "len", "é", "/*", "*/", "\n", "$",
        ]), 0..24)
    ) {
        let _ = render(&words.concat());
        let _ = render(&format!("{{{{ {} }}}}", words.join(" ")));
    }

    #[test]
    fn text_without_braces_is_kept(text in "[^{]*") {
        prop_assert_eq!(render(&text), Ok(text));
    }
}
