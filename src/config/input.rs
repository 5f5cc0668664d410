//! The texts of a configuration, and how they become one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use sluice_actors::domain::TenantName;

use super::{
    Admin, Alerts, Artifacts, Config, Database, Edge, Errors, Limits, Llm, Outbound, Telemetry, Tenant,
    finding::{Error, Place, Problem, suggest},
    section::{Context, Section},
    tenant::Node,
    tree::{self, Entries},
};
use crate::{
    error_code::ErrorCode,
    secrets::{Environment, Keep, Providers, Secrets},
};

/// The main file's name.
const MAIN: &str = "sluice.toml";
/// The folder of the tenants' files, beside it.
const TENANTS: &str = "tenants";
/// How environment variables that override a value begin; two underscores part the keys.
const OVERRIDE: &str = "SLUICE_";

/// The texts of a configuration before they are understood: from a folder, or given by a test.
///
/// ```
/// use sluice::config::Input;
///
/// let errors = Input::new("/etc/sluice").main("[edge]\nlisten = 'nowhere'").resolve().unwrap_err();
/// assert!(errors.to_string().starts_with("/etc/sluice/sluice.toml:2: edge.listen: "));
/// ```
#[derive(Debug, Clone)]
pub struct Input {
    dir: PathBuf,
    main: (Arc<PathBuf>, String),
    tenants: BTreeMap<String, (Arc<PathBuf>, String)>,
    environment: Environment,
    keep: Keep,
    offline: bool,
}

