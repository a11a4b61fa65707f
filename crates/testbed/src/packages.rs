//! Installing what is missing from the packages of Debian or Ubuntu.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Error, programs};

/// How the presence of a package is seen without asking the package database, so that what was
/// installed in another way counts too.
#[derive(Clone, Copy, Debug)]
enum Sign {
    Path(&'static str),
    PostgresProgram(&'static str),
    Program(&'static str),
    ProtobufIncludes,
    Protoc,
    PythonModule(&'static str),
}

/// A package of Debian and Ubuntu.
#[derive(Clone, Copy, Debug)]
pub struct Package {
    name: &'static str,
    sign: Sign,
}

/// Postgres with psql and pgbench.
pub const POSTGRESQL: Package =
    Package { name: "postgresql", sign: Sign::PostgresProgram("pgbench") };
/// etcd.
pub const ETCD: Package = Package { name: "etcd-server", sign: Sign::Program("etcd") };
/// Patroni.
pub const PATRONI: Package = Package { name: "patroni", sign: Sign::Program("patroni") };
/// The protobuf compiler: the build script of `etcd-client` calls it.
pub const PROTOC: Package = Package { name: "protobuf-compiler", sign: Sign::Protoc };
/// The well-known .proto files, which `protobuf-compiler` only recommends and `etcd-client` imports.
pub const PROTOBUF_INCLUDES: Package =
    Package { name: "libprotobuf-dev", sign: Sign::ProtobufIncludes };
/// psycopg 3 for the system's Python.
pub const PSYCOPG: Package =
    Package { name: "python3-psycopg", sign: Sign::PythonModule("psycopg") };
/// PgBouncer, to measure against.
pub const PGBOUNCER: Package = Package { name: "pgbouncer", sign: Sign::Program("pgbouncer") };
/// An exporter that reads PgBouncer's console.
pub const PGBOUNCER_EXPORTER: Package = Package {
    name: "prometheus-pgbouncer-exporter",
    sign: Sign::Program("prometheus-pgbouncer-exporter"),
};
/// Checks for Nagios, some of them of PgBouncer's console.
pub const CHECK_POSTGRES: Package =
    Package { name: "check-postgres", sign: Sign::Program("check_postgres") };
/// psycopg 2 for the system's Python.
pub const PSYCOPG2: Package =
    Package { name: "python3-psycopg2", sign: Sign::PythonModule("psycopg2") };
/// HAProxy, to measure against.
pub const HAPROXY: Package = Package { name: "haproxy", sign: Sign::Program("haproxy") };
/// An LDAP server.
pub const SLAPD: Package = Package { name: "slapd", sign: Sign::Program("slapd") };
/// Prometheus, and promtool.
pub const PROMETHEUS: Package = Package { name: "prometheus", sign: Sign::Program("promtool") };
/// postgres_exporter.
pub const POSTGRES_EXPORTER: Package = Package {
    name: "prometheus-postgres-exporter",
    sign: Sign::Program("prometheus-postgres-exporter"),
};
/// A browser without a screen.
pub const CHROMIUM: Package = Package { name: "chromium", sign: Sign::Program("chromium") };
/// Letters for it.
pub const FONTS: Package =
    Package { name: "fonts-dejavu-core", sign: Sign::Path("/usr/share/fonts/truetype/dejavu") };
/// What gives nodes networks of their own.
pub const IPROUTE: Package = Package { name: "iproute2", sign: Sign::Program("bridge") };

/// asyncpg for the system's Python.
pub const ASYNCPG: Package =
    Package { name: "python3-asyncpg", sign: Sign::PythonModule("asyncpg") };
/// What makes certificates.
pub const OPENSSL: Package = Package { name: "openssl", sign: Sign::Program("openssl") };
/// Java's compiler and runtime.
pub const JDK: Package = Package { name: "default-jdk-headless", sign: Sign::Program("javac") };
/// Where the JDBC driver is.
pub const JDBC_ARCHIVE: &str = "/usr/share/java/postgresql.jar";
/// The JDBC driver.
pub const JDBC: Package =
    Package { name: "libpostgresql-jdbc-java", sign: Sign::Path(JDBC_ARCHIVE) };
/// Node.js.
pub const NODE: Package = Package { name: "nodejs", sign: Sign::Program("node") };
/// What installs packages for Node.js.
pub const NPM: Package = Package { name: "npm", sign: Sign::Program("npm") };
/// Go.
pub const GO: Package = Package { name: "golang-go", sign: Sign::Program("go") };
/// Where Debian puts Go's libraries: a GOPATH.
pub const GO_LIBRARIES: &str = "/usr/share/gocode";
/// pgx, as a library in [`GO_LIBRARIES`].
pub const PGX: Package = Package {
    name: "golang-github-jackc-pgx-v4-dev",
    sign: Sign::Path("/usr/share/gocode/src/github.com/jackc/pgx/v4"),
};
/// What unpacks source packages.
pub const DPKG_DEV: Package = Package { name: "dpkg-dev", sign: Sign::Program("dpkg-source") };
/// A compiler for C.
pub const GCC: Package = Package { name: "gcc", sign: Sign::Program("gcc") };
/// The headers of the C library.
pub const C_LIBRARY: Package =
    Package { name: "libc6-dev", sign: Sign::Path("/usr/include/stdio.h") };

/// What a [`Cluster`](crate::Cluster) needs.
pub const CLUSTER: [Package; 3] = [POSTGRESQL, ETCD, PATRONI];
/// What reads the console of a PgBouncer, and a PgBouncer.
pub const CONSOLE: [Package; 5] =
    [PGBOUNCER, PGBOUNCER_EXPORTER, CHECK_POSTGRES, PSYCOPG2, ASYNCPG];
/// What building pgmesh needs besides a linker.
pub const BUILD: [Package; 2] = [PROTOC, PROTOBUF_INCLUDES];

/// Packages start their services when installed; a policy that says no keeps ports 5432 and 2379
/// free and leaves nothing running. It is removed again unless it was there before.
const INSTALL: &str = r#"
set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get --option DPkg::Lock::Timeout=120 install --yes --no-install-recommends "$@"
"#;

/// Installs those of `packages` that are missing, as root or through `sudo -n`. Returns the names of
/// what was installed.
///
/// # Errors
/// [`Error::Packages`] with the commands to type when this is not Debian or Ubuntu, or sudo wants a
/// password, or the installation fails.
pub fn ensure(packages: &[Package]) -> Result<Vec<&'static str>, Error> {
    let missing: Vec<&'static str> = packages
        .iter()
        .filter(|package| !package.is_present())
        .map(|package| package.name)
        .collect();
    if missing.is_empty() {
        return Ok(missing);
    }
    let refusal = |reason: &str| Error::Packages {
        reason: reason.to_owned(),
        missing: missing.join(" "),
        commands: commands(&missing),
    };
    if programs::find("apt-get").is_err() {
        return Err(refusal("packages are only installed by apt-get, and this machine has none"));
    }
    let mut install = if rustix::process::geteuid().is_root() {
        Command::new("/bin/sh")
    } else if succeeds(Command::new("sudo").args(["-n", "true"])) {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "/bin/sh"]);
        sudo
    } else {
        return Err(refusal(
            "packages are only installed as root or through a sudo without password",
        ));
    };
    // Its output goes to our standard error: somebody waits for it.
    let status = install
        .args(["-c", INSTALL, "install"])
        .args(&missing)
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .map_err(Error::io("start apt-get"))?;
    if !status.success() {
        return Err(refusal("apt-get failed, see above"));
    }
    match packages.iter().find(|package| !package.is_present()) {
        None => Ok(missing),
        Some(package) => {
            Err(Error::Missing(format!("{:?} after installing {}", package.sign, package.name)))
        }
    }
}

fn commands(missing: &[&str]) -> String {
    format!("  sudo apt-get update\n  sudo apt-get install {}", missing.join(" "))
}

impl Package {
    /// Its name in the package database.
    pub fn name(&self) -> &'static str {
        self.name
    }

