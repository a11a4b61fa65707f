//! Filters and the names in them.

use proptest::prelude::*;

use super::super::ber::Reader;
use super::*;

/// The filter as text again, by what was written and nothing else. Values are shown as Rust does.
fn shown(bytes: &[u8]) -> String {
    let mut reader = Reader::new(bytes);
    let mut out = String::new();
    while let Ok((tag, content)) = reader.any() {
        let inside = match tag {
            AND | OR | NOT | SUBSTRINGS | SEQUENCE | 0xa3 | 0xa5..=0xa9 => shown(content),
            _ => format!("{:?}", String::from_utf8_lossy(content)),
        };
        out.push_str(&format!("{tag:x}[{inside}]"));
    }
    out
}

fn filter(text: &str, user: &str) -> Result<String, FilterFault> {
    let mut out = Vec::new();
    put_filter(&mut out, text, user).map(|()| shown(&out))
}

#[test]
fn every_kind_of_filter_is_written() {
    let user = "bob";
    for (text, expected) in [
        ("(uid=$username)", r#"a3[4["uid"]4["bob"]]"#),
        ("uid=$username", r#"a3[4["uid"]4["bob"]]"#),
        ("(cn;lang-de=\\2a$username$username)", r#"a3[4["cn;lang-de"]4["*bobbob"]]"#),
        ("(cn=)", r#"a3[4["cn"]4[""]]"#),
        ("(cn=*)", r#"87["cn"]"#),
        ("(mail=$username@*)", r#"a4[4["mail"]30[80["bob@"]]]"#),
        ("(mail=a*$username*\\29)", r#"a4[4["mail"]30[80["a"]81["bob"]82[")"]]]"#),
        ("(mail=*$username)", r#"a4[4["mail"]30[82["bob"]]]"#),
        ("(a>=1)", r#"a5[4["a"]4["1"]]"#),
        ("(a<=1)", r#"a6[4["a"]4["1"]]"#),
        ("(a~=$username)", r#"a8[4["a"]4["bob"]]"#),
        ("(member:1.2.840:=cn=x)", r#"a9[81["1.2.840"]82["member"]83["cn=x"]]"#),
        ("(:dn:2.4:=x)", r#"a9[81["2.4"]83["x"]84["�"]]"#),
        ("(o:dn:=x)", r#"a9[82["o"]83["x"]84["�"]]"#),
        (
            " (& (a=1) (|(uid=$username)(!(b=*))) ) ",
            r#"a0[a3[4["a"]4["1"]]a1[a3[4["uid"]4["bob"]]a2[87["b"]]]]"#,
        ),
        ("(&)", "a0[]"),
        ("(cn=grün)", r#"a3[4["cn"]4["grün"]]"#),
    ] {
        assert_eq!(filter(text, user).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_no_filter_is_refused() {
    use FilterFault::{Attribute, Depth, Form, Value};
    let deep = format!("{}(a=1){}", "(!".repeat(32), ")".repeat(32));
    for (text, fault) in [
        ("", Form),
        ("()", Form),
        ("(uid)", Form),
        ("(uid=$username", Form),
        ("(uid=$username))", Form),
        ("(uid=$username)(a=b)", Form),
        ("(uid=(x)", Form),
        ("(&(a=1)", Form),
        ("(!(a=1)(b=1))", Form),
        ("($username=x)", Attribute),
        ("(=x)", Attribute),
        ("(a b=x)", Attribute),
        ("(:=x)", Attribute),
        ("(a:b:c:=x)", Form),
        ("(a=\\)", Value),
        ("(a=\\2)", Value),
        ("(a=\\+f)", Value),
        ("(a=\\é)", Value),
        ("(a=b**c)", Value),
        ("(a>=b*)", Value),
        (&deep, Depth),
    ] {
        assert_eq!(filter(text, "bob"), Err(fault), "{text}");
    }
    assert_eq!(put_equality(&mut Vec::new(), "uid)(", "x"), Err(Attribute));
}

proptest! {
    /// Whatever the name, the filter is the same but for that value.
    #[test]
    fn a_name_is_a_value_and_nothing_else(user in any::<String>(), special in "[*()\\\\$a0 \0]{0,8}") {
        for user in [user, special, "$username".to_owned()] {
            let named = |user: &str| format!("{:?}", String::from_utf8_lossy(user.as_bytes()));
            let text = "(&(objectClass=person)(|(uid=$username)(mail=$username@*))(!(x=$username)))";
            let expected = format!(
                r#"a0[a3[4["objectClass"]4["person"]]a1[a3[4["uid"]4[{}]]a4[4["mail"]30[80[{}]]]]a2[a3[4["x"]4[{}]]]]"#,
                named(&user), named(&format!("{user}@")), named(&user)
            );
            prop_assert_eq!(filter(text, &user).unwrap(), expected);
            let mut out = Vec::new();
            put_equality(&mut out, "uid", &user).unwrap();
            prop_assert_eq!(shown(&out), format!(r#"a3[4["uid"]4[{}]]"#, named(&user)));
        }
    }

    #[test]
    fn no_text_panics(text in any::<String>(), filter_like in "[()&|!=*:\\\\a$~<> ]{0,24}") {
        let _ = filter(&text, "bob");
        let _ = filter(&filter_like, "*)(");
    }
}