impl Input {
    /// An empty configuration of the folder `dir`, with an empty environment.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        Self {
            main: (Arc::new(dir.join(MAIN)), String::new()),
            dir,
            tenants: BTreeMap::new(),
            environment: Environment::fixed([]),
            keep: Keep::default(),
            offline: false,
        }
    }

    /// With what remote providers said before.
    #[must_use]
    pub fn keep(mut self, keep: Keep) -> Self {
        self.keep = keep;
        self
    }

    /// Without asking remote providers: what they keep is a warning each.
    #[must_use]
    pub fn offline(mut self) -> Self {
        self.offline = true;
        self
    }

    /// With this text of `sluice.toml`.
    #[must_use]
    pub fn main(mut self, text: impl Into<String>) -> Self {
        self.main.1 = text.into();
        self
    }

    /// With a tenant's file.
    #[must_use]
    pub fn tenant(mut self, name: &str, text: impl Into<String>) -> Self {
        let path = self.tenant_path(name);
        self.tenants.insert(name.to_owned(), (Arc::new(path), text.into()));
        self
    }

    /// With these environment variables.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// Reads the texts at `path`, which is `sluice.toml` or its folder, and takes the environment of
    /// the process.
    pub fn read(path: &Path) -> Result<Self, Errors> {
        let main = main_file(path);
        let dir = main.parent().unwrap_or(Path::new("")).to_owned();
        let mut input = Self::new(dir).environment(Environment::Process);
        let mut errors = Vec::new();
        let text = read_text(&main, "create it with `sluice init DIR`, or name it with --config", &mut errors);
        input.main = (Arc::new(main), text);
        for path in tenant_files(&input.dir, &mut errors) {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let text = read_text(&path, "make it readable for the user that runs `sluice`", &mut errors);
            input.tenants.insert(name, (Arc::new(path), text));
        }
        if errors.is_empty() { Ok(input) } else { Err(Errors::new(errors)) }
    }

    /// Only the folder beside the store: for commands that look for a running gateway, which may know
    /// secrets that this process does not.
    pub fn data_dir(&self) -> Result<PathBuf, Errors> {
        match self.database() {
            Ok(database) => Ok(database.data_dir().to_owned()),
            // A URL that only the gateway knows is one of a server; that leaves this folder.
            Err(errors) if errors.0.iter().all(|error| error.code == ErrorCode::Secret) => {
                Ok(std::path::absolute(&self.dir).unwrap_or_else(|_| self.dir.clone()))
            }
            Err(errors) => Err(errors),
        }
    }

    /// Only where the store is.
    pub fn database(&self) -> Result<Database, Errors> {
        self.only("database", Database::read)
    }

    /// Only the public listener, for commands that print what vendors call.
    pub fn edge(&self) -> Result<Edge, Errors> {
        self.only("edge", |section, _| Edge::read(section))
    }

    fn only<T>(&self, name: &'static str, read: impl Fn(Section<'_>, &Path) -> T) -> Result<T, Errors> {
        let dir = absolute(&self.dir);
        let ((value, mut errors), ctx) = self.with_secrets(|ctx| {
            let mut errors = Vec::new();
            let value = read(self.root_of(name, ctx, &mut errors).table_or_empty(name), &dir);
            (value, errors)
        });
        errors.extend(ctx.errors.into_inner());
        if errors.is_empty() { Ok(value) } else { Err(Errors::new(errors)) }
    }

    /// Reads; where that asked remote providers for what they were never asked, asks them and reads again.
    /// What a configuration refers to is known only by reading it.
    fn with_secrets<T>(&self, read: impl Fn(&Context) -> T) -> (T, Context) {
        let again = || {
            let secrets =
                Secrets { dir: absolute(&self.dir), environment: self.environment.clone(), keep: self.keep.clone() };
            let ctx = Context::new(secrets, self.offline);
            (read(&ctx), ctx)
        };
        let first = again();
        let unread = first.1.unread();
        if self.offline || unread.is_empty() {
            return first;
        }
        // What is wrong with `[secrets]` is told where all of the configuration is read.
        let Some(providers) = self.providers() else { return first };
        self.keep.fetch_blocking(&providers, &unread);
        again()
    }

    /// The remote providers, if `[secrets]` is right: it refers to nothing that they keep.
    fn providers(&self) -> Option<Providers> {
        let secrets = Secrets::local(absolute(&self.dir), self.environment.clone());
        let ctx = Context::new(secrets, false);
        let mut errors = Vec::new();
        let mut root = self.root_of("secrets", &ctx, &mut errors);
        let providers = Providers::read(root.table_or_empty("secrets"));
        (errors.is_empty() && ctx.errors.into_inner().is_empty()).then_some(providers)
    }

    /// The root of `sluice.toml`, with what the environment overrides of the section `name`.
    fn root_of<'c>(&self, name: &'static str, ctx: &'c Context, errors: &mut Vec<Error>) -> Section<'c> {
        let mut entries = tree::parse(&self.main.0, &self.main.1, errors);
        let overrides = self.environment.with_prefix(&format!("{OVERRIDE}{}__", tree::env_name(name)));
        tree::override_with(&mut entries, OVERRIDE, &overrides);
        Section::root(ctx, Place::File(self.main.0.clone(), 0), entries, None)
    }

    /// The names of the tenants' files.
    pub fn tenant_names(&self) -> impl Iterator<Item = &str> {
        self.tenants.keys().map(String::as_str)
    }

    /// Where a tenant's file is, or would be.
    pub fn tenant_path(&self, name: &str) -> PathBuf {
        self.dir.join(TENANTS).join(format!("{name}.toml"))
    }

    /// As [`Input::resolve`], but secrets that cannot be read here are no errors: what they belong to is
    /// left out, and they are told beside it. For commands about what a gateway elsewhere may know more of.
    pub fn resolve_what_can_be_read(self) -> Result<(Config, Vec<Error>), Errors> {
        let (trees, tenant_trees) = self.parse()?;
        let (read, ctx) = self.with_secrets(|ctx| self.understand(ctx, trees.clone(), tenant_trees.clone()));
        let (unread, errors): (Vec<_>, Vec<_>) =
            ctx.errors.into_inner().into_iter().partition(|error| error.code == ErrorCode::Secret);
        if errors.is_empty() { Ok((read, unread)) } else { Err(Errors::new(errors)) }
    }

    /// Understands the texts. Everything that is wrong is told at once.
    pub fn resolve(self) -> Result<Config, Errors> {
        let (trees, tenant_trees) = self.parse()?;
        let (read, ctx) = self.with_secrets(|ctx| self.understand(ctx, trees.clone(), tenant_trees.clone()));
        let errors = ctx.errors.into_inner();
        if !errors.is_empty() {
            return Err(Errors::new(errors));
        }
        let mut files = ctx.files.into_inner();
        files.push(self.main.0.as_ref().clone());
        files.extend(self.tenants.values().map(|(path, _)| path.as_ref().clone()));
        files.sort();
        files.dedup();
        let warnings = ctx.warnings.into_inner();
        let remote = ctx.remote.into_inner().into_iter().collect();
        Ok(Config { warnings, files, remote, ..read })
    }

    /// What the texts mean; what is wrong or odd is in `ctx`.
    fn understand(&self, ctx: &Context, mut entries: Entries, trees: Vec<TenantTree>) -> Config {
        let dir = absolute(&self.dir);
        let mut overrides = self.environment.with_prefix(OVERRIDE);
        overrides.retain(|name, _| name.contains("__"));
        let of_tenants = format!("{OVERRIDE}TENANTS__");
        let (of_tenants, of_main): (BTreeMap<_, _>, BTreeMap<_, _>) =
            overrides.into_iter().partition(|(name, _)| name.starts_with(&of_tenants));
        self.check_overrides(&of_tenants, ctx);

        tree::override_with(&mut entries, OVERRIDE, &of_main);
        let mut root = Section::root(ctx, Place::File(self.main.0.clone(), 0), entries, None);
        let edge = Edge::read(root.table_or_empty("edge"));
        let outbound = Outbound::read(root.table_or_empty("outbound"));
        let admin = Admin::read(root.table_or_empty("admin"), &outbound);
        let database = Database::read(root.table_or_empty("database"), &dir);
        let artifacts = Artifacts::read(root.table_or_empty("artifacts"), &dir, &database, &outbound);
        let limits = Limits::read(root.table_or_empty("limits"));
        let llm = root.table("llm").map(|table| Arc::new(Llm::read(table, &outbound)));
        let telemetry = Telemetry::read(root.table_or_empty("telemetry"));
        let secrets = Providers::read(root.table_or_empty("secrets"));
        let names = self.tenants.keys().cloned().collect();
        let alerts = Alerts::read(root.table_or_empty("alerts"), &outbound, &names);
        root.finish();

        let node = Node { edge: &edge, outbound: &outbound, llm: llm.as_ref() };
        let tenants = read_tenants(trees, ctx, node, &of_tenants);
        if self.tenants.is_empty() {
            ctx.warn(
                &Place::File(Arc::new(self.dir.join(TENANTS)), 0),
                "",
                "holds no tenant: the gateway has nothing to receive",
                "add a source with `sluice source add`",
            );
        }
        let granted = admin.oidc.iter().flat_map(|oidc| &oidc.roles).flat_map(|rule| rule.tenants.iter().flatten());
        for tenant in granted.filter(|tenant| !tenants.contains_key(*tenant)) {
            let cure = suggest(tenant.as_str(), self.tenants.keys().map(String::as_str));
            let place = Place::File(self.main.0.clone(), 0);
            ctx.warn(&place, "admin.oidc.roles", format!("names the tenant `{tenant}`, which is not there"), cure);
        }
        Config {
            dir,
            edge,
            admin,
            database,
            artifacts,
            limits,
            outbound,
            telemetry,
            alerts,
            llm,
            tenants,
            warnings: Vec::new(),
            files: Vec::new(),
            secrets,
            remote: BTreeSet::new(),
            keep: self.keep.clone(),
        }
    }

    /// The trees of `sluice.toml` and of the tenants' files. Where one is not TOML, nothing else is
    /// told: what it was meant to say is not known.
    fn parse(&self) -> Result<(Entries, Vec<TenantTree>), Errors> {
        let mut errors = Vec::new();
        let main = tree::parse(&self.main.0, &self.main.1, &mut errors);
        let parse = |(stem, (path, text)): (&String, &(Arc<PathBuf>, String))| {
            (stem.clone(), Place::File(path.clone(), 0), tree::parse(path, text, &mut errors))
        };
        let tenants = self.tenants.iter().map(parse).collect();
        if errors.is_empty() { Ok((main, tenants)) } else { Err(Errors::new(errors)) }
    }

    /// An override of a tenant that is not there is a mistake, not a new tenant.
    fn check_overrides(&self, of_tenants: &BTreeMap<String, String>, ctx: &Context) {
        let known: Vec<String> = self.tenants.keys().map(|stem| tree::env_name(stem)).collect();
        for name in of_tenants.keys() {
            let tenant = name.split("__").nth(1).unwrap_or_default();
            if !known.iter().any(|stem| stem == tenant) {
                let cure = suggest(tenant, self.tenants.keys().map(String::as_str));
                let problem = Problem::new(format!("there is no tenant `{}`", tenant.to_lowercase()), cure);
                ctx.error(&Place::Env(name.as_str().into()), "", problem);
            }
        }
    }
}