    fn is_present(&self) -> bool {
        match self.sign {
            Sign::Path(path) => Path::new(path).exists(),
            Sign::PostgresProgram(program) => programs::find_postgres(program).is_ok(),
            Sign::Program(program) => programs::find(program).is_ok(),
            Sign::ProtobufIncludes => protobuf_includes(),
            Sign::Protoc => protoc().is_some(),
            Sign::PythonModule(module) => succeeds(
                Command::new(programs::SYSTEM_PYTHON).args(["-c", &format!("import {module}")]),
            ),
        }
    }
}

/// The compiler that build scripts will use.
fn protoc() -> Option<PathBuf> {
    env::var_os("PROTOC").map(PathBuf::from).or_else(|| programs::find("protoc").ok())
}

/// Whether the well-known files are where that compiler looks: beside its own directory.
fn protobuf_includes() -> bool {
    let beside = || Some(protoc()?.canonicalize().ok()?.parent()?.parent()?.join("include"));
    env::var_os("PROTOC_INCLUDE")
        .map(PathBuf::from)
        .or_else(beside)
        .is_some_and(|include| include.join("google/protobuf/descriptor.proto").exists())
}

/// Whether a command can be run and ends well.
fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_present_is_not_installed() {
        let shell = Package { name: "no-such-package", sign: Sign::Program("sh") };
        assert_eq!(ensure(&[shell]).unwrap(), Vec::<&str>::new());
    }

    #[test]
    fn the_commands_name_what_is_missing() {
        assert!(commands(&["a", "b"]).ends_with("sudo apt-get install a b"));
    }
}
