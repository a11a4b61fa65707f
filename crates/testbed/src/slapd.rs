//! An OpenLDAP server with a few people.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use crate::daemon::{Daemon, Signal};
use crate::postgres::environment;
use crate::{Bed, Error, Interrupt, Port, ServerTls, command, programs};

/// From start to the first connection.
const READY: Duration = Duration::from_secs(30);

/// Where Debian and Ubuntu have what the packages leave out of the binary.
const MODULES: &str = "/usr/lib/ldap";
const SCHEMAS: &str = "/etc/ldap/schema";

/// How an LDAP server is set up.
#[derive(Clone, Debug, Default)]
pub struct SlapdOptions {
    /// People, with their names (`uid`) and passwords, below [`Slapd::PEOPLE`]. A name may appear
    /// more than once.
    pub people: Vec<(String, String)>,
    /// `ldaps`, and StartTLS where it is plain otherwise.
    pub tls: Option<ServerTls>,
}

/// A running, or killed, LDAP server on 127.0.0.1. A name with an empty password is taken for
/// somebody anonymous and succeeds, as the default of many servers has it.
#[derive(Debug)]
pub struct Slapd {
    // Before the bed: fields are dropped in order.
    daemon: Option<Daemon>,
    plain: Port,
    tls: Port,
    has_tls: bool,
    bed: Bed,
}

impl Slapd {
    /// All entries are below.
    pub const BASE: &str = "dc=example,dc=org";
    /// People are directly below.
    pub const PEOPLE: &str = "ou=people,dc=example,dc=org";
    /// Who may search; nobody else may.
    pub const SEARCHER: &str = "cn=searcher,dc=example,dc=org";
    /// Its password.
    pub const SEARCHER_PASSWORD: &str = "searcher_password";

    /// Loads the entries, runs it and waits until it answers.
    ///
    /// # Errors
    /// [`Error::Missing`] when it is not installed; otherwise what failed, with the log.
    pub fn start(options: &SlapdOptions) -> Result<Self, Error> {
        let bed = Bed::new(Interrupt::default())?;
        let (plain, tls) = (Port::reserve()?, Port::reserve()?);
        bed.private_directory("entries")?;
        bed.private_file(&bed.path().join("slapd.conf"), &configuration(&bed, options)?)?;
        bed.private_file(&bed.path().join("entries.ldif"), &entries(options))?;
        let mut load = Command::new(programs::find("slapadd")?);
        load.arg("-f").arg(bed.path().join("slapd.conf"));
        load.arg("-l").arg(bed.path().join("entries.ldif"));
        environment(&mut load);
        bed.account.run(&mut load);
        command::run(&mut load, "", READY, &bed.interrupt)?;
        let mut slapd = Self { daemon: None, plain, tls, has_tls: options.tls.is_some(), bed };
        slapd.restart()?;
        Ok(slapd)
    }

    /// Starts it again on the same ports and entries, after killing it if it runs.
    ///
    /// # Errors
    /// [`Error::Ended`] or [`Error::Timeout`] with the log.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.kill();
        let mut urls = format!("ldap://127.0.0.1:{}/", self.plain);
        if self.has_tls {
            let _ = write!(urls, " ldaps://127.0.0.1:{}/", self.tls);
        }
        let mut slapd = Command::new(programs::find("slapd")?);
        // A level of logging, even zero, keeps it in the foreground.
        slapd.args(["-d", "0", "-h", &urls, "-f"]).arg(self.bed.path().join("slapd.conf"));
        environment(&mut slapd);
        self.bed.account.run(&mut slapd);
        let mut daemon = self.bed.spawn("slapd", &mut slapd, Signal::KILL)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port()));
        daemon.wait_ready(READY, &self.bed.interrupt, || TcpStream::connect(address).is_ok())?;
        self.daemon = Some(daemon);
        Ok(())
    }

    /// Kills it; its ports stay reserved.
    pub fn kill(&mut self) {
        self.daemon = None;
    }

    /// Stops it in the middle of whatever it does (SIGSTOP): connections are accepted by the
    /// kernel, and nobody answers.
    pub fn freeze(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            daemon.signal(Signal::STOP);
        }
    }

    /// The port that is plain until StartTLS.
    pub fn port(&self) -> u16 {
        self.plain.number()
    }

    /// The port of `ldaps`.
    pub fn tls_port(&self) -> u16 {
        self.tls.number()
    }

    /// The name of one of the people.
    pub fn dn(uid: &str) -> String {
        let mut value = String::new();
        for character in uid.chars() {
            if ",+=\"\\<>;".contains(character) {
                value.push('\\');
            }
            value.push(character);
        }
        format!("uid={value},{}", Self::PEOPLE)
    }
}

fn configuration(bed: &Bed, options: &SlapdOptions) -> Result<String, Error> {
    let path = bed.path().display();
    let mut text = String::new();
    for schema in ["core", "cosine", "inetorgperson"] {
        let _ = writeln!(text, "include {SCHEMAS}/{schema}.schema");
    }
    let _ = writeln!(
        text,
        "modulepath {MODULES}\nmoduleload back_mdb\nallow bind_anon_dn bind_anon_cred"
    );
    if let Some(tls) = &options.tls {
        for (key, file, content) in [
            ("TLSCertificateFile", "server.crt", &tls.certificate),
            ("TLSCertificateKeyFile", "server.key", &tls.key),
        ] {
            let file = bed.path().join(file);
            bed.private_file(&file, content)?;
            let _ = writeln!(text, "{key} {}", file.display());
        }
    }
    let _ = writeln!(
        text,
        "database mdb\nmaxsize 16777216\nsuffix \"{base}\"\ndirectory {path}/entries\n\
         dbnosync\naccess to attrs=userPassword by anonymous auth by * none\n\
         access to * by dn.exact=\"{searcher}\" read by * none",
        base = Slapd::BASE,
        searcher = Slapd::SEARCHER,
    );
    Ok(text)
}

fn entries(options: &SlapdOptions) -> String {
    let (base, people) = (Slapd::BASE, Slapd::PEOPLE);
    let mut text = format!(
        "dn: {base}\nobjectClass: dcObject\nobjectClass: organization\no: Example\ndc: example\n\n\
         dn: {}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\n\
         cn: searcher\nuserPassword: {}\n\n\
         dn: {people}\nobjectClass: organizationalUnit\nou: people\n\n",
        Slapd::SEARCHER,
        Slapd::SEARCHER_PASSWORD,
    );
    for (number, (uid, password)) in options.people.iter().enumerate() {
        let again = options.people.iter().take(number).any(|(before, _)| before == uid);
        // The second of a name is known by another one, so that both can be.
        let dn = if again { format!("cn={number},{people}") } else { Slapd::dn(uid) };
        let _ = write!(
            text,
            "dn: {dn}\nobjectClass: inetOrgPerson\nuid: {uid}\ncn: {number}\nsn: {uid}\n\
             mail: {uid}@example.org\nuserPassword: {password}\n\n"
        );
    }
    text
}
