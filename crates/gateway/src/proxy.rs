//! A proxy within another program: what it is to do, said piece by piece, and started.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use shadowcat_pipeline::Interceptor;
use shadowcat_tape::Tap;

use crate::build::{Host, StartError, start};
use crate::config::Loaded;
use crate::plan::{Face, Overrides, Plan, PlanError, PlanErrors, Target};
use crate::running::Running;

/// What faults of a configuration call it that came from no file.
const CONFIG_NAME: &str = "configuration";

/// A proxy that listens on HTTP within another program.
///
/// ```no_run
/// # use shadowcat_gateway::{Proxy, StartError};
/// # async fn example() -> Result<(), StartError> {
/// let proxy = Proxy::before_url("http://127.0.0.1:9000/mcp").listen("127.0.0.1:0").start().await?;
/// println!("clients come in at {:?}", proxy.address());
/// proxy.stop().await;
/// # Ok(())
/// # }
/// ```
///
/// It reads neither the environment nor any file that nobody names. Unless another address is given, it takes a free port of
/// the loopback.
pub struct Proxy {
    flags: Overrides,
    config: String,
    host: Host,
}

impl Proxy {
    /// In front of the server at this URL: `http(s)://HOST/mcp`, or `sse+http(s)://HOST/sse` for HTTP+SSE.
    pub fn before_url(url: impl Into<String>) -> Self {
        Self::before(Some(Target::Url(url.into())))
    }

    /// In front of a program that speaks MCP on its standard input and output. It inherits of [`Proxy::environment`] what the
    /// configuration says.
    pub fn before_command<W: Into<OsString>>(words: impl IntoIterator<Item = W>) -> Self {
        Self::before(Some(Target::Command(words.into_iter().map(Into::into).collect())))
    }

    /// In front of the server that [`Proxy::config`] names.
    pub fn configured(yaml: impl Into<String>) -> Self {
        Self::before(None).config(yaml)
    }

    fn before(upstream: Option<Target>) -> Self {
        let flags = Overrides { upstream, ..Overrides::default() };
        Self { flags, config: String::new(), host: Host::default() }
    }

    /// Where it listens, over what the configuration says.
    #[must_use]
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.flags.listen = Some(address.into());
        self
    }

    /// All else it is to do, as the text of a configuration file.
    #[must_use]
    pub fn config(mut self, yaml: impl Into<String>) -> Self {
        self.config = yaml.into();
        self
    }

    /// The environment: for `${VAR}` in the configuration, for `SHADOWCAT_*`, and for a child to inherit from.
    #[must_use]
    pub fn environment(mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        self.host.environment = variables.into_iter().collect();
        self
    }

    /// Puts an interceptor into the path of every message, behind those that were put there before and behind the rules: on
    /// the way to the server it comes after them, on the way back before.
    #[must_use]
    pub fn interceptor(mut self, interceptor: impl Interceptor + 'static) -> Self {
        self.host.interceptors.push(Arc::new(interceptor));
        self
    }

    /// Shows every frame of the tape as it is written, if the configuration has `record`.
    #[must_use]
    pub fn tap(mut self, tap: Tap) -> Self {
        self.host.tap = Some(tap);
        self
    }

    /// The program `shadowcat`, which ends children whose proxy was killed. Without it they live on until they see their
    /// standard input end.
    #[must_use]
    pub fn guard(mut self, program: impl Into<PathBuf>) -> Self {
        self.host.guard_program = Some(program.into());
        self
    }

    /// Starts it; from then on there is traffic. What it starts runs on the tokio runtime that this is awaited in.
    ///
    /// # Errors
    /// [`StartError::Plan`] with everything that is wrong with what was said, else what could not be had.
    pub async fn start(self) -> Result<Running, StartError> {
        let plan = self.plan()?;
        start(plan, self.host).await
    }

    pub(crate) fn plan(&self) -> Result<Plan, PlanErrors> {
        let parsed = Loaded::parse(CONFIG_NAME, &self.config);
        let loaded = parsed.map_err(|mistake| PlanErrors(vec![PlanError::from(mistake)]))?;
        let mut flags = self.flags.clone();
        if loaded.file.listen.is_none() {
            flags.listen.get_or_insert_with(|| "127.0.0.1:0".to_owned());
        }
        let variables = self.host.environment.iter().cloned().collect();
        let mut plan = Plan::resolve(Face::Http, &flags, &loaded, &variables)?;
        // There is no file of that name to be followed.
        plan.rules.main = None;
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Listen;

    fn plan(proxy: &Proxy) -> Plan {
        proxy.plan().unwrap()
    }

    #[test]
    fn what_is_not_said_is_a_free_port_of_the_loopback_and_nothing_on_the_disk() {
        let plan = plan(&Proxy::before_url("http://h/mcp"));
        assert!(matches!(plan.listen, Listen::Http { address, .. } if address.to_string() == "127.0.0.1:0"));
        assert_eq!((plan.record, plan.rules.main), (None, None));
        let listens = |proxy: Proxy, port: u16| match self::plan(&proxy).listen {
            Listen::Http { address, .. } => assert_eq!(address.port(), port),
            Listen::Stdio => panic!("no address"),
        };
        let config = "listen: 127.0.0.1:7\nupstream: {url: 'http://h/mcp'}\n";
        listens(Proxy::configured(config), 7);
        listens(Proxy::configured(config).listen("127.0.0.1:8"), 8);
    }

    #[test]
    fn variables_are_those_that_were_handed_over() {
        let config = "upstream: {url: 'http://h/mcp', headers: {X-Key: '${KEY}'}}\n";
        let told = Proxy::configured(config).plan().unwrap_err().to_string();
        assert!(
            told.contains("configuration:1: upstream.headers") && told.contains("KEY is not set"),
            "{told}"
        );
        plan(&Proxy::configured(config).environment([("KEY".into(), "k".into())]));
    }

    #[tokio::test]
    async fn what_is_wrong_is_told_before_anything_starts() {
        let told = Proxy::configured("rules:\n  - nam: x\n").start().await.err().unwrap().to_string();
        assert!(told.contains("configuration:2:") && told.contains("did you mean `name`?"), "{told}");
        let told = Proxy::configured("").start().await.err().unwrap().to_string();
        assert!(told.contains("upstream"), "{told}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_proxy_that_did_not_start_leaves_nothing_running() {
        let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let before = alive();
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = taken.local_addr().unwrap().to_string();
        let proxy = || Proxy::before_url("http://127.0.0.1:9/mcp");
        let admin = proxy().config(format!("admin: {{listen: '{taken}'}}\n"));
        let no_dir = "record: {dir: /dev/null/tapes}\n";
        let keys = proxy().config(format!("auth: {{issuers: [{{issuer: 'http://127.0.0.1:9'}}]}}\n{no_dir}"));
        let spans = proxy().config(format!("telemetry: {{otlp: 'http://127.0.0.1:9'}}\n{no_dir}"));
        for proxy in [proxy().listen(&taken), admin, keys, spans] {
            assert!(proxy.start().await.is_err());
            // No time passes here: what ends by itself after a while is not ended.
            for _ in 0..1_000 {
                tokio::task::yield_now().await;
            }
            assert_eq!(alive(), before);
        }
    }
}
