//! `unix_socket_dir` and what goes with it.

use config::{Process, parse};
use frontend::UnixSockets;

/// What these keys of `[proxy]` mean, or what is wrong with them.
fn read(keys: &str) -> Result<Option<UnixSockets>, String> {
    let text = format!(
        "[cluster]\ndiscovery = 'static'\nnodes = ['n:1']\n[[users]]\nname = 'a'\npassword = 'p'\n\
         [proxy]\n{keys}"
    );
    parse("t", &text, &Process)
        .map(|settings| settings.frontend.unix)
        .map_err(|errors| errors.to_string())
}

#[test]
fn unix_sockets_are_opened_where_a_directory_is_named() {
    assert_eq!(read("").unwrap(), None);
    let read = |keys: &str| read(keys).unwrap().unwrap();
    let sockets = read("unix_socket_dir = '/run/pgmesh/'");
    assert_eq!(sockets.path(6432).to_str(), Some("/run/pgmesh/.s.PGSQL.6432"));
    assert_eq!((sockets.access.mode, sockets.access.group), (0o777, None));
    let keys = "unix_socket_dir = '/s'\nunix_socket_mode = '0770'\nunix_socket_group = 'postgres'";
    let access = read(keys).access;
    assert_eq!((access.mode, access.group.as_deref()), (0o770, Some("postgres")));
    assert_eq!(read("unix_socket_dir = '@mesh'").path(1).to_str(), Some("@mesh/.s.PGSQL.1"));
}

#[test]
fn what_no_socket_can_have_is_refused() {
    for (keys, part) in [
        ("unix_socket_dir = 'run'", "write \"@name\""),
        ("unix_socket_mode = '0777'", "is for unix_socket_dir"),
        ("unix_socket_dir = '/a'\nunix_socket_mode = '0o700'", "in octal"),
        ("unix_socket_dir = '/a'\nunix_socket_mode = '1777'", "in octal"),
        ("unix_socket_dir = '@a'\nunix_socket_group = 'g'", "has no permissions"),
    ] {
        let text = read(keys).unwrap_err();
        assert!(text.contains(part), "{keys}: {text}");
    }
}

#[test]
fn a_directory_leaves_room_for_the_names_in_it() {
    // 107 bytes less "/.s.PGSQL.65535".
    let directory = |length: usize| format!("unix_socket_dir = '/{}'", "d".repeat(length - 1));
    let text = read(&directory(93)).unwrap_err();
    assert!(text.contains("at most 92 bytes"), "{text}");
    assert!(read(&directory(92)).is_ok());
}
