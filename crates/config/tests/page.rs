//! `[metrics]`: the status page, and who may see it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io;
use std::path::Path;

use admin::Page;
use config::{Environment, Errors, Settings, parse};

struct Empty;

impl Environment for Empty {
    fn var(&self, _: &str) -> Option<String> {
        None
    }

    fn file(&self, _: &Path) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }
}

fn read(keys: &str) -> Result<Settings, Errors> {
    let text = format!(
        "proxy.tls.mode = 'disable'\n\
         cluster = {{ discovery = 'static', nodes = ['db'] }}\n\
         users = [{{ name = 'app', password = 'secret' }}]\n[metrics]\n{keys}"
    );
    parse("proxy.toml", &text, &Empty)
}

#[test]
fn there_is_a_page_for_everybody_unless_told_otherwise() {
    let settings = read("").unwrap();
    assert_eq!((settings.admin.page, settings.admin.login), (Page::On, None));
    assert_eq!(read("page = false").unwrap().admin.page, Page::Off);
}

#[test]
fn a_login_has_a_name_and_a_secret_password() {
    let settings = read("user = 'ops'\npassword = 'pa:ss'").unwrap();
    assert!(!format!("{settings:?}").contains("pa:ss"));
    let login = settings.admin.login.unwrap();
    assert_eq!((&*login.user, login.password.expose()), ("ops", "pa:ss"));
    for (keys, told) in [
        ("user = 'ops'", "needs its password"),
        ("password = 'x'", "set user"),
        ("user = 'o:ps'\npassword = 'x'", "has a colon"),
        ("user = ''\npassword = 'x'", "must not be empty"),
        ("user = 'ops'\npassword = ''", "must not be empty"),
    ] {
        let errors = read(keys).unwrap_err().to_string();
        assert!(errors.contains(told), "{keys}: {errors}");
    }
}