/// A tenant's file: its stem, where it is, what it says.
type TenantTree = (String, Place, Entries);

/// Reads the tenants' files.
fn read_tenants(
    trees: Vec<TenantTree>,
    ctx: &Context,
    node: Node<'_>,
    overrides: &BTreeMap<String, String>,
) -> BTreeMap<TenantName, Arc<Tenant>> {
    let mut tenants = BTreeMap::new();
    for (stem, place, mut entries) in trees {
        tree::override_with(&mut entries, &format!("{OVERRIDE}TENANTS__{}__", tree::env_name(&stem)), overrides);
        match stem.parse::<TenantName>() {
            Ok(name) => {
                let root = Section::root(ctx, place, entries, Some(name.clone()));
                tenants.insert(name.clone(), Arc::new(Tenant::read(name, root, node)));
            }
            Err(error) => {
                ctx.error(&place, "", Problem::new(error.to_string(), "rename the file: its name is the tenant's"));
            }
        }
    }
    tenants
}

fn unreadable(path: &Path, error: &io::Error, cure: &str) -> Error {
    Error {
        code: ErrorCode::Configuration,
        place: Place::File(Arc::new(path.to_owned()), 0),
        key: String::new(),
        reason: format!("cannot be read: {error}"),
        cure: cure.to_owned(),
    }
}

fn read_text(path: &Path, cure: &str, errors: &mut Vec<Error>) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| {
        errors.push(unreadable(path, &error, cure));
        String::new()
    })
}

/// The folder from the root of the file system, wherever the process stands.
fn absolute(dir: &Path) -> PathBuf {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned())
}

/// The main file at `path`, which is that file or its folder.
pub(super) fn main_file(path: &Path) -> PathBuf {
    if path.is_dir() { path.join(MAIN) } else { path.to_owned() }
}

/// The tenants' files of the folder `dir`, in order of their names; none if there is no folder.
pub(super) fn tenant_files(dir: &Path, errors: &mut Vec<Error>) -> Vec<PathBuf> {
    let folder = dir.join(TENANTS);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            errors.push(unreadable(&folder, &error, "make it readable for the user that runs `sluice`"));
            return Vec::new();
        }
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .filter(|path| !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')))
        .collect();
    files.sort();
    files
}
