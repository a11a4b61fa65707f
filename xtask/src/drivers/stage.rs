//! What the programs run against: a Postgres with TLS, and pgmesh in front of it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use testbed::{
    APP_DATABASE, APP_USER, Bed, Interrupt, Pgmesh, PgmeshOptions, Postgres, PostgresOptions,
    ServerTls, programs,
};

/// Fewer than a program has connections, enough for one that sleeps, one that watches it and one
/// that works.
const SERVERS: u32 = 3;

/// Fewer than a program prepares on each connection.
const PREPARED: u32 = 20;

/// Not in the certificate, which is for 127.0.0.1 alone.
const WRONG_NAME: &str = "localhost";

/// To make a key and sign it.
const CERTIFICATE: Duration = Duration::from_secs(30);

/// What a program is pointed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Direct,
    Pgmesh,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "without pgmesh",
            Self::Pgmesh => "through pgmesh",
        })
    }
}

pub(super) struct Stage {
    // Before what it stands on: fields are dropped in order.
    pgmesh: Pgmesh,
    postgres: Postgres,
    bed: Bed,
}

impl Stage {
    /// Starts everything.
    pub(super) fn new(pgmesh: PathBuf, interrupt: &Interrupt) -> anyhow::Result<Self> {
        let bed = Bed::new(interrupt.clone())?;
        let directory = bed.path();
        for (name, signer) in [("ca", None), ("other-ca", None), ("server", Some("ca"))] {
            certify(directory, name, signer, interrupt)?;
        }
        let read = |file: &str| {
            let path = directory.join(file);
            std::fs::read_to_string(path).with_context(|| format!("read {file}"))
        };
        let tls = ServerTls {
            certificate: read("server.crt")?,
            key: read("server.key")?,
            client_ca: None,
        };
        let postgres = Postgres::start(PostgresOptions {
            tls: Some(tls),
            interrupt: interrupt.clone(),
            ..PostgresOptions::default()
        })
        .context("start Postgres")?;
        let options = PgmeshOptions { interrupt: interrupt.clone(), ..PgmeshOptions::new(pgmesh) };
        let pgmesh = Pgmesh::start_with(&options, |ports| {
            ports.toml_for_postgres(&postgres) + &sections(directory)
        })
        .context("start pgmesh")?;
        Ok(Self { pgmesh, postgres, bed })
    }

    /// Of Postgres, without what a packager adds to it.
    pub(super) fn server_version(&self) -> anyhow::Result<String> {
        let version = self.postgres.psql("SHOW server_version")?;
        Ok(version.split_whitespace().next().unwrap_or_default().to_owned())
    }

    /// Tells a program where to connect, and nothing else of what libpq would read.
    pub(super) fn environment(&self, command: &mut Command, way: Way) {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        let port = match way {
            Way::Direct => self.postgres.port(),
            Way::Pgmesh => self.pgmesh.port(),
        };
        let directory = self.bed.path();
        command
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", port.to_string())
            .env("PGUSER", APP_USER.user)
            .env("PGPASSWORD", APP_USER.password)
            .env("PGDATABASE", APP_DATABASE)
            .env("PGSSLROOTCERT", directory.join("ca.crt"))
            .env("DRIVERS_OTHER_AUTHORITY", directory.join("other-ca.crt"))
            .env("DRIVERS_WRONG_NAME", WRONG_NAME)
            .env_remove("DRIVERS_SERVERS");
        if way == Way::Pgmesh {
            command.env("DRIVERS_SERVERS", SERVERS.to_string());
        }
    }
}

/// What of proxy.toml is special here. Both legs are verified and bound.
fn sections(directory: &Path) -> String {
    let file = |name: &str| directory.join(name).display().to_string();
    format!(
        "\n[proxy.tls]\nmode = \"prefer\"\ncertificate = \"{}\"\nkey = \"{}\"\n\
         \n[server]\nchannel_binding = \"require\"\n\
         \n[server.tls]\nmode = \"verify-full\"\nca = \"{}\"\n\
         \n[pool]\nmode = \"transaction\"\nsize = {SERVERS}\nreserve_size = 0\n\
         prepared_statements = {PREPARED}\nquery_wait_timeout = \"5s\"\n",
        file("server.crt"),
        file("server.key"),
        file("ca.crt"),
    )
}

/// Makes an authority, or with `signer` a certificate for 127.0.0.1.
fn certify(
    directory: &Path,
    name: &str,
    signer: Option<&str>,
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    let mut openssl = Command::new(programs::find("openssl")?);
    openssl
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-days", "2", "-subj", &format!("/CN={name} of the drivers")])
        .args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.crt")])
        .current_dir(directory);
    if let Some(signer) = signer {
        openssl
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-addext", "subjectAltName=IP:127.0.0.1"])
            .args(["-CA", &format!("{signer}.crt"), "-CAkey", &format!("{signer}.key")]);
    }
    testbed::run(&mut openssl, "", CERTIFICATE, interrupt).context("make a certificate")?;
    Ok(())
}
